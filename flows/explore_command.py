"""`minimind explore`: the exploration for a person in front of a terminal, or as JSON."""

import json
import shlex
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows import local_run
from flows.new_config import yaml_of
from flows.settings import store_root
from flows.summary import program, store_option
from minimind.config import parse_budget, validate_config
from minimind.errors import ConfigError, UserError

CONFIGS = Path("configs")


def explore(
    target: str, overrides: list[str], budget: str, name: str | None, refresh: bool, write: bool, option: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    root = store_root(option)
    check(target, overrides, budget, name, write)

    def call() -> dict[str, Any]:
        from flows.explore import ExploreRequest, explore

        request = ExploreRequest(
            target=target, budget=budget, name=name, overrides=overrides, refresh=refresh, store=str(root)
        )
        return explore(request)

    result = local_run.called(root, call)
    written = written_config(result) if write else None
    if as_json:
        print(json.dumps(result | {"written": str(written) if written else None}))
    else:
        print_explored(result, written, root)


def check(target: str, overrides: list[str], budget: str, name: str | None, write: bool) -> None:
    """Says what is wrong before anything starts."""
    try:
        parse_budget(budget)
    except ValueError as error:
        raise ConfigError("--budget", [str(error)]) from None
    text, _ = yaml_of(target, name, overrides)
    config = validate_config(yaml.safe_load(text), target)
    if write:
        path = CONFIGS / f"{config.name}.yaml"
        if path.exists():
            raise UserError(f"{path} is there already; choose another --name, or leave --write out")


def written_config(result: dict[str, Any]) -> Path:
    path = CONFIGS / f"{result['name']}.yaml"
    CONFIGS.mkdir(exist_ok=True)
    path.write_text(Path(result["config"]).read_text())
    return path


def print_explored(result: dict[str, Any], written: Path | None, root: Path) -> None:
    console, verdict = Console(highlight=False), result["verdict"]
    if all(stage["reused"] for stage in result["stages"].values()):
        console.print("\n[bold]Nothing new:[/] all of it was in the store.")
    console.print(Text(f"\n{verdict['heading']}", "bold"), soft_wrap=True)
    for sentence in verdict["sentences"]:
        console.print(Text(sentence), soft_wrap=True)
    for finding in verdict["findings"]:
        console.print(Text(f"- {finding['name']}: {finding['sentence']}"), soft_wrap=True)
    if verdict["gains"]:
        print_gains(console, verdict["gains"])
    console.print(Text(f"\n{verdict['first']}", "bold"), soft_wrap=True)
    console.print(Text.assemble(("\nPage ", "bold"), result["page"]), soft_wrap=True)
    console.print(Text.assemble(("YAML ", "bold"), str(written or result["config"])), soft_wrap=True)
    if verdict["refusal"]:
        return  # a run would be refused, too
    command = f"{program()} run {shlex.quote(str(written or result['config']))}{store_option(root)}"
    console.print(Text.assemble(("Go on ", "bold"), (command, "cyan")), soft_wrap=True)


def print_gains(console: Console, gains: list[dict[str, Any]]) -> None:
    table = Table(title="What more would bring", title_justify="left", show_edge=False, pad_edge=False)
    for column in ("", "bits per byte saved", "range"):
        table.add_column(column, justify="left" if not column else "right")
    for row in gains:
        what = {"training": "the training", "text": "the text", "both": "both"}[row["kind"]]
        table.add_row(f"{row['factor']} times {what}", f"{row['value']:.3f}", f"{row['low']:.3f} to {row['high']:.3f}")
    console.print()
    console.print(table)
