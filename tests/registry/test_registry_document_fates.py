"""The table of documents that lies with a version, against the cleaning that it was made of."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minimind.registry.document_fates import Fate, find_fate, write_fates
from minimind.shards.mixing import occurrences
from minimind.shards.writer import write_shard
from minimind.store import Manifest, Outcome, Recipe, Store
from minimind.tokenizer.encoding import TokenizedDocument

REMOVED = {"near/b": ("near_duplicates", "near_duplicate", "near/a"), "odd/x": ("quality", "min_words", None)}


@pytest.fixture
def cleaning(store: Store, make_cleaning: Any) -> Manifest:
    kept = make_cleaning(
        {"near/a": "one", **{f"web/{n:02}": "two" for n in range(20)}}, {"near/h": "three", "odd/1": "four"}
    )

    def write(folder: Path) -> Outcome:
        for name in ("train.parquet", "holdout.parquet"):
            (folder / name).write_bytes(kept.file(name).read_bytes())
        rows = [
            {"document_id": key, "text": "", "step": step, "reason": reason, "kept_document_id": standing}
            for key, (step, reason, standing) in REMOVED.items()
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / "removed.parquet")
        return Outcome({})

    return store.build(Recipe("cleaning", {"with": "removed"}, {}, {}, {}), write)


def in_shards(store: Store, *document_ids: str) -> Manifest:
    """Shards that hold these documents."""
    one = np.zeros(1, np.uint16)

    def write(folder: Path) -> Outcome:
        rows = [TokenizedDocument(document_id, "web", 1, one) for document_id in document_ids]
        write_shard(folder / "train-00000.arrow", rows, vocabulary_size=300)
        return Outcome({})

    return store.build(Recipe("shards", {"holding": document_ids}, {}, {}, {}), write)


def test_each_document_has_its_fate_and_the_reason(store: Store, cleaning: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "documents.parquet"
    write_fates(cleaning, in_shards(store, "near/a"), {}, path)
    assert find_fate(path, "near/a") == Fate("trained", None, None, None)
    assert find_fate(path, "odd/1") == Fate("holdout", None, None, None)
    assert find_fate(path, "near/b") == Fate("removed", "near_duplicates", "near_duplicate", "near/a")
    assert find_fate(path, "odd/x") == Fate("removed", "quality", "min_words", None)
    assert find_fate(path, "near/") is None
    ids = pq.read_table(path)["document_id"].to_pylist()
    assert ids == sorted(ids)
    assert len(ids) == 21 + 2 + 2


@pytest.mark.parametrize("weight", [0, 0.4, 1, 2.5])
def test_documents_that_a_weight_leaves_out_were_not_trained_on(
    store: Store, cleaning: Manifest, tmp_path: Path, weight: float
) -> None:
    path = tmp_path / "documents.parquet"
    drawn = [f"web/{number:02}" for number in range(20) if occurrences(f"web/{number:02}", weight)]
    write_fates(cleaning, in_shards(store, "near/a", *drawn), {"web": weight}, path)
    for number in range(20):
        fate = find_fate(path, f"web/{number:02}")
        assert fate
        assert (fate.fate == "trained") == bool(occurrences(f"web/{number:02}", weight))
        assert fate.fate == "trained" or fate[1:] == ("shards", "source_weights", None)
    assert find_fate(path, "near/a") == Fate("trained", None, None, None)


def test_what_stands_in_the_shards_decides_where_old_documents_weigh_less_or_more(
    store: Store, cleaning: Manifest, tmp_path: Path
) -> None:
    path = tmp_path / "documents.parquet"
    unlikely = next(f"web/{number:02}" for number in range(20) if not occurrences(f"web/{number:02}", 0.5))
    write_fates(cleaning, in_shards(store, "web/01", unlikely), {"web": 0.5}, path)
    assert find_fate(path, unlikely) == Fate("trained", None, None, None)  # old documents weigh more than once
    assert find_fate(path, "near/a") == Fate("left_out", "shards", "old_documents_share", None)
    reasons = {row["reason"] for row in pq.read_table(path).to_pylist() if row["fate"] == "left_out"}
    assert reasons == {"old_documents_share", "source_weights"}


def test_ids_that_begin_alike_take_few_bytes(store: Store, make_cleaning: Any, tmp_path: Path) -> None:
    manifest = make_cleaning({f"laws/volumes/2019/part-one/{n:06}.txt": "x" for n in range(5_000)}, {"laws/h": "y"})
    ids = pq.read_table(manifest.file("train.parquet"))["document_id"].to_pylist()
    write_fates(manifest, in_shards(store, *ids), {}, tmp_path / "documents.parquet")
    assert (tmp_path / "documents.parquet").stat().st_size < 4 * 5_000  # of 34 characters each
