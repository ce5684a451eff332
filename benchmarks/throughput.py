"""Tokens per second, MFU and memory of training: ours beside both baselines, taking turns.

    python -m benchmarks.throughput --shards FOLDER --presets 26m,64m --devices cuda
    python -m benchmarks.throughput --shards FOLDER --presets tiny --devices cpu --compile

Each recipe has a process of its own, so that its memory is its own too, and all stay alive: in each round every one
takes a few steps while the others wait. Compiled code begins in an empty folder; afterwards each recipe starts a second
time, from what the first one left there. Needs what `python -m benchmarks.recipe` needs. A row of
docs/benchmarks/throughput.json is replaced by a later one of the same preset, device and recipe.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch

from benchmarks.recipe.recipes import BASELINES, RECIPES
from benchmarks.recipe.results import setting
from benchmarks.recipe.running import NeverStop, make_plan, make_trainer, passages_of, prepare
from benchmarks.recipe.task import Task, add_speed_arguments, each_task, named_recipes
from benchmarks.rows import Row, merge, surroundings, write_page
from benchmarks.throughput_table import render
from minimind.training.dynamics import peak_memory
from minimind.training.flops import flops_per_token, measured_flops, peak_flops

RESULTS = Path(__file__).parents[1] / "docs" / "benchmarks" / "throughput.json"
key_of = itemgetter("corpus", "shards", "preset", "device", "torch", "compiling", "threads", "micro_batch", "recipe")
SETTLING_STEPS = 2  # before the first round
SAID_SECONDS = 600.0  # for the figure that includes compilation


def main() -> None:
    given = arguments().parse_args()
    if not given.table:
        for task in each_task(given):
            for row in measure(named_recipes(given.recipes), task, given.rounds, given.steps):
                merge(given.results, row, key_of)
                print(f"{row['preset']} {row['recipe']}: {row['tokens_per_second']:,.0f} useful tokens/s", flush=True)
            write_page(given.results, render)
    write_page(given.results, render)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_speed_arguments(parser, RESULTS)
    parser.add_argument("--recipes", default=",".join(("ours", *BASELINES)))
    parser.add_argument("--rounds", type=int, default=5, help="the median counts (5)")
    parser.add_argument("--steps", type=int, default=5, help="of each recipe in a round (5)")
    return parser


def measure(names: list[str], task: Task, rounds: int, steps: int) -> Iterator[Row]:
    """A row a recipe."""
    with tempfile.TemporaryDirectory() as cache:
        yield from measure_cold(names, replace(task, compile_cache=Path(cache)), rounds, steps)


def measure_cold(names: list[str], task: Task, rounds: int, steps: int) -> Iterator[Row]:
    with started(names, task) as workers:
        wait_until_ready(workers)
        begun = {name: ask(workers[name], "begin") for name in names}
        found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                found[name].append(ask(workers[name], steps))
        ended = {name: ask(workers[name], "end") for name in names}
    with started(names, task) as workers:
        wait_until_ready(workers)
        again = {name: ask(workers[name], "begin")["first_step_seconds"] for name in names}
    for name in names:
        yield (
            setting(name, task)
            | {"micro_batch": task.micro_batch}
            | begun[name]
            | {"again_first_step_seconds": again[name]}
            | summary(found[name], begun[name])
            | ended[name]
            | surroundings()
        )


def summary(rounds: list[dict[str, float]], begun: dict[str, Any]) -> dict[str, Any]:
    """Medians over rounds, and shares of the peaks."""
    speeds = [each["tokens"] / each["seconds"] for each in rounds]
    speed = statistics.median(speeds)
    arithmetic = speed * begun["flops_per_token"]
    trained = max(0.0, SAID_SECONDS - begun["first_step_seconds"])
    return {
        "rounds": rounds,
        "tokens_per_second": speed,
        "least_tokens_per_second": min(speeds),
        "most_tokens_per_second": max(speeds),
        "tokens_per_second_with_compilation": speed * trained / SAID_SECONDS,
        "tokens_per_cpu_second": statistics.median(each["tokens"] / each["cpu_seconds"] for each in rounds),
        "mfu_of_measured": arithmetic / begun["measured_flops"],
        "mfu_of_data_sheet": arithmetic / begun["data_sheet_flops"] if begun["data_sheet_flops"] else None,
        "loader_share": statistics.median(each["waited_seconds"] / each["seconds"] for each in rounds),
    }


@contextmanager
def started(names: list[str], task: Task) -> Iterator[dict[str, Connection]]:
    """A process for each recipe, ended with the block."""
    context = multiprocessing.get_context("spawn")  # a fork would take over the parent's threads and CUDA's state
    workers, processes = {}, []
    try:
        for name in names:
            workers[name], theirs = context.Pipe()
            process = context.Process(target=work, args=(name, task, theirs), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
        yield workers
    finally:
        for process in processes:
            process.kill()
            process.join()


def wait_until_ready(workers: Mapping[str, Connection]) -> None:
    """One that is still importing would slow down the first that is measured."""
    for worker in workers.values():
        received(worker)


def ask(worker: Connection, order: str | int) -> dict[str, Any]:
    worker.send(order)
    return received(worker)


def received(worker: Connection) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = worker.recv()
    except EOFError:
        raise SystemExit("a recipe's process has died; what it said stands above") from None
    return answer


# --- in the process of a recipe ---------------------------------------------------------------------------------------


def work(name: str, task: Task, orders: Connection) -> None:
    """Answers `begin`, then numbers of steps, then `end`."""
    recipe = RECIPES[name]
    prepare(task)
    plan = make_plan(recipe, 1, task)
    orders.send({})
    orders.recv()
    peak = measured_flops(task.device, plan.precision, task.threads)
    known = peak_flops(task.device, plan.precision)
    trainer = make_trainer(recipe, plan, task, passages_of(recipe, 1, task))
    first = timed_steps(trainer, 1)
    timed_steps(trainer, SETTLING_STEPS)
    orders.send(
        {
            "parameters": plan.model.parameters,
            "precision": plan.precision,
            "compiled": plan.compiled,
            "sequence_length": plan.sequence_length,
            "batch_tokens": plan.batch_tokens,
            "micro_batch_sequences": plan.micro_batch_sequences,
            "flops_per_token": flops_per_token(plan.model),
            "measured_flops": peak,
            "data_sheet_flops": known if known != peak else None,
            "first_step_seconds": first["seconds"],
        }
    )
    with suppress(EOFError):  # the benchmark has what it wanted, or is dead
        while (order := orders.recv()) != "end":
            orders.send(timed_steps(trainer, order))
        orders.send(memory(trainer.device))


def timed_steps(trainer: Any, steps: int) -> dict[str, float]:
    """Seconds, CPU seconds and useful tokens of some steps; the device is waited for at the end."""
    stop, batches = NeverStop(), trainer.batches
    tokens, waited = batches.predicted_tokens, batches.waited_seconds
    started, started_cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        last = trainer.train_step(stop)
    last.loss.item()
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - started_cpu,
        "tokens": batches.predicted_tokens - tokens,
        "waited_seconds": batches.waited_seconds - waited,
    }


def memory(device: torch.device) -> dict[str, int]:
    """Bytes at the highest: of tensors and of what torch holds for them on a GPU; of the process on a CPU."""
    if device.type == "cuda":
        return {"allocated_bytes": peak_memory(device), "reserved_bytes": torch.cuda.max_memory_reserved(device)}
    return {"process_bytes": peak_memory(device)}


if __name__ == "__main__":
    main()
