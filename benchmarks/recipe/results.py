"""What tells a run of a recipe from others, and the runs whose rows are missing."""

from operator import itemgetter
from pathlib import Path

import torch

from benchmarks.recipe.recipes import RECIPES, batch_sequences_of, model_of, plan_of, settings_of
from benchmarks.recipe.running import run
from benchmarks.recipe.task import Task, sha256_of_folder
from benchmarks.rows import Row, merge, read_rows, surroundings
from minimind.digests import sha256_of_json
from minimind.training.device import hardware_name

KEY = (
    "corpus", "shards", "preset", "recipe", "seed", "budget", "device", "torch", "window", "holdout_windows",
    "compiling", "threads",
)  # fmt: skip


def run_missing(name: str, seed: int, task: Task, results: Path) -> None:
    """Runs a recipe, unless the results have it as it is now; a row of the recipe as it was is replaced."""
    row = place(name, seed, task)
    settled = itemgetter(*KEY, "settings")
    if settled(row) in map(settled, read_rows(results)):
        return
    row |= run(RECIPES[name], seed, task) | surroundings()
    merge(results, row, itemgetter(*KEY))
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
    return sha256_of_json([settings, batch, recipe.padded, recipe.plain_loss, recipe.eager])[:16]
