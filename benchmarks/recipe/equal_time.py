"""How many steps of each recipe take equally long."""

import math
import statistics
from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path

from benchmarks.recipe.recipes import RECIPES
from benchmarks.recipe.results import KEY, place
from benchmarks.recipe.running import make_plan, make_trainer, passages_of, prepare, warm_up
from benchmarks.recipe.task import Task
from benchmarks.rows import read_rows
from minimind.training.loop import Trainer

ROUNDS = 7
# They leave the products as they are. On a CPU that others use, too, what they add is less than turns can tell:
# measured so, all four came out as up to 8% cheaper than what they add to.
SMALL = {"zero_output_projections", "z_loss", "document_mask", "embedding_norm", "residual_scalars"}


def equal_steps(names: Iterable[str], task: Task, results: Path) -> dict[str, int]:
    """Steps of each recipe within the task's seconds or CPU seconds, for all its seeds.

    Recipes that differ from ours in numbers alone do the same arithmetic, and get the same steps; on a CPU also those
    that add no more than `SMALL`. The others are measured by turns, as the pace of a machine changes from minute to
    minute. A recipe that has a row keeps its steps, and what is added later is measured beside one of those.
    """
    known = {name: steps for name in RECIPES if (steps := known_steps(name, task, results))}
    missing = sorted(set(names) - known.keys())
    if not missing:
        return known
    anchor = "ours" if "ours" in known else next(iter(known), None)
    kinds = {arithmetic_of(name, task) for name in (*missing, anchor or "ours")}
    seconds = step_seconds(sorted(kinds, key=lambda kind: (kind != "ours", kind)), task)
    if anchor:
        budget = known[anchor] * seconds[arithmetic_of(anchor, task)]
    else:
        budget = task.seconds if task.seconds is not None else task.cpu_seconds or 0.0
    return known | {name: math.floor(budget / seconds[arithmetic_of(name, task)] + 1e-9) for name in missing}


def known_steps(name: str, task: Task, results: Path) -> int | None:
    same = itemgetter(*(key for key in KEY if key != "seed"), "settings")
    wanted = same(place(name, 0, task))
    return next((row["steps"] for row in read_rows(results) if same(row) == wanted), None)


def arithmetic_of(name: str, task: Task) -> str:
    """`ours` for a recipe whose steps are taken to cost what those of ours do; else its own name."""
    recipe = RECIPES[name]
    small = SMALL if task.device.type == "cpu" else {"zero_output_projections"}
    other = {"matrix_optimizer", "fused"} & recipe.optimizer.keys() | {*recipe.model, *recipe.plan} - small
    return name if other or recipe.reference_batch or recipe.padded or recipe.eager else "ours"


def step_seconds(names: list[str], task: Task) -> dict[str, float]:
    """Of each recipe; those of the first named are seconds, those of the others their ratio to these, as seconds."""
    prepare(task)
    unit = "step_seconds" if task.seconds is not None else "step_cpu_seconds"
    trainers = {name: trainer_of(name, task) for name in names}
    for trainer in trainers.values():
        warm_up(trainer)
    rounds = [{name: warm_up(trainer)[unit] for name, trainer in trainers.items()} for _ in range(ROUNDS)]
    first = statistics.median(found[names[0]] for found in rounds)
    return {name: first * statistics.median(found[name] / found[names[0]] for found in rounds) for name in names}


def trainer_of(name: str, task: Task) -> Trainer:
    recipe = RECIPES[name]
    return make_trainer(recipe, make_plan(recipe, 1, task), task, passages_of(recipe, 1, task))
