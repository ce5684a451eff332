"""The sorting writer against brute force, with limits so small that every path is taken."""

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind.corpus import document
from minimind.corpus.document import Document, DocumentWriter, cut_parts

IDS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6), unique=True, max_size=60)


def write(documents: list[Document], folder: Path) -> list[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        writer = DocumentWriter(folder, Path(scratch))
        for each in documents:
            writer.add(each, len(each.text.encode()))
        assert [0, *writer.finish()][-1] == len(documents)
    return sorted(folder.glob("documents-*.parquet"))


def made_of(identifier: str) -> Document:
    size = int(hashlib.sha256(identifier.encode()).hexdigest(), 16) % 40
    title = identifier if size % 2 else None
    return Document(f"own/{identifier}", f"{identifier} " * size, "own", title, None, {"b": "2", "a": identifier})


@settings(deadline=None, max_examples=40)
@given(IDS, st.randoms(use_true_random=False))
def test_parts_hold_all_documents_sorted_and_bytes_do_not_depend_on_their_order(ids, chance):
    before = {name: getattr(document, name) for name in ("SPILL_BYTES", "SPILL_DOCUMENTS", "PART_BYTES", "RUN_BYTES")}
    before |= {name: getattr(document, name) for name in ("ROW_GROUP_DOCUMENTS", "ROW_GROUP_BYTES")}
    small = {"SPILL_BYTES": 300, "SPILL_DOCUMENTS": 7, "PART_BYTES": 900, "ROW_GROUP_DOCUMENTS": 5}
    try:
        for name, value in (small | {"ROW_GROUP_BYTES": 200}).items():
            setattr(document, name, value)
        documents = [made_of(identifier) for identifier in ids]
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            paths = write(documents, Path(one))
            rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
            expected = sorted(documents, key=lambda each: each.document_id.encode())
            assert [row["document_id"] for row in rows] == [each.document_id for each in expected]
            assert [row["text"] for row in rows] == [each.text for each in expected]
            assert [row["title"] for row in rows] == [each.title for each in expected]
            assert [row["metadata"] for row in rows] == [sorted(each.metadata.items()) for each in expected]
            chance.shuffle(documents)
            document.RUN_BYTES = 2000
            again = write(documents, Path(two))
            assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]
    finally:
        for name, value in before.items():
            setattr(document, name, value)


@settings(deadline=None)
@given(st.lists(st.integers(0, 40 << 20), max_size=300))
def test_row_groups_and_parts_keep_their_limits(sizes):
    parts = list(cut_parts(np.array(sizes, dtype=np.int64)))
    groups = [group for part in parts for group in part]
    assert [start for start, _ in groups] == [0, *(stop for _, stop in groups[:-1])]
    assert groups[-1][1] == len(sizes)
    for start, stop in groups:
        assert stop > start or not sizes
        assert stop - start == 1 or sum(sizes[start:stop]) <= document.ROW_GROUP_BYTES
    for part in parts[:-1]:
        assert sum(sizes[part[0][0] : part[-1][1]]) >= document.PART_BYTES
        assert sum(sizes[part[0][0] : part[-1][0]]) < document.PART_BYTES


def test_row_groups_have_at_most_2048_documents(tmp_path):
    (path,) = write([made_of(str(number)) for number in range(5_000)], tmp_path)
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [2_048, 2_048, 904]


def test_files_have_the_columns_that_later_stages_read(tmp_path):
    (path,) = write([], tmp_path)
    schema = pq.read_schema(path)
    assert schema.names == ["document_id", "text", "source", "title", "license", "metadata"]
    assert str(schema.field("metadata").type) in ("map<string, string>", "map<string, string ('metadata')>")
    assert pq.read_table(path).num_rows == 0
