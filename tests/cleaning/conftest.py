"""Corpora of given documents, and their cleaning."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cleaned import Cleaned, config

from minimind.cleaning.build import CleaningInputs, build
from minimind.cleaning.parts import Resources
from minimind.config import CleaningConfig
from minimind.digests import sha256_of_json
from minimind.store import Manifest, Outcome, Recipe, Store

SCHEMA = pa.schema(
    [
        ("document_id", pa.string()),
        ("text", pa.string()),
        ("source", pa.string()),
        ("title", pa.string()),
        ("license", pa.string()),
        ("metadata", pa.map_(pa.string(), pa.string())),
    ]
)

MakeCorpus = Callable[..., Manifest]
Clean = Callable[..., Cleaned]


@pytest.fixture
def make_corpus(store: Store) -> MakeCorpus:
    """Publishes documents as the corpus stage would: id -> text, with dates, cut into files and row groups."""

    def make(
        texts: Mapping[str, str],
        dates: Mapping[str, str] | None = None,
        group_rows: int = 2_048,
        files: int = 1,
        store: Store = store,
    ) -> Manifest:
        rows = [
            {
                "document_id": key,
                "text": text,
                "source": key.partition("/")[0],
                "title": f"Title of {key}",
                "license": "CC0-1.0" if number % 2 else None,
                "metadata": list({"date": date}.items()) if (date := (dates or {}).get(key)) else [],
            }
            for number, (key, text) in enumerate(sorted(texts.items()))
        ]
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        size = -(-len(table) // files) or 1

        def write(folder: Path) -> Outcome:
            for number in range(files):
                part = table.slice(number * size, size)
                pq.write_table(part, folder / f"documents-{number:05}.parquet", row_group_size=group_rows)
            return Outcome({"documents": len(rows)}, {"sources": {row["source"]: {} for row in rows}})

        content = sha256_of_json([dict(texts), dict(dates or {}), group_rows, files])
        return store.build(Recipe("corpus", {}, {"texts": content}, {}, {}), write)

    return make


@pytest.fixture
def clean(store: Store, make_corpus: MakeCorpus) -> Clean:
    """Cleans a corpus of given texts."""

    def run(
        texts: Mapping[str, str],
        section: CleaningConfig | None = None,
        threads: int = 2,
        store: Store = store,
        resources: Resources | None = None,
        **corpus: Any,
    ) -> Cleaned:
        inputs = CleaningInputs(make_corpus(texts, store=store, **corpus), resources or Resources(threads))
        return Cleaned(build(section or config(), inputs, store))

    return run
