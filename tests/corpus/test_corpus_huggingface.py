"""The huggingface source against a small hub on this machine, with the libraries that a real one is read by.

They read the hub's address when they are imported, so every build runs in one child process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hub import COMMIT, DATASET, serve_hub

from minimind.config import HuggingFaceSource
from minimind.corpus.sources.huggingface import HuggingFace
from minimind.errors import SourceError

ROWS: list[dict[str, Any]] = [
    {"key": f"r{number}", "body": f"Row {number}.", "terms": "CC0-1.0" if number % 2 else None} for number in range(20)
]
ROWS[3]["body"] = None
ROWS[4]["body"] = " "
SOURCE = {
    "kind": "huggingface",
    "name": "hub",
    "dataset": DATASET,
    "revision": "main",
    "split": "train",
    "text_column": "body",
    "id_column": "key",
    "license_column": "terms",
    "license": "Public domain",
    "max_documents": 5,
}
CASES: dict[str, dict[str, Any]] = {
    "documents": {},
    "again": {},
    "commit": {"revision": COMMIT},
    "bytes": {"max_documents": None, "max_bytes": 30},
    "positions": {"id_column": None, "license_column": None},
    "column": {"text_column": "text"},
    "dataset": {"dataset": "team/other"},
    "split": {"split": "test"},
    "subset": {"subset": "other"},
    "revision": {"revision": "gone"},
}
CHILD = """
import json, sys
from pathlib import Path
import pyarrow.parquet as pq
from minimind.config import CorpusConfig
from minimind.corpus.build import CorpusInputs, build
from minimind.errors import UserError
from minimind.store import Store

told = {}
limits = {"max_unreadable_share": 0.5, "max_download_bytes": 1, "max_expanded_bytes": 1}
limits |= {"parallel_downloads": 1, "requests_per_second": 1.0, "exclude_ids": []}
for name, source in json.loads(sys.argv[1]).items():
    section = CorpusConfig.model_validate(limits | {"sources": [source]})
    try:
        built = build(section, CorpusInputs(), Store(Path("store"), "tests"))
    except UserError as error:
        told[name] = {"error": f"{type(error).__name__}: {error}"}
        continue
    rows = pq.read_table(built.file("documents-00000.parquet")).to_pylist()
    files = [json.loads(line) for line in built.file("files.jsonl").read_text().splitlines()]
    told[name] = {"rows": rows, "files": files, "reused": built.reused}
    told[name] |= built.model_dump(include={"inputs", "details", "libraries"})
print(json.dumps(told))
"""


def run_child(endpoint: str, folder: Any, cases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"), "DO_NOT_TRACK": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])  # this code, wherever the package is installed from
    sources = {name: SOURCE | changes for name, changes in cases.items()}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(sources)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
    with serve_hub({"README.md": b"# Laws\n", "data/train-0.jsonl": lines}) as endpoint:
        return run_child(endpoint, tmp_path_factory.mktemp("hub"), CASES)


def test_rows_up_to_the_limit_become_documents(told):
    rows = told["documents"]["rows"]
    assert [row["document_id"] for row in rows] == ["hub/r0", "hub/r1", "hub/r2", "hub/r5", "hub/r6"]
    assert [row["license"] for row in rows[:2]] == ["Public domain", "CC0-1.0"]
    assert rows[0]["text"] == "Row 0."
    assert dict(rows[0]["metadata"]) == {"origin": f"hf://datasets/{DATASET}@{COMMIT}"}


def test_unreadable_row_is_reported_by_its_number(told):
    (listed,) = told["documents"]["details"]["unreadable"]
    assert listed == {"path": f"hf://datasets/{DATASET}@{COMMIT}", "line": 4, "problem": "text is missing"}
    assert told["documents"]["details"]["sources"]["hub"]["skipped"] == {"nothing in it": 1}


def test_probe_is_the_commit_that_the_revision_stands_for(told):
    assert told["documents"]["inputs"] == {f"hub: {DATASET}": f"commit {COMMIT}"}
    assert told["again"]["reused"]
    assert told["commit"]["rows"] == told["documents"]["rows"]
    assert set(told["documents"]["libraries"]) == {"datasets", "pyarrow"}


def test_bytes_of_text_are_not_exceeded(told):
    texts = [row["text"] for row in told["bytes"]["rows"]]
    assert sum(map(len, texts)) <= 30 < sum(map(len, texts)) + len("Row 6.")


def test_position_is_the_id_where_no_column_is_named(told):
    ids = [row["document_id"] for row in told["positions"]["rows"]]
    assert ids == [f"hub/{number:09}" for number in (0, 1, 2, 5, 6)]


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("column", "team/laws has no column text; it has key, body, terms. Correct the columns"),
        ("dataset", "the dataset team/other (revision main"),
        ("split", "split test) cannot be read from the Hugging Face hub: Bad split: test"),
        ("subset", "cannot be read from the Hugging Face hub: BuilderConfig 'other' not found"),
        ("revision", "(revision gone"),
    ],
)
def test_what_the_hub_does_not_have_is_said(told, case, said):
    assert told[case]["error"].startswith("SourceError: source hub: ")
    assert said in told[case]["error"]


def test_row_that_is_too_long_is_unreadable_and_the_next_is_read(store, monkeypatch):
    monkeypatch.setattr("minimind.corpus.records.MAX_DOCUMENT_BYTES", 100)
    rows = [ROWS[0] | {"body": "é" * 50}, ROWS[1]]
    monkeypatch.setattr(HuggingFace, "_opened", lambda reader: rows)
    too_long, document, _ = HuggingFace(HuggingFaceSource.model_validate(SOURCE), store).read()
    assert (too_long.line, too_long.problem) == (1, "it has more than 100 bytes; split it")
    assert document.document_id == "hub/r1"


def test_hub_that_cannot_be_reached_is_said(tmp_path):
    told = run_child("http://127.0.0.1:9", tmp_path, {"branch": {}})
    assert "SourceUnreachableError: source hub: the dataset team/laws" in told["branch"]["error"]
    assert "Check the network" in told["branch"]["error"]


def test_folder_that_would_be_read_instead_of_the_hub_is_refused(tmp_path, build_corpus, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / DATASET).mkdir(parents=True)
    with pytest.raises(SourceError, match="team/laws is also a folder here"):
        build_corpus(SOURCE)
