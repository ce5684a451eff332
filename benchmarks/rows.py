"""The rows of a benchmark: kept in one JSON, and the Markdown page beside it that is made of them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minimind.machine import describe_machine, git_commit

Row = dict[str, Any]


def read_rows(results: Path) -> list[Row]:
    rows: list[Row] = json.loads(results.read_text())["rows"] if results.is_file() else []
    return rows


def surroundings() -> Row:
    """Where and when a row was measured."""
    return {
        "machine": describe_machine(),
        "commit": git_commit(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def merge(results: Path, row: Row, key: Callable[[Row], Any]) -> None:
    """Adds a row, in the place of an earlier one of the same key. A kill leaves all rows, with this one or without."""
    rows = {key(known): known for known in read_rows(results)} | {key(row): row}
    results.parent.mkdir(parents=True, exist_ok=True)
    partial = results.with_suffix(".partial")
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in rows.values())
    partial.write_text(f'{{"rows": [\n{lines}\n]}}\n')
    partial.replace(results)


def write_page(results: Path, render: Callable[[list[Row]], str]) -> str:
    """The page, which is also written beside the JSON."""
    rows = read_rows(results)
    if not rows:
        raise SystemExit(f"{results} has no rows; run the benchmark without --table first")
    page = render(rows)
    results.with_suffix(".md").write_text(page)
    return page
