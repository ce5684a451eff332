"""The rows of a benchmark: kept in one JSON, and the Markdown page beside it that is made of them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read_rows(results: Path) -> list[Row]:
    rows: list[Row] = json.loads(results.read_text())["rows"] if results.is_file() else []
    return rows


def write_rows(results: Path, rows: Sequence[Row]) -> None:
    """All of them, or what was there before."""
    results.parent.mkdir(parents=True, exist_ok=True)
    partial = results.with_suffix(".partial")
    partial.write_text(json.dumps({"rows": rows}, indent=1, ensure_ascii=False) + "\n")
    partial.replace(results)


def write_table(results: Path, render: Callable[[list[Row]], str]) -> str:
    """The page, which is also written beside the JSON."""
    rows = read_rows(results)
    if not rows:
        raise SystemExit(f"{results} has no rows; run the benchmark without --table first")
    page = render(rows)
    results.with_suffix(".md").write_text(page)
    return page
