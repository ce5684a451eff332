"""How soon ours is as good as a baseline at the end of its budget: wall time, CPU time, tokens.

    python -m benchmarks.time_to_loss --shards FOLDER --preset 26m --seconds 600
    python -m benchmarks.time_to_loss --shards FOLDER --preset tiny --seconds 120 --device cpu --compile

Both baselines train for --seconds (of training: compilation and evaluations do not count). Ours is trained anew for
each share of that time in --shares, each time with its decay complete, since its rate falls only towards its end. For
each seed, the answer is the shortest of these runs that ends as good as the baseline; beside it stands what a straight
line between that run and the next shorter one says, and when the longest of them passed the baseline on its way. All
are scored on the same holdout, without padding. Rows go to docs/benchmarks/time_to_loss.json as they end; a stopped
benchmark goes on by the same command.
"""

import argparse
from pathlib import Path

from benchmarks.recipe.recipes import BASELINES
from benchmarks.recipe.results import run_missing
from benchmarks.recipe.task import add_task_arguments, make_task, numbers
from benchmarks.rows import write_page
from benchmarks.time_to_loss_table import render

RESULTS = Path(__file__).parents[1] / "docs" / "benchmarks" / "time_to_loss.json"


def main() -> None:
    given = arguments().parse_args()
    if not given.table:
        task = make_task(given, seconds=given.seconds)
        for seed in numbers(given.seeds):
            for name in BASELINES:
                run_missing(name, seed, task, given.results)
            for share in map(float, given.shares.split(",")):
                run_missing("ours", seed, task.within(round(share * given.seconds, 3)), given.results)
            write_page(given.results, render)
    write_page(given.results, render)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.time_to_loss",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_task_arguments(parser, RESULTS)
    parser.add_argument("--seconds", type=float, default=600, help="of a baseline's training (600)")
    parser.add_argument("--shares", default="0.1,0.15,0.2,0.3,0.4", help="of them, one complete run of ours each")
    parser.add_argument("--seeds", default="1,2,3")
    return parser


if __name__ == "__main__":
    main()
