"""Samples: the same however they are drawn, as large as permitted, and of a hub's dataset without reading all of it."""

import io
import json
import re
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub import DATASET, serve_hub
from hypothesis import given
from hypothesis import strategies as st
from test_corpus_huggingface import run_child

from minimind.corpus.sampling import SmallestRanks, choose, rank_of

ROWS_OF_A_FILE = 100
FILES, FEW_FILES = 70, 5  # few where a case is of a dataset that is read whole, or not at all


@given(
    rows=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), max_size=40, unique_by=lambda row: row[0]),
    max_rows=st.none() | st.integers(0, 20),
    max_bytes=st.none() | st.integers(0, 60),
    order=st.randoms(use_true_random=False),
)
def test_sample_is_the_longest_run_of_smallest_ranks_in_whatever_order_rows_come(rows, max_rows, max_bytes, order):
    expected: list[int] = []
    total = 0
    for rank, size in sorted(rows):
        if len(expected) == max_rows or (max_bytes is not None and total + size > max_bytes):
            break
        expected.append(rank)
        total += size
    order.shuffle(rows)
    sample = SmallestRanks(max_rows, max_bytes, io.BytesIO())
    for rank, size in rows:
        sample.add(rank, size, rank)
    assert list(sample.rows()) == [rank for rank, _ in rows if rank in expected]


def test_every_row_is_as_likely_as_any_other():
    drawn: Counter[int] = Counter()
    for seed in range(2_000):
        sample = SmallestRanks(10, None, io.BytesIO())
        for row in range(100):
            sample.add(rank_of(seed, str(row)), 1, row)
        drawn.update(sample.rows())
    assert min(drawn.values()) > 140  # 200 expected, 13.4 their standard deviation
    assert max(drawn.values()) < 260


def test_as_many_units_are_chosen_as_are_enough():
    units = [(str(number), 10.0) for number in range(50)]
    chosen = choose(units, seed=1, enough=95)
    assert len(chosen) == 10
    assert chosen == sorted(chosen) != list(range(10))
    assert set(chosen) < set(choose(units, seed=1, enough=95, at_least=20))
    assert chosen != choose(units, seed=2, enough=95)
    assert choose(units, seed=1, enough=1e9) == list(range(50))


# --- against a hub ----------------------------------------------------------------------------------------------------


SOURCE: dict[str, Any] = {
    "text_column": "body", "id_column": "key", "license_column": None, "max_documents": None, "max_bytes": 4_000,
    "sample_seed": 1,
}  # fmt: skip
OTHERS: dict[str, dict[str, Any]] = {
    "positions": SOURCE | {"id_column": None},
    "all": SOURCE | {"max_bytes": 10**9},
    "column": SOURCE | {"text_column": "text"},
    "split": SOURCE | {"split": "test"},
}


def rows_of(file: int) -> list[dict[str, str]]:
    return [{"key": f"f{file}r{row}", "body": f"Row {row} of file {file}, some text."} for row in range(ROWS_OF_A_FILE)]


def as_json(file: int) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows_of(file))


def as_parquet(file: int) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows_of(file)), buffer, row_group_size=20)
    return buffer.getvalue()


@pytest.fixture(scope="module", params=[pytest.param("jsonl", marks=pytest.mark.slow), "parquet"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Samples; `alone`: the one drawn in another store; `asked`: the files that this one needed."""
    write = as_json if request.param == "jsonl" else as_parquet
    files = {f"data/train-{file:03}.{request.param}": write(file) for file in range(FILES)}
    asked: set[str] = set()
    with serve_hub(files, asked) as endpoint:
        alone = run_child(endpoint, tmp_path_factory.mktemp("alone"), {"sample": SOURCE})
        names = {name for name in asked if name.startswith("data/")}
        told = run_child(
            endpoint, tmp_path_factory.mktemp("hub"), {"sample": SOURCE, "seed": SOURCE | {"sample_seed": 2}}
        )
    return told | {"alone": alone["sample"], "asked": names, "format": request.param}


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with serve_hub({f"data/train-{file:03}.jsonl": as_json(file) for file in range(FEW_FILES)}) as endpoint:
        return run_child(endpoint, tmp_path_factory.mktemp("others"), OTHERS)


def ids(told: dict[str, Any], case: str) -> list[str]:
    return [row["document_id"] for row in told[case]["rows"]]


def test_sample_of_a_dataset_is_drawn_from_many_files_and_from_all_over_them(told):
    found = [each.removeprefix("hub/f").split("r") for each in ids(told, "sample")]
    assert len({file for file, _ in found}) >= (3 if told["format"] == "jsonl" else 10)
    assert {int(row) // 50 for _, row in found} == {0, 1}
    assert len(found) < len({file for file, _ in found}) * ROWS_OF_A_FILE / 2


def test_sample_fills_its_budget(told):
    size = sum(len(row["text"]) for row in told["sample"]["rows"])
    assert 4_000 - 40 < size <= 4_000


def test_same_seed_gives_the_same_sample_and_another_seed_another(told):
    assert told["alone"]["rows"] == told["sample"]["rows"]
    assert len(set(ids(told, "seed")) & set(ids(told, "sample"))) < len(ids(told, "sample")) / 2


def test_rows_without_an_id_column_are_named_by_their_place(others):
    assert len(ids(others, "positions")) == len(set(ids(others, "positions"))) > 50


def test_dataset_within_the_limits_is_taken_whole(others):
    assert len(ids(others, "all")) == FEW_FILES * ROWS_OF_A_FILE


def test_sample_does_not_read_the_whole_dataset(told):
    """Of JSON lines, a few files and the one whose columns are looked at; of Parquet, the footers of 64 files."""
    assert len(told["asked"]) <= (8 if told["format"] == "jsonl" else 65)


def test_manifest_says_how_much_was_read_for_a_sample(told):
    (line,) = told["sample"]["files"]
    groups = {"jsonl": r"\d+ of 64 shards in 64 of 70 files", "parquet": r"\d+ of 320 shards in 64 of 70 files"}
    assert line["commit"] == "c0ffee" * 6 + "c0ff"
    assert re.fullmatch(groups[told["format"]], line["sampled"])


def test_wrong_names_are_said_for_a_sample_too(others):
    assert f"{DATASET} has no column text; it has key, body" in others["column"]["error"]
    assert "cannot be read from the Hugging Face hub: Bad split: test" in others["split"]["error"]
