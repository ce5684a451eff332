"""Training recipes against each other, on one corpus and device: bits per byte at equal tokens or equal time.

    python -m benchmarks.recipe --shards FOLDER --preset 26m --tokens 200M --seeds 1,2,3
    python -m benchmarks.recipe --shards FOLDER --preset 26m --seconds 600 --recipes ours,reference,reference-packed

FOLDER holds prepared shards (of a store, or made by `python -m benchmarks.recipe.prepare`); without it,
$MINIMIND_SHARDS. Needs torch 2.11 or newer, numpy, pyarrow, pydantic, PyYAML and safetensors. Equal time is as many
steps for recipes of the same products, and is measured by turns for the others, before the first run. Each run becomes
a row of docs/benchmarks/recipe.json as it ends, and a row that is there is not run again: a stopped benchmark goes on
by the same command. A row whose recipe has changed since (the configs' optimizer, for `ours`) is run again and
replaced. The tables beside it are made of all rows (`--table` does only that).
"""

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.recipe.equal_time import equal_steps
from benchmarks.recipe.recipes import RECIPES
from benchmarks.recipe.results import run_missing
from benchmarks.recipe.table import render
from benchmarks.recipe.task import add_task_arguments, count, make_task, named_recipes, numbers
from benchmarks.rows import write_page

RESULTS = Path(__file__).parents[2] / "docs" / "benchmarks" / "recipe.json"


def main() -> None:
    given = arguments().parse_args()
    if not given.table:
        if sum(budget is not None for budget in (given.tokens, given.seconds, given.cpu_seconds)) != 1:
            raise SystemExit("give one of --tokens, --seconds and --cpu-seconds")
        task = make_task(given, tokens=given.tokens, seconds=given.seconds, cpu_seconds=given.cpu_seconds)
        names = named_recipes(given.recipes)
        steps = equal_steps(names, task, given.results) if task.tokens is None else {}
        for seed in numbers(given.seeds):  # all recipes of a seed before the next seed
            for name in names:
                run_missing(name, seed, replace(task, steps=steps.get(name)), given.results)
                write_page(given.results, render)
    write_page(given.results, render)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_task_arguments(parser, RESULTS)
    parser.add_argument("--recipes", default=",".join(RECIPES), help="names, with commas between (all)")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--tokens", type=count, help="of each run, such as 400k or 200M; padding does not count")
    parser.add_argument(
        "--seconds", type=float, help="of ours; the others take as many steps as fit, compilation left out"
    )
    parser.add_argument("--cpu-seconds", type=float, help="the same of all threads; compares better on a busy machine")
    return parser


if __name__ == "__main__":
    main()
