from collections import Counter
from random import Random

import numpy as np
import pytest
import torch

from minimind.config import SamplingConfig
from minimind.evaluation.safety import (
    degeneration,
    draw_from_texts,
    draw_from_training,
    encoded,
    passage_length,
    personal_data,
    repeated_verbatim,
    write_texts,
)
from minimind.model.hugging_face import load_model
from minimind.model.transformer import ModelConfig, Transformer
from minimind.shards.reader import ShardReader
from minimind.tokenizer.bpe import load_tokenizer
from minimind.training.sequences import Sequences


@pytest.fixture
def by_heart(tokenizer_manifest, sentences):
    """A model that has learned one text by heart, from each of its three first tokens on, with the text."""
    tokenizer = load_tokenizer(tokenizer_manifest.file("tokenizer.json"))
    text = sentences(7, 100)
    text = next(text[:end] for end in range(len(text)) if len(tokenizer.encode(text[:end]).ids) == 102)
    ids = torch.tensor(tokenizer.encode(text).ids).unfold(0, 100, 1)  # 3 100
    model = Transformer(ModelConfig(400, 48, 2, 2, 1, 24, 96, 128))
    model.initialize(torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(120):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()
    return model.eval(), tokenizer, text, loss.item()


def test_text_learned_by_heart_is_found_and_other_text_is_not(by_heart, sentences):
    model, tokenizer, text, loss = by_heart
    assert loss < 0.1
    learned = repeated_verbatim(model, draw_from_texts(encoded(tokenizer, [text], Random(1)), 100, 50, Random(1)))
    assert (learned.passages, learned.verbatim) == (3, 3)  # it has no more different ones
    other = encoded(tokenizer, [sentences(8, 100), sentences(9, 100)], Random(1))
    other = repeated_verbatim(model, draw_from_texts(other, 100, 4, Random(1)))
    assert (other.passages, other.verbatim) == (4, 0)
    assert learned.share.low > other.share.high - 0.2


def test_passages_come_from_all_places_of_the_texts_in_turn_and_none_twice():
    texts = [list(range(180)), list(range(1000, 1200)), list(range(99))]
    windows = [{tuple(one[start : start + 100]) for start in range(len(one) - 99)} for one in texts]
    passages = [tuple(passage) for passage in draw_from_texts(texts, 100, 1_000, Random(1))]
    assert len(passages) == len(set(passages))
    assert set(passages) == windows[0] | windows[1]
    both = 2 * len(windows[0])
    assert [passage in windows[0] for passage in passages[:both]] == [True, False] * len(windows[0])
    assert len(draw_from_texts(texts, 100, 7, Random(1))) == 7


def test_texts_too_short_for_a_passage_yield_none(by_heart):
    assert draw_from_texts([[5] * 99, [6] * 20], 100, 4, Random(1)) == []
    assert repeated_verbatim(by_heart[0], []) is None


@pytest.mark.parametrize(("window", "length"), [(47, 48), (48, 48), (98, 98), (99, 100), (1024, 100)])
def test_passages_are_as_long_as_the_model_can_read(window, length):
    """The token behind a window is predicted, too."""
    assert passage_length(Transformer(ModelConfig(8, 8, 1, 1, 1, 8, 8, window))) == length


@pytest.mark.parametrize("steps", [3, 20, 100_000], ids=["three sequences", "some", "many epochs"])
def test_passages_of_the_training_text_are_all_that_training_has_read_of_one_document_each(shards, plan, steps):
    plan = plan.model_copy(update={"steps": steps})
    windows = [window for row in rows_read(shards, plan) for window in windows_of(row, 20)]
    drawn = draw_from_training(shards.path, plan, 20, 100_000, Random(1))
    assert sorted(map(tuple, drawn)) == sorted(windows)
    assert all(0 not in passage for passage in drawn)


def test_each_place_of_what_training_has_read_is_as_likely_as_any_other(shards, plan):
    plan = plan.model_copy(update={"steps": 8})
    places = Counter(window for row in rows_read(shards, plan) for window in windows_of(row, 20))
    drawn = Counter(tuple(draw_from_training(shards.path, plan, 20, 1, Random(seed))[0]) for seed in range(1500))
    expected = {window: 1500 * number / places.total() for window, number in places.items()}
    assert drawn.keys() <= places.keys()
    surprise = sum((drawn[window] - wanted) ** 2 / wanted for window, wanted in expected.items())
    assert abs(surprise - len(places)) < 5 * (2 * len(places)) ** 0.5  # chi square, five standard deviations


def rows_read(shards, plan):
    """Each sequence of the first epoch that the plan comes to, with the token behind it."""
    sequences = Sequences(ShardReader(shards.path, "train"), plan.sequence_length, plan.seed)
    epoch = -(-sequences.tokens // plan.sequence_length)
    inputs, targets = sequences.batch(0, min(plan.steps * plan.batch_sequences, epoch))
    return torch.cat([inputs, targets[:, -1:]], dim=1).tolist()


def windows_of(row, length):
    """Those in which no document begins."""
    every = (tuple(row[start : start + length]) for start in range(len(row) - length + 1))
    return [window for window in every if 0 not in window]


def test_personal_data_is_counted_and_looked_up_in_the_training_text():
    texts = [
        "write to jane@example.org or joe@example.net",
        "none here",
        "jane@example.org again",
        "4111 1111 1111 1111",
    ]
    figures = personal_data(texts, None, iter(["what jane@example.org wrote", "else"]))
    assert figures["texts_share"] == 3 / 4
    assert (figures["hits"], figures["hits_in_training_text"]) == (4, 2)
    assert (figures["email_hits"], figures["card_hits"]) == (3, 1)
    assert "jane" not in str(figures)


def test_placeholders_of_cleaning_are_no_personal_data():
    assert personal_data(["call <phone> or write to <email>"], "US", iter([]))["hits"] == 0


def test_degenerate_texts_are_those_that_mostly_repeat_themselves():
    figures = degeneration(["the same words " * 9, "a b c d e f g h i j k", "one two", "a b c d a b c d"])
    assert figures["degenerate_share"] == 1 / 4
    assert figures["texts_below_4_words"] == 1
    assert figures["repeated_4_grams"] == pytest.approx(np.mean([1 - 3 / 24, 0, 0.2]))


def test_texts_differ_by_seed_and_are_the_same_again(training):
    model, tokenizer = load_model(training.path / "model"), load_tokenizer(training.path / "model")
    sampling = SamplingConfig(prompts=[], holdout_prompts=0, max_new_tokens=1, temperature=1.5, top_p=1.0, seed=0)
    texts = write_texts(model, tokenizer, 5, 12, sampling, seed=3)
    assert len(set(texts)) > 1
    assert write_texts(model, tokenizer, 5, 12, sampling, seed=3) == texts
    assert write_texts(model, tokenizer, 4, 12, sampling, seed=4) == texts[1:]
