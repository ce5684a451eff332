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

ROUNDS = 5


def equal_steps(names: Iterable[str], task: Task, results: Path) -> dict[str, int]:
    """Steps of each recipe within the task's seconds or CPU seconds.

    A recipe that has a row keeps that row's steps, so that all its seeds take as many. The others are measured by turns
    with ours: where a machine's pace changes from minute to minute, the ratio of two steps holds, their seconds do not.
    """
    known = {name: steps for name in {"ours", *names} if (steps := known_steps(name, task, results))}
    missing = [name for name in names if name not in known]
    if not missing:
        return known
    seconds = step_seconds(["ours", *(name for name in missing if name != "ours")], task)
    budget = task.seconds if task.seconds is not None else task.cpu_seconds or 0.0
    ours = known.get("ours", budget / seconds["ours"])
    return known | {name: math.floor(ours * seconds["ours"] / seconds[name]) for name in missing}


def known_steps(name: str, task: Task, results: Path) -> int | None:
    same = itemgetter(*(key for key in KEY if key != "seed"), "settings")
    wanted = same(place(name, 0, task))
    return next((row["steps"] for row in read_rows(results) if same(row) == wanted), None)


def step_seconds(names: list[str], task: Task) -> dict[str, float]:
    """Of each recipe, the first named being the one that the others are measured beside."""
    unit = "step_seconds" if task.seconds is not None else "step_cpu_seconds"
    rounds = [{name: measured(name, task)[unit] for name in names} for _ in range(ROUNDS)]
    first = statistics.median(found[names[0]] for found in rounds)
    return {name: first * statistics.median(found[name] / found[names[0]] for found in rounds) for name in names}


def measured(name: str, task: Task) -> dict[str, float]:
    prepare(task)
    recipe = RECIPES[name]
    return warm_up(make_trainer(recipe, make_plan(recipe, 1, task), task, passages_of(recipe, 1, task)))
