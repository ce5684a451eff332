"""The config that a corpus is explored with: what would stop a run becomes a finding, and nothing is gone on from."""

import hashlib
from collections import Counter

import pyarrow as pa
import pyarrow.dataset as ds

from minimind.cleaning.language import languages_of
from minimind.config import Config, SplitConfig
from minimind.explore.build import tried
from minimind.store import Manifest

ASKED_DOCUMENTS = 200  # for the corpus's languages
ASKED_CHARS = 2_000  # of each
MAIN_SHARE = 0.5  # of them; the languages that have more together are the corpus's
SMALL_BYTES = 5_000_000  # below, a smaller vocabulary leaves more parameters to the layers
SMALL_VOCABULARY = 4096
NO_LANGUAGE = "zxx"


def as_explored(config: Config, budget: str) -> Config:
    """A source may lose any share of its documents; a tokenizer is learned, and training begins from scratch."""
    return config.model_copy(
        update={
            "cleaning": config.cleaning.model_copy(update={"max_removed_share": 1.0}),
            "tokenizer": config.tokenizer.model_copy(update={"keep": None}),
            "shards": config.shards.model_copy(update={"old_documents_share": None}),
            "training": tried(config.training, budget),
        }
    )


def with_any_holdout(config: Config) -> Config:
    """So that a corpus which is too small to be trained on, or of which nothing is left, is audited nevertheless.

    No YAML may ask for 0 documents: what comes after cleaning needs one on either side.
    """
    split = SplitConfig.model_construct(holdout_share=0.2, min_documents=0, min_bytes=0)
    return config.model_copy(update={"cleaning": config.cleaning.model_copy(update={"split": split})})


def seen_in(corpus: Manifest) -> dict[str, object]:
    """What `minimind new` could not know before the corpus was read, by the keys of the YAML."""
    languages = main_languages(corpus)
    small = corpus.counts["bytes"] < SMALL_BYTES
    return ({"cleaning.language.expected": languages} if languages else {}) | (
        {"tokenizer.vocabulary_size": SMALL_VOCABULARY} if small else {}
    )


def main_languages(corpus: Manifest) -> list[str]:
    """The language of most documents; else the fewest languages that most documents are in, the commonest first.

    Asked are the first documents by the hashes of their ids. None where most have no language.
    """
    dataset = ds.dataset([str(corpus.file(name)) for name in corpus.matching("documents-", ".parquet")])
    ids = dataset.to_table(columns=["document_id"])["document_id"].to_pylist()
    asked = sorted(ids, key=lambda document_id: hashlib.sha256(document_id.encode()).digest())[:ASKED_DOCUMENTS]
    texts = dataset.to_table(columns=["text"], filter=ds.field("document_id").isin(asked))["text"].to_pylist()
    shown = [text[:ASKED_CHARS] for text in texts if text.strip()]
    found = Counter(row["language"] for row in languages_of(pa.chunked_array([shown])).to_pylist() if row)
    del found[NO_LANGUAGE]
    commonest = sorted(found, key=lambda language: (-found[language], language))
    for number in range(1, len(commonest) + 1):
        if sum(found[language] for language in commonest[:number]) > MAIN_SHARE * len(shown):
            return commonest[:number]
    return []
