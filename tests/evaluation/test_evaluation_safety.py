from random import Random

import numpy as np
import pytest
import torch

from minimind.config import SamplingConfig
from minimind.evaluation.safety import (
    degeneration,
    draw_passages,
    encoded,
    personal_data,
    read_by_training,
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
    learned = repeated_verbatim(model, encoded(tokenizer, [text], Random(1)), 50, Random(1))
    assert (learned.passages, learned.verbatim) == (3, 3)  # it has no more different ones
    other = encoded(tokenizer, [sentences(8, 100), sentences(9, 100)], Random(1))
    other = repeated_verbatim(model, other, 4, Random(1))
    assert (other.passages, other.verbatim) == (4, 0)
    assert learned.share.low > other.share.high - 0.2


def test_passages_come_from_all_places_of_the_texts_in_turn_and_none_twice():
    texts = [list(range(180)), list(range(1000, 1200)), list(range(99))]
    windows = [{tuple(one[start : start + 100]) for start in range(len(one) - 99)} for one in texts]
    passages = [tuple(passage) for passage in draw_passages(texts, 100, 1_000, Random(1))]
    assert len(passages) == len(set(passages))
    assert set(passages) == windows[0] | windows[1]
    both = 2 * len(windows[0])
    assert [passage in windows[0] for passage in passages[:both]] == [True, False] * len(windows[0])
    assert len(draw_passages(texts, 100, 7, Random(1))) == 7


def test_texts_too_short_for_a_passage_yield_none(by_heart):
    assert repeated_verbatim(by_heart[0], [[5] * 99, [6] * 20], 4, Random(1)) is None
    assert repeated_verbatim(by_heart[0], [], 4, Random(1)) is None


@pytest.mark.parametrize("steps", [3, 20, 100_000], ids=["three sequences", "some", "many epochs"])
def test_passages_of_the_training_text_are_those_that_training_has_read(shards, plan, steps):
    plan = plan.model_copy(update={"steps": steps})
    reader = ShardReader(shards.path, "train")
    sequences = Sequences(reader, plan.sequence_length, plan.seed)
    epoch = -(-sequences.tokens // plan.sequence_length)
    inputs, targets = sequences.batch(0, min(steps, epoch))
    read = {tuple(row) for row in torch.cat([inputs, targets[:, -1:]], dim=1).tolist()}
    found = [piece for piece in read_by_training(shards.path, plan, Random(1)) if len(piece) == 33]
    assert 0 < len(found) <= len(read)
    assert {tuple(piece) for piece in found} == {row for row in read if 0 not in row}


def test_what_is_read_by_training_is_cut_where_a_document_begins(shards, plan):
    pieces = list(read_by_training(shards.path, plan.model_copy(update={"steps": 100_000}), Random(1)))
    texts = {str(ShardReader(shards.path, "train").document(number)[1:].tolist())[1:-1] for number in range(40)}
    assert all(0 not in piece for piece in pieces)
    assert all(any(str(piece)[1:-1] in text for text in texts) for piece in pieces[:200])


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
