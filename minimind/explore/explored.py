"""The config that a corpus is explored with: what would stop a run becomes a finding, and nothing is gone on from."""

import hashlib
from collections import Counter

import pyarrow as pa
import pyarrow.dataset as ds

from minimind.cleaning.language import languages_of
from minimind.config import Config, SplitConfig
from minimind.explore.build import tried
from minimind.store import Manifest

ASKED_DOCUMENTS = 200  # for the corpus's language
ASKED_CHARS = 2_000  # of each
MAIN_SHARE = 0.5  # of them, from which a language is the corpus's
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
    """So that a corpus which is too small to be trained on is audited nevertheless."""
    split = SplitConfig(holdout_share=0.2, min_documents=1, min_bytes=1)
    return config.model_copy(update={"cleaning": config.cleaning.model_copy(update={"split": split})})


def seen_in(corpus: Manifest) -> dict[str, object]:
    """What `minimind new` could not know before the corpus was read, by the keys of the YAML."""
    language = main_language(corpus)
    small = corpus.counts["bytes"] < SMALL_BYTES
    return ({"cleaning.language.expected": [language]} if language else {}) | (
        {"tokenizer.vocabulary_size": SMALL_VOCABULARY} if small else {}
    )


def main_language(corpus: Manifest) -> str | None:
    """The language of most documents, asked of the first of them by the hashes of their ids; None if there is none."""
    dataset = ds.dataset([str(corpus.file(name)) for name in corpus.matching("documents-", ".parquet")])
    ids = dataset.to_table(columns=["document_id"])["document_id"].to_pylist()
    asked = sorted(ids, key=lambda document_id: hashlib.sha256(document_id.encode()).digest())[:ASKED_DOCUMENTS]
    texts = dataset.to_table(columns=["text"], filter=ds.field("document_id").isin(asked))["text"].to_pylist()
    shown = [text[:ASKED_CHARS] for text in texts if text.strip()]
    if not shown:
        return None
    found = Counter(row["language"] for row in languages_of(pa.chunked_array([shown])).to_pylist() if row)
    language, documents = found.most_common(1)[0] if found else (NO_LANGUAGE, 0)
    return language if documents > MAIN_SHARE * len(shown) and language != NO_LANGUAGE else None
