import pytest
from tokenizers import Tokenizer

from minimind.tokenizer.bpe import train_bpe


@pytest.fixture(scope="session")
def tokenizer(sentences) -> Tokenizer:
    """A small trained tokenizer that reads special tokens as text, as `load_tokenizer` hands them out."""
    trained = train_bpe([sentences(seed, 2_000) for seed in range(10)], vocabulary_size=600)
    trained.encode_special_tokens = True
    return trained
