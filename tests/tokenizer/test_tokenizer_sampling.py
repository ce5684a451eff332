import pytest

from minimind.config import TokenizerConfig
from minimind.tokenizer.build import TokenizerInputs, build
from minimind.tokenizer.sampling import draw_sample, drawn, sample_texts


@pytest.fixture
def train(make_cleaning):
    """100 documents of 100 bytes."""
    texts = {f"law/{number:03}": f"{number:03} {'é' * 48}" for number in range(100)}
    return make_cleaning(texts, {"law/h": "x"}).file("train.parquet")


def test_corpus_within_the_budget_is_used_whole(train):
    sample = draw_sample(train, 10_000)
    assert sample == (None, 100, 10_000)
    assert len(list(sample_texts(train, sample))) == 100


def test_sample_ends_with_the_document_that_fills_the_budget(train):
    sample = draw_sample(train, 2_050)
    assert (sample.documents, sample.bytes) == (21, 2_100)
    texts = list(sample_texts(train, sample))
    assert {f"law/{text[:3]}" for text in texts} == sample.document_ids
    assert texts == sorted(texts)


def test_sample_holds_the_documents_drawn_first(train):
    order = sorted((f"law/{number:03}" for number in range(100)), key=lambda key: drawn("tokenizer", key))
    assert draw_sample(train, 1_000).document_ids == set(order[:10])
    assert draw_sample(train, 1).document_ids == set(order[:1])


def test_draws_are_even_and_differ_by_purpose():
    numbers = [drawn("tokenizer", f"law/{number}") for number in range(10_000)]
    assert 0 <= min(numbers) < 0.001
    assert 0.999 < max(numbers) < 1
    assert sum(numbers) / 10_000 == pytest.approx(0.5, abs=0.01)
    assert drawn("weight", "law/1") != drawn("tokenizer", "law/1")


def test_draws_are_the_same_on_every_machine():
    assert drawn("tokenizer", "law/1") == pytest.approx(0.9312611805986997)


def test_manifest_says_how_much_was_used(make_cleaning, sentences, store):
    texts = {f"law/{number:03}": sentences(number, 500) for number in range(30)}
    cleaning = make_cleaning(texts, {"law/h": sentences(99, 200)})
    whole = build(TokenizerConfig(keep=None, vocabulary_size=400, sample_bytes=10**9), TokenizerInputs(cleaning), store)
    part = build(TokenizerConfig(keep=None, vocabulary_size=400, sample_bytes=20_000), TokenizerInputs(cleaning), store)
    assert whole.counts["sample_documents"] == 30
    assert whole.counts["sample_bytes"] == cleaning.counts["train_bytes"]
    assert part.counts["sample_documents"] < 15
    assert 20_000 <= part.counts["sample_bytes"] < 25_000
    assert part.files["tokenizer.json"] != whole.files["tokenizer.json"]
