"""Rows of a benchmark in a JSON file, and the page beside it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.recipe.recipes import RECIPES, batch_sequences_of, model_of, plan_of, settings_of
from benchmarks.recipe.running import run
from benchmarks.recipe.task import Task, sha256_of_folder
from minimind.digests import sha256_of_json
from minimind.machine import describe_machine, git_commit
from minimind.training.device import hardware_name

Row = dict[str, Any]
KEY = (
    "corpus", "shards", "preset", "recipe", "seed", "budget", "device", "torch", "window", "holdout_windows",
    "compiling", "threads",
)  # fmt: skip


def run_missing(name: str, seed: int, task: Task, results: Path) -> None:
    """Runs a recipe, unless the results have it as it is now; a row of the recipe as it was is replaced."""
    row = place(name, seed, task)
    settled = (*KEY, "settings")
    if key_of(row, settled) in {key_of(known, settled) for known in read(results)}:
        return
    row |= run(RECIPES[name], seed, task) | surroundings()
    merge(results, row, KEY)
    print(f"{name} seed {seed}, {task.budget}: {row['bits_per_byte']:.4f} bits per byte", flush=True)


def place(name: str, seed: int, task: Task) -> Row:
    """What tells a run from every other."""
    scored = {"seed": seed, "budget": task.budget, "window": task.window, "holdout_windows": task.holdout_windows}
    return setting(name, task) | scored


def setting(name: str, task: Task) -> Row:
    return {
        "corpus": task.corpus,
        "shards": sha256_of_folder(task.shards),
        "preset": task.preset,
        "recipe": name,
        "device": hardware_name(task.device),
        "torch": torch.__version__,
        "compiling": task.compiled,
        "threads": task.threads,
        "settings": settings_sha256(name, task.preset),
    }


def settings_sha256(name: str, preset: str) -> str:
    """Of all that makes the recipe what it is."""
    recipe = RECIPES[name]
    settings = settings_of(recipe, preset).model_dump() | plan_of(recipe) | vars(model_of(recipe, preset, 0))
    batch = batch_sequences_of(recipe, preset)
    return sha256_of_json([settings, batch, recipe.padded, recipe.plain_loss, recipe.eager, recipe.deterministic])[:16]


def surroundings() -> Row:
    return {
        "machine": describe_machine(),
        "commit": git_commit(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def key_of(row: Row, names: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def read(results: Path) -> list[Row]:
    rows: list[Row] = json.loads(results.read_text())["rows"] if results.is_file() else []
    return rows


def merge(results: Path, row: Row, key: tuple[str, ...]) -> None:
    """Adds a row; one of the same key is replaced."""
    write(results, [*(known for known in read(results) if key_of(known, key) != key_of(row, key)), row], key)


def write(results: Path, rows: list[Row], key: tuple[str, ...]) -> None:
    results.parent.mkdir(parents=True, exist_ok=True)
    temporary = results.with_suffix(".tmp")
    lines = ",\n".join(json.dumps(row) for row in sorted(rows, key=lambda row: str(key_of(row, key))))
    temporary.write_text(f'{{"rows": [\n{lines}\n]}}\n')
    temporary.rename(results)


def write_page(results: Path, render: Callable[[list[Row]], str]) -> None:
    results.with_suffix(".md").write_text(render(read(results)))
