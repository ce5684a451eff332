import json

import pytest

from minimind.config import TokenizerConfig
from minimind.errors import CorpusTooSmallError
from minimind.tokenizer.bpe import load_tokenizer
from minimind.tokenizer.build import TokenizerInputs, build


@pytest.fixture
def cleaning(make_cleaning, sentences):
    train = {f"law/{number:03}": sentences(number, 500) for number in range(30)}
    holdout = {f"law/{number:03}": sentences(number, 400) for number in range(30, 34)}
    return make_cleaning(train, holdout)


def test_tokenizer_is_published_with_its_bytes_per_token_on_the_holdout(cleaning, store):
    manifest = build(
        TokenizerConfig(keep=None, vocabulary_size=500, sample_bytes=1_000_000), TokenizerInputs(cleaning), store
    )
    assert set(manifest.files) == {"tokenizer.json", "tokenizer_config.json"}
    tokenizer = load_tokenizer(manifest.path)
    from minimind.tokenizer.encoding import read_texts

    texts = list(read_texts(cleaning.file("holdout.parquet")))
    tokens = sum(len(tokenizer.encode(text).ids) for text in texts)
    assert manifest.counts["vocabulary_size"] == tokenizer.get_vocab_size() == 500
    assert manifest.counts["holdout_tokens"] == tokens
    assert manifest.counts["holdout_bytes_per_token"] == pytest.approx(cleaning.counts["holdout_bytes"] / tokens)
    assert manifest.parents == {"cleaning": cleaning.fingerprint}
    assert set(manifest.inputs) == {"train.parquet", "holdout.parquet"}


def test_second_build_is_reused_and_a_rebuilt_one_has_the_same_bytes(cleaning, store):
    first = build(
        TokenizerConfig(keep=None, vocabulary_size=500, sample_bytes=1_000_000), TokenizerInputs(cleaning), store
    )
    assert build(
        TokenizerConfig(keep=None, vocabulary_size=500, sample_bytes=1_000_000), TokenizerInputs(cleaning), store
    ).reused
    (first.path / "manifest.json").unlink()
    again = build(
        TokenizerConfig(keep=None, vocabulary_size=500, sample_bytes=1_000_000), TokenizerInputs(cleaning), store
    )
    assert not again.reused
    assert again.files == first.files


def test_vocabulary_larger_than_the_corpus_supports_leaves_nothing_behind(make_cleaning, store):
    cleaning = make_cleaning({"law/1": "a few words, a few words"}, {"law/2": "a word"})
    with pytest.raises(CorpusTooSmallError, match="vocabulary_size asks for 5,000"):
        build(
            TokenizerConfig(keep=None, vocabulary_size=5000, sample_bytes=1_000_000), TokenizerInputs(cleaning), store
        )
    assert list((store.root / "tokenizer").iterdir()) == []


def test_chat_template_lies_where_transformers_looks_for_it(cleaning, store):
    manifest = build(
        TokenizerConfig(keep=None, vocabulary_size=400, sample_bytes=1_000_000), TokenizerInputs(cleaning), store
    )
    config = json.loads(manifest.file("tokenizer_config.json").read_text())
    assert "<|im_start|>" in config["chat_template"]
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
