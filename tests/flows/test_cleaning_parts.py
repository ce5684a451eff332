"""Partitions that a Prefect task runner reads side by side give the bytes of one that is read whole."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from domain import PrefectServer
from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from minimind.cleaning.build import CleaningInputs, build
from minimind.cleaning.parts import Resources
from minimind.config import load_config
from minimind.corpus.document import SCHEMA
from minimind.store import Manifest, Outcome, Recipe, Store
from tasks.cleaning import PARTS_AT_ONCE, side_by_side


def make_corpus(store: Store, sentences: Any) -> Manifest:
    rows = [
        {"document_id": f"texts/{n:03}", "text": sentences(n, 120), "source": "texts", "metadata": []}
        for n in range(60)
    ]

    def write(folder: Path) -> Outcome:
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / "documents-00000.parquet", row_group_size=8)
        return Outcome({"documents": len(rows)}, {"sources": {"texts": {}}})

    return store.build(Recipe("corpus", {}, {}, {}, {}), write)


def test_parts_read_by_a_task_runner_give_the_same_bytes(
    prefect: PrefectServer, tmp_path: Path, sentences: Any
) -> None:
    small = ["cleaning.split.min_documents=2", "cleaning.split.min_bytes=100"]
    section = load_config(Path("configs/demo.yaml"), small).cleaning
    reports: list[str] = []

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=PARTS_AT_ONCE))
    def clean(name: str, resources: Any) -> Any:
        store = Store(tmp_path / name, "tests", lambda *step: reports.append(step[3]))
        return build(section, CleaningInputs(make_corpus(store, sentences), resources), store)

    with prefect.spoken_to():
        whole = clean("whole", Resources())
        parts = clean("parts", Resources(partition_bytes=5_000, read_parts=side_by_side))
    assert {name: file.sha256 for name, file in parts.files.items()} == {
        name: file.sha256 for name, file in whole.files.items()
    }
    assert any(text.startswith("partition 2 of ") for text in reports)
