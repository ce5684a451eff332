"""What each data stage costs per gigabyte of text, and the same run over each task runner.

    python -m benchmarks.stages --corpora $MINIMIND_CORPORA

reads `<corpora>/<name>/*.jsonl.gz` (lines with id and text) with `configs/<name>.yaml`, and writes
docs/benchmarks/stages.json, a row replacing an earlier one of the same part, corpus and setting, and the table beside
it (`--table` does only that). `--parts cost,runners` adds the same run over each task runner, which has not been
measured yet; Dask and Ray need their extras.
"""

import argparse
import importlib.metadata
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rows import Row, merge, surroundings, write_page
from benchmarks.stages.cost import measured_stages
from benchmarks.stages.runners import RUNNERS, measured_runners
from benchmarks.stages.table import render

RESULTS = Path("docs/benchmarks/stages.json")
LIBRARIES = ("prefect", "duckdb", "tokenizers", "tiktoken", "pyarrow")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, default=os.environ.get("MINIMIND_CORPORA"))
    parser.add_argument("--names", default="legal-de,legal-en")
    parser.add_argument("--parts", default="cost")
    parser.add_argument("--runners", default=";".join(RUNNERS), help="separated by semicolons")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="only write the table")
    given = parser.parse_args()
    if not given.table:
        if given.corpora is None:
            parser.error("--corpora or MINIMIND_CORPORA has to name the folder of the corpora")
        with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".stages-") as working:
            for row in measured(given, Path(working)):
                merge(given.results, row | about(), key_of)
    print(write_page(given.results, render))


def measured(given: argparse.Namespace, working: Path) -> Iterator[Row]:
    parts, names = given.parts.split(","), given.names.split(",")
    if "cost" in parts:
        for name in names:
            files = f"{given.corpora}/{name}/*.jsonl.gz"
            for row in measured_stages(Path("configs") / f"{name}.yaml", files, working / name):
                yield {"part": "cost", "corpus": name} | row
    if "runners" in parts:
        files = [f"{given.corpora}/{name}/*.jsonl.gz" for name in names]
        for row in measured_runners(Path("configs") / f"{names[-1]}.yaml", files, working, given.runners.split(";")):
            yield {"part": "runners", "corpus": " and ".join(names)} | row


def about() -> Row:
    return surroundings() | {
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }


def key_of(row: Row) -> tuple[str, str, str]:
    return row["part"], row["corpus"], row.get("stage") or row["runner"]


if __name__ == "__main__":
    main()
