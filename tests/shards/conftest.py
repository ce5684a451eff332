import pytest

from minimind.config import ShardsConfig, TokenizerConfig
from minimind.shards import build as shards
from minimind.tokenizer import build as tokenizer


@pytest.fixture
def cleaning(make_cleaning, sentences):
    """Two sources, documents of 1 to 400 words, one that is longer than a shard, some that are odd."""
    train = {f"{'law' if n % 3 else 'tax'}/{n:03}": sentences(n, 1 + 10 * (n % 40)) for n in range(80)}
    train |= {"law/long": sentences(1000, 3_000), "tax/odd": "\x00 ﬁ 👩‍👩‍👧‍👦 <|endoftext|>\r\n", "tax/blank": " "}
    holdout = {f"law/h{n}": sentences(2000 + n, 200) for n in range(5)} | {"tax/h": sentences(3000, 50)}
    return make_cleaning(train, holdout)


@pytest.fixture
def tokenizer_manifest(cleaning, store):
    return tokenizer.build(
        TokenizerConfig(keep=None, vocabulary_size=500, sample_bytes=1_000_000),
        tokenizer.TokenizerInputs(cleaning),
        store,
    )


@pytest.fixture
def shards_manifest(cleaning, tokenizer_manifest, store):
    return shards.build(
        ShardsConfig(tokens_per_shard=4_000, source_weights={}, old_documents_share=None),
        shards.ShardsInputs(cleaning, tokenizer_manifest),
        store,
    )
