"""The tokenizer stage: a byte-level BPE learned from the training documents."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from minimind.config import TokenizerConfig
from minimind.digests import sha256_of_file
from minimind.store import Manifest, Outcome, Store, recipe
from minimind.tokenizer.bpe import SPECIAL_TOKENS, load_tokenizer, save_tokenizer, token_lengths, train_bpe
from minimind.tokenizer.encoding import encode_documents, pieces, read_texts, sampled_texts
from minimind.tokenizer.fast_encoding import choose_encoding
from minimind.tokenizer.kept import FILE, check_kept, keep_tokenizer
from minimind.tokenizer.sampling import Sample, draw_sample, sample_texts

LONGEST_WORDS = 24  # to show
KEPT_INPUT = "kept tokenizer.json"


@dataclass(frozen=True)
class TokenizerInputs:
    cleaning: Manifest
    kept: Path | None = None  # folder of a model whose tokenizer is taken; None: one is learned


def build(section: TokenizerConfig, inputs: TokenizerInputs, store: Store) -> Manifest:
    """`tokenizer.json` and `tokenizer_config.json`, and what a token holds on documents it was not learned from.

    Raises CorpusTooSmallError if the training documents do not support the vocabulary's size, ConfigError for a
    tokenizer that cannot be kept.
    """
    cleaning, kept = inputs.cleaning, inputs.kept
    if kept:
        check_kept(kept, section.vocabulary_size)
    made_from = {KEPT_INPUT: sha256_of_file(kept / FILE)} if kept else cleaning.matching("train.parquet")
    built_by = recipe(
        "tokenizer",
        section.model_dump(mode="json", exclude={"keep", "sample_bytes"} if kept else {"keep"}),
        inputs=made_from | cleaning.matching("holdout.parquet"),
        libraries=("tokenizers", "tiktoken"),
        parents={"cleaning": cleaning.fingerprint},
    )

    def write(folder: Path) -> Outcome:
        if kept:
            keep_tokenizer(kept, folder)
            return _measure(load_tokenizer(folder), cleaning.file("holdout.parquet"), Sample(None, 0, 0))
        train = cleaning.file("train.parquet")
        sample = draw_sample(train, section.sample_bytes)
        texts = _reported(sample_texts(train, sample), sample.bytes, store)
        tokenizer = train_bpe((piece for text in texts for piece in pieces(text)), section.vocabulary_size)
        save_tokenizer(tokenizer, folder)
        return _measure(load_tokenizer(folder), cleaning.file("holdout.parquet"), sample)

    return store.build(built_by, write)


def _reported(texts: Iterator[str], total_bytes: float, store: Store) -> Iterator[str]:
    """The texts as they are; on the way, how far the counting of words is."""
    done = 0
    for number, text in enumerate(texts):
        if number % 500 == 0:
            store.report("tokenizer", done, total_bytes, "counting words")
        yield text
        done += len(text.encode())
    store.report("tokenizer", done, total_bytes, "merging pairs")


def _measure(tokenizer: Tokenizer, holdout: Path, sample: Sample) -> Outcome:
    """Bytes per token on the holdout, and the longest words that became one token."""
    tokens = holdout_bytes = 0
    lengths = token_lengths(tokenizer)
    chosen = choose_encoding(tokenizer, sampled_texts(holdout))
    for ids in encode_documents(chosen.encode, read_texts(holdout)):
        tokens += len(ids) - 1
        holdout_bytes += int(lengths[ids].sum())
    return Outcome(
        counts={
            "vocabulary_size": len(lengths),
            "sample_documents": sample.documents,
            "sample_bytes": sample.bytes,
            "holdout_tokens": tokens,
            "holdout_bytes_per_token": holdout_bytes / tokens,
        },
        details={
            "special_tokens": list(SPECIAL_TOKENS),
            "longest_words": _longest_words(tokenizer),
            "encoding": chosen.details,
        },
    )


def _longest_words(tokenizer: Tokenizer) -> list[str]:
    texts = [tokenizer.decode([token_id]) for token_id in range(len(SPECIAL_TOKENS), tokenizer.get_vocab_size())]
    found = {text[1:] for text in texts if text.startswith(" ") and text[1:].isalpha()}  # no ends of words
    return sorted(found, key=lambda text: (-len(text), text))[:LONGEST_WORDS]
