"""The share of a step in which training stands still for its data, and how fast batches could be read at most.

    python -m benchmarks.loader --shards FOLDER --presets tiny --devices cpu
    python -m benchmarks.loader --shards FOLDER --presets 26m,64m --devices cuda

On a GPU the next batch is read and sent while this one is computed, so that the share is what is left of waiting; on a
CPU it is the reading itself. A row of docs/benchmarks/loader.json is replaced by a later one of the same setting.
"""

import argparse
import statistics
import time
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks.recipe.recipes import RECIPES
from benchmarks.recipe.results import setting
from benchmarks.recipe.running import NeverStop, make_plan, make_trainer, prepare
from benchmarks.recipe.task import Task, add_speed_arguments, each_task
from benchmarks.rows import Row, merge, surroundings, write_page

RESULTS = Path(__file__).parents[1] / "docs" / "benchmarks" / "loader.json"
key_of = itemgetter("corpus", "shards", "preset", "device", "torch", "compiling", "threads")
SETTLING_STEPS = 2

HEAD = """# Loader

Made by `python -m benchmarks.loader` from `loader.json`. *stall* is the share of a step's time in which training waited
for a batch: median over rounds, and the greatest; *CPU* the same of the process's CPU time where nothing is read ahead.
*reading alone* is how many tokens a second one thread reads when nothing else runs, over how many training takes.

| corpus | preset | device | torch | tokens/s in training | stall | greatest | CPU | reading alone | commit | date |
|---|---|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    given = arguments().parse_args()
    if not given.table:
        for task in each_task(given):
            row = measure(task, given.rounds, given.steps)
            merge(given.results, row, key_of)
            print(f"{task.preset}: {row['stall']:.3%} of a step", flush=True)
    write_page(given.results, render)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loader",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_speed_arguments(parser, RESULTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="of a round (10)")
    return parser


def measure(task: Task, rounds: int, steps: int) -> Row:
    recipe = RECIPES["ours"]
    prepare(task)
    trainer = make_trainer(recipe, make_plan(recipe, 1, task), task, None)
    timed_round(trainer, SETTLING_STEPS)
    found = [timed_round(trainer, steps) for _ in range(rounds)]
    speed = statistics.median(each["tokens_per_second"] for each in found)
    return (
        setting("ours", task)
        | {
            "rounds": found,
            "tokens_per_second": speed,
            "stall": statistics.median(each["stall"] for each in found),
            "greatest_stall": max(each["stall"] for each in found),
            "cpu_share": reading_cpu_share(trainer, found, steps) if task.device.type == "cpu" else None,
            "reading_tokens_per_second": reading_speed(trainer),
        }
        | surroundings()
    )


def timed_round(trainer: Any, steps: int) -> dict[str, float]:
    stop, batches = NeverStop(), trainer.batches
    waited, tokens = batches.waited_seconds, batches.predicted_tokens
    started, started_cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        last = trainer.train_step(stop)
    last.loss.item()  # waits for the device
    seconds = time.perf_counter() - started
    return {
        "tokens_per_second": (batches.predicted_tokens - tokens) / seconds,
        "stall": (batches.waited_seconds - waited) / seconds,
        "cpu_seconds": time.process_time() - started_cpu,
    }


def reading_cpu_share(trainer: Any, rounds: list[dict[str, float]], steps: int) -> float:
    """Of the CPU time of a step: the same batches read once more, alone."""
    plan = trainer.plan
    started = time.process_time()
    for number in range(steps * plan.accumulation):
        trainer.sequences.batch(number * plan.micro_batch_sequences, plan.micro_batch_sequences)
    return (time.process_time() - started) / statistics.median(each["cpu_seconds"] for each in rounds)


def reading_speed(trainer: Any, seconds: float = 1.0) -> float:
    """Tokens that one thread reads in a second, from a place where training has not been."""
    plan, number = trainer.plan, 1000
    started = time.perf_counter()
    while (took := time.perf_counter() - started) < seconds:
        trainer.sequences.batch(number * plan.micro_batch_sequences, plan.micro_batch_sequences)
        number += 1
    return (number - 1000) * plan.micro_batch_sequences * plan.sequence_length / took


def render(rows: list[Row]) -> str:
    return "\n".join([HEAD, *map(line, rows)]) + "\n"


def line(row: Row) -> str:
    headroom = row["reading_tokens_per_second"] / row["tokens_per_second"]
    cpu = "" if row["cpu_share"] is None else f"{row['cpu_share']:.3%}"
    return (
        f"| {row['corpus']} | {row['preset']} | {row['device']}, {row['machine']['processor']} | {row['torch']} "
        f"| {row['tokens_per_second']:,.0f} | {row['stall']:.3%} | {row['greatest_stall']:.3%} | {cpu} "
        f"| {row['reading_tokens_per_second']:,.0f}, {headroom:,.0f} x "
        f"| {str(row['commit'])[:12]} | {row['measured_at'][:10]} |"
    )


if __name__ == "__main__":
    main()
