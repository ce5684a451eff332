"""Kills a training process with SIGKILL and starts it again: seconds until the next step is done, and the same end.

    python -m benchmarks.resume --shards FOLDER --preset tiny --device cpu --steps 60
    python -m benchmarks.resume --shards FOLDER --preset 26m --device cuda --steps 400

The same plan is trained twice: once to its end, once killed --kills times on its way, each time started again at once.
Clocks: *next step* from the kill to the first step done after it, of those that the last checkpoint did not hold;
*where it was* from the kill until the step after the one at which it died is done. Then the two ends are compared: on
a CPU the exported models have to be the same bytes, on a GPU the holdout's loss tells. A row of
docs/benchmarks/resume.json is replaced by a later one of the same setting.
"""

import argparse
import hashlib
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks.recipe.recipes import RECIPES
from benchmarks.recipe.results import setting
from benchmarks.recipe.running import make_plan
from benchmarks.recipe.task import Task, add_task_arguments, make_task
from benchmarks.rows import Row, merge, surroundings, write_page
from minimind.training.launch import started_process
from minimind.training.metrics import read_metrics
from minimind.training.plan import Options, Plan
from minimind.training.process import ExitCode, RunFolder

RESULTS = Path(__file__).parents[1] / "docs" / "benchmarks" / "resume.json"
key_of = itemgetter(
    "corpus", "shards", "preset", "device", "torch", "compiling", "threads", "steps", "checkpoint_seconds"
)
LOOK_SECONDS = 0.02

HEAD = """# Resuming after a kill

Made by `python -m benchmarks.resume` from `resume.json`, which has every kill. A training process is ended by SIGKILL
and started again at once. *next step*: seconds from the kill until the first step after the checkpoint is done, start
of the process, imports, loading and compilation (from the cache) included; *where it was*: until the step after the
last one that its metrics knew is done. *steps lost* were done again; checkpoints come every so many seconds. *same
bytes*: whether the model is byte by byte that of the training that was never killed, as it has to be on a CPU; a GPU
adds up in any order. *loss*: the change of the last holdout loss.

| corpus | preset | device | torch | checkpoint every, s | kills | steps lost | next step, s | where it was, s \
| same bytes | loss | commit | date |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    given = arguments().parse_args()
    if not given.table:
        row = measure(make_task(given), given.steps, given.kills, given.checkpoint_seconds)
        merge(given.results, row, key_of)
        said = f"same bytes: {row['same_bytes']}, loss {loss_change(row):+.3%}"
        print(f"{row['next_step_seconds']:.2f} s to the next step, {said}", flush=True)
    write_page(given.results, render)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.resume",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_task_arguments(parser, RESULTS)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--checkpoint-seconds", type=float, default=2.0)
    return parser


def measure(task: Task, steps: int, kills: int, checkpoint_seconds: float) -> Row:
    changes = {"steps": steps, "evaluations": 2}
    plan = make_plan(RECIPES["ours"], 1, task).model_copy(update=changes)
    with tempfile.TemporaryDirectory() as working:
        undisturbed, killed = (make_folder(Path(working) / name, plan, task, checkpoint_seconds)
                               for name in ("undisturbed", "killed"))  # fmt: skip
        train_to_end(undisturbed, plan)
        found = [kill(killed, plan, steps * (number + 1) // (kills + 1)) for number in range(kills)]
        train_to_end(killed, plan)
        same = digest(undisturbed) == digest(killed)
        losses = [final_loss(folder) for folder in (undisturbed, killed)]
    return (
        setting("ours", task)
        | {
            "steps": steps,
            "checkpoint_seconds": checkpoint_seconds,
            "kills": found,
            "steps_lost": statistics.median(each["steps_lost"] for each in found),
            "next_step_seconds": statistics.median(each["next_step_seconds"] for each in found),
            "caught_up_seconds": statistics.median(each["caught_up_seconds"] for each in found),
            "same_bytes": same,
            "holdout_losses": losses,
        }
        | surroundings()
    )


def make_folder(path: Path, plan: Plan, task: Task, checkpoint_seconds: float) -> RunFolder:
    path.mkdir()
    folder = RunFolder(path)
    plan.write(folder.plan)
    Options(
        shards=task.shards.resolve(),
        checkpoint_seconds=checkpoint_seconds,
        permanent_checkpoint_steps=None,
        max_skipped_steps=10,
        compile_cache=task.compile_cache,
    ).write(folder.options)
    return folder


def train_to_end(folder: RunFolder, plan: Plan) -> None:
    with started_process(folder, plan, ()) as process:
        if process.wait() != ExitCode.DONE:
            raise SystemExit(f"training ended with {process.returncode}:\n{folder.log.read_text()[-2000:]}")


def kill(folder: RunFolder, plan: Plan, at_step: int) -> dict[str, float]:
    """Trains on to `at_step` and to a checkpoint, kills the process, starts another one and ends it once it is past."""
    with started_process(folder, plan, ()) as process:
        died_at = wait_for(folder, process, lambda: reached(folder, at_step))["step"]
        process.send_signal(signal.SIGKILL)
        killed = time.time()
        process.wait()
    with started_process(folder, plan, ()) as process:
        resumed_at = wait_for(folder, process, lambda: resumed(folder, killed))
        caught_up = wait_for(folder, process, lambda: past(folder, died_at, killed))
    return {
        "died_at": died_at,
        "steps_lost": died_at - resumed_at["step"] + 1,
        "next_step_seconds": round(resumed_at["time"] - killed, 3),
        "caught_up_seconds": round(caught_up["time"] - killed, 3),
    }


def reached(folder: RunFolder, step: int) -> dict[str, Any] | None:
    """The last line, once it is at `step` and a checkpoint is there."""
    if not any(folder.checkpoints.glob("*.json")):
        return None
    *_, last = [None, *read_metrics(folder.metrics)]
    return last if last and last["step"] >= step else None


def resumed(folder: RunFolder, killed: float) -> dict[str, Any] | None:
    return next((line for line in read_metrics(folder.metrics) if line["time"] > killed), None)


def past(folder: RunFolder, step: int, killed: float) -> dict[str, Any] | None:
    lines = read_metrics(folder.metrics)
    return next((line for line in lines if line["step"] > step and line["time"] > killed), None)


def wait_for(
    folder: RunFolder, process: "subprocess.Popen[bytes]", find: Callable[[], dict[str, Any] | None]
) -> dict[str, Any]:
    while (found := find()) is None:
        if process.poll() is not None:
            raise SystemExit(
                f"training ended with {process.returncode} before it could be killed; raise --steps:\n"
                + folder.log.read_text()[-2000:]
            )
        time.sleep(LOOK_SECONDS)
    return found


def digest(folder: RunFolder) -> str:
    return hashlib.sha256((folder.model / "model.safetensors").read_bytes()).hexdigest()


def final_loss(folder: RunFolder) -> float:
    """The holdout's, in nats per token."""
    *_, last = read_metrics(folder.metrics)
    return float(last["holdout_loss"])


def loss_change(row: Row) -> float:
    """Of the killed training's last holdout loss, against that of the undisturbed one."""
    undisturbed, killed = row["holdout_losses"]
    return killed / undisturbed - 1


def render(rows: list[Row]) -> str:
    return "\n".join([HEAD, *map(line, rows)]) + "\n"


def line(row: Row) -> str:
    return (
        f"| {row['corpus']} | {row['preset']} | {row['device']}, {row['machine']['processor']} | {row['torch']} "
        f"| {row['checkpoint_seconds']:g} | {len(row['kills'])} | {row['steps_lost']:g} "
        f"| {row['next_step_seconds']:.2f} | {row['caught_up_seconds']:.2f} | {'yes' if row['same_bytes'] else 'no'} "
        f"| {loss_change(row):+.3%} "
        f"| {str(row['commit'])[:12]} | {row['measured_at'][:10]} |"
    )


if __name__ == "__main__":
    main()
