"""`minimind compare`: the comparison for a person in front of a terminal, or as JSON."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows import local_run
from flows.settings import store_root


def compare(name: str, versions: list[str], option: Path | None, as_json: bool) -> None:
    root = store_root(option)

    def call() -> dict[str, Any]:
        from flows.compare import CompareRequest, compare

        return compare(CompareRequest(name=name, versions=versions, store=str(root)))

    result = local_run.called(root, call)
    if as_json:
        print(json.dumps(result))
    else:
        print_comparison(result)


def print_comparison(result: dict[str, Any]) -> None:
    from tasks.comparison import span

    console = Console(highlight=False)
    for one in result["comparisons"]:
        console.print(Text(f"\n{one['sentence'][:1].upper()}{one['sentence'][1:]}."), soft_wrap=True)
        table = Table(show_edge=False, pad_edge=False)
        for column in (
            "",
            f"version {one['baseline']}",
            f"version {one['candidate']}",
            "change",
            "95% interval",
            "verdict",
        ):
            table.add_column(column, justify="left" if column in ("", "verdict") else "right")
        for source, row in [*one["by_source"].items(), ("all", one)]:
            values = (f"{row['bits_per_byte'][key]:.4f}" for key in ("baseline", "candidate"))
            change = f"{row['effect']['percent']:+.2f}%"
            table.add_row(Text(source), *values, change, span(row), row["verdict"].replace("_", " "))
        console.print(table)
    if said := result["unchecked"]:
        console.print(Text(f"\n{said[:1].upper()}{said[1:]}."), soft_wrap=True)
    console.print(Text(f"\nNoise: {result['seed_spread']}."), soft_wrap=True)
    console.print(Text.assemble(("Page ", "bold"), result["page"]), soft_wrap=True)
