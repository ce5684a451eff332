"""The tokenizer itself: byte-level BPE, its special tokens, its chat template."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from minimind.errors import CorpusTooSmallError, ModelNotFoundError

END_OF_TEXT = "<|endoftext|>"  # stands before every document, and ends generation
MESSAGE_START = "<|im_start|>"
MESSAGE_END = "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, MESSAGE_START, MESSAGE_END)  # their positions are their ids
END_OF_TEXT_ID, MESSAGE_START_ID, MESSAGE_END_ID = range(3)

# The split of Qwen2 and Qwen3, for two reasons. The exported model is a Qwen3: a tool that picks the tokenizer by the
# model's family splits as we did in training. And llama.cpp knows it (as `qwen2`); its converter recognises a
# tokenizer by a hash of sample ids, which no vocabulary of our own can match, so that name has to be given to it.
# Letters, single digits, punctuation and line breaks never share a token, but for one leading space or sign.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# ChatML. A conversation is a document, and begins as every document does.
CHAT_TEMPLATE = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)

MIN_PAIR_COUNT = 2  # a pair seen once is no pattern
MAX_TOKEN_CHARS = 64  # keeps rulers ("-----…") and embedded data from filling the vocabulary


def train_bpe(texts: Iterable[str], vocabulary_size: int) -> Tokenizer:
    """A byte-level BPE of exactly `vocabulary_size` tokens: special ones, the 256 bytes, then merges by frequency.

    `texts` is read once and never held. The same texts give the same tokenizer for any number of threads. Raises
    CorpusTooSmallError if fewer tokens are found.
    """
    tokenizer = untrained_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=MIN_PAIR_COUNT,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=MAX_TOKEN_CHARS,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    found = tokenizer.get_vocab_size()
    if found < vocabulary_size:
        raise CorpusTooSmallError(
            f"the training documents support a vocabulary of {found:,} tokens, tokenizer.vocabulary_size asks for "
            f"{vocabulary_size:,}; set it to {found} or less, or add documents"
        )
    return tokenizer


def untrained_tokenizer() -> Tokenizer:
    """No normalizer: cleaning has made the text NFC, and every byte of a text comes back from its tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes what `transformers` loads as a fast tokenizer: tokenizer.json and tokenizer_config.json."""
    tokenizer.save(str(folder / "tokenizer.json"), pretty=True)
    save_tokenizer_config(folder)


def save_tokenizer_config(folder: Path) -> None:
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # reads tokenizer.json as it is
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a folder or of a tokenizer.json, for text.

    A special token spelled out in a text is read as the characters it is written with, so that no document can end
    itself; only code puts special ids into a sequence. No id is added at either end. Raises ModelNotFoundError.
    """
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises no narrower one
        said = " ".join(str(error).split())
        raise ModelNotFoundError(f"{file} is no tokenizer that can be read: {said}") from error
    tokenizer.encode_special_tokens = True
    return tokenizer


def token_lengths(tokenizer: Tokenizer) -> NDArray[np.int32]:
    """Bytes of text by token id, 0 for special tokens; their sum over a document's tokens is the size of its text."""
    lengths = np.zeros(tokenizer.get_vocab_size(), dtype=np.int32)
    for token, token_id in tokenizer.get_vocab().items():
        lengths[token_id] = len(token)  # a byte-level token spells each of its bytes as one character
    lengths[list(tokenizer.get_added_tokens_decoder())] = 0
    return lengths
