"""Training recipes against each other, on one corpus and device: bits per byte at equal tokens or equal time.

    python -m benchmarks.recipe --shards FOLDER --preset 26m --tokens 200M --seeds 1,2,3
    python -m benchmarks.recipe --shards FOLDER --preset 26m --seconds 600 --recipes ours,reference,reference-packed

FOLDER holds prepared shards (of a store, or made by `python -m benchmarks.recipe.prepare`); without it,
$MINIMIND_SHARDS. Needs torch 2.11 or newer, numpy, pyarrow, pydantic, PyYAML and safetensors. Each run becomes a row of
docs/benchmarks/recipe.json as it ends, and a row that is there is not run again: a stopped benchmark goes on by the
same command. A row whose recipe has changed since (the configs' optimizer, for `ours`) is run again and replaced. The
tables beside it are made of all rows (`--table` does only that).
"""

import argparse
import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.recipe.recipes import RECIPES, SIZES, batch_sequences_of, model_of, plan_of, settings_of
from benchmarks.recipe.running import Task, run
from benchmarks.recipe.table import Row, render
from minimind.store import describe_machine, git_commit, sha256_of_json
from minimind.training.device import find_device, hardware_name, physical_cores

RESULTS = Path(__file__).parents[2] / "docs" / "benchmarks" / "recipe.json"
KEY = ("corpus", "shards", "preset", "recipe", "seed", "budget", "device", "torch", "window", "holdout_windows",
       "compiling", "threads")  # fmt: skip


def main() -> None:
    given = arguments().parse_args()
    if not given.table:
        for row in missing_rows(given):
            others = [other for other in read(given.results) if key_of(other) != key_of(row)]
            write(given.results, [*others, row])
            write_page(given.results)
            print(f"{row['recipe']} seed {row['seed']}: {row['bits_per_byte']:.4f} bits per byte", flush=True)
    write_page(given.results)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shards", type=Path, default=os.environ.get("MINIMIND_SHARDS"))
    parser.add_argument("--corpus", help="its name in the tables; the folder's, if not given")
    parser.add_argument("--preset", default="tiny", choices=tuple(SIZES))
    parser.add_argument("--recipes", default=",".join(RECIPES), help="names, with commas between (all)")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--tokens", type=count, help="of each run, such as 400k or 200M; padding does not count")
    parser.add_argument("--seconds", type=float, help="of each run instead; by a measured step, compilation left out")
    parser.add_argument("--cpu-seconds", type=float, help="of each run instead; compares better on a busy machine")
    parser.add_argument("--evaluations", type=int, default=10)
    parser.add_argument("--holdout-windows", type=int, default=400)
    parser.add_argument("--window", type=int, default=256, help="predictions of a holdout window (256)")
    parser.add_argument("--micro-batch", type=int, default=64, help="sequences in memory at once, at most (64)")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--compile", action="store_true", help="on a CPU too; on a GPU it is always done")
    parser.add_argument("--compile-cache", type=Path, default=Path(".recipe-compiled"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="only write the tables anew")
    return parser


def count(text: str) -> float:
    scale = {"k": 1e3, "M": 1e6, "B": 1e9}.get(text[-1], 1.0)
    return float(text.rstrip("kMB")) * scale


def missing_rows(given: argparse.Namespace) -> Iterator[Row]:
    """Runs what is not among the results; all recipes of a seed before the next seed."""
    task = make_task(given)
    known = {(key_of(row), row["settings"]) for row in read(given.results)}
    unknown = set(given.recipes.split(",")) - RECIPES.keys()
    if unknown:
        raise SystemExit(f"no recipe is called {', '.join(sorted(unknown))}; there are {', '.join(RECIPES)}")
    for seed in map(int, given.seeds.split(",")):
        for name in given.recipes.split(","):
            row = place(name, seed, given, task)
            if (key_of(row), row["settings"]) not in known:
                yield row | run(RECIPES[name], seed, task) | surroundings()


def make_task(given: argparse.Namespace) -> Task:
    if given.shards is None:
        raise SystemExit("--shards or $MINIMIND_SHARDS must name a folder of shards")
    if sum(budget is not None for budget in (given.tokens, given.seconds, given.cpu_seconds)) != 1:
        raise SystemExit("give one of --tokens, --seconds and --cpu-seconds")
    device = find_device(given.device)
    return Task(
        shards=Path(given.shards),
        preset=given.preset,
        tokens=given.tokens,
        seconds=given.seconds,
        cpu_seconds=given.cpu_seconds,
        evaluations=given.evaluations,
        holdout_windows=given.holdout_windows,
        window=given.window,
        micro_batch=given.micro_batch,
        device=device,
        threads=given.threads,
        compiled=given.compile or device.type == "cuda",
        compile_cache=given.compile_cache.resolve(),
    )


def place(name: str, seed: int, given: argparse.Namespace, task: Task) -> Row:
    """What tells a run from every other."""
    return {
        "corpus": given.corpus or task.shards.resolve().name,
        "shards": sha256_of_folder(task.shards),
        "preset": task.preset,
        "recipe": name,
        "seed": seed,
        "budget": describe_budget(task),
        "device": hardware_name(task.device),
        "torch": torch.__version__,
        "window": task.window,
        "holdout_windows": task.holdout_windows,
        "compiling": task.compiled,
        "threads": task.threads,
        "settings": settings_sha256(name, task),
    }


def describe_budget(task: Task) -> str:
    if task.tokens is not None:
        return f"{task.tokens:.0f} tokens"
    return f"{task.seconds:g} s" if task.seconds is not None else f"{task.cpu_seconds:g} CPU s"


def settings_sha256(name: str, task: Task) -> str:
    """Of all that makes the recipe what it is."""
    recipe = RECIPES[name]
    settings = settings_of(recipe, task.preset).model_dump() | plan_of(recipe) | vars(model_of(recipe, task.preset, 0))
    batch = batch_sequences_of(recipe, task.preset)
    return sha256_of_json([settings, batch, recipe.padded, recipe.plain_loss, recipe.eager, recipe.deterministic])[:16]


def sha256_of_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.arrow")):
        with path.open("rb") as handle:
            digest.update(f"{path.name} {hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def surroundings() -> dict[str, Any]:
    return {
        "machine": describe_machine(),
        "commit": git_commit(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def key_of(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def read(results: Path) -> list[Row]:
    rows: list[Row] = json.loads(results.read_text())["rows"] if results.is_file() else []
    return rows


def write(results: Path, rows: list[Row]) -> None:
    results.parent.mkdir(parents=True, exist_ok=True)
    temporary = results.with_suffix(".tmp")
    lines = ",\n".join(json.dumps(row) for row in sorted(rows, key=lambda row: str(key_of(row))))
    temporary.write_text(f'{{"rows": [\n{lines}\n]}}\n')
    temporary.rename(results)


def write_page(results: Path) -> None:
    results.with_suffix(".md").write_text(render(read(results)))


if __name__ == "__main__":
    main()
