"""What a benchmark of training is asked to do: the arguments that all of them share, and what they mean."""

import argparse
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.recipe import recipes
from benchmarks.recipe.recipes import RECIPES, SIZES
from minimind.training.device import find_device, physical_cores


@dataclass(frozen=True)
class Task:
    corpus: str
    shards: Path
    preset: str
    evaluations: int
    holdout_windows: int
    window: int  # predictions of a holdout window, the same for every recipe
    micro_batch: int  # sequences, at most
    device: torch.device
    threads: int
    compiled: bool  # but for recipes that are eager
    compile_cache: Path
    tokens: float | None = None  # that count, padding does not
    seconds: float | None = None  # of training; evaluations and compilation do not count
    cpu_seconds: float | None = None  # the same, of all threads
    steps: int | None = None  # that the budget is already known to hold

    def within(self, seconds: float) -> "Task":
        return replace(self, seconds=seconds)

    @property
    def budget(self) -> str:
        if self.tokens is not None:
            return f"{self.tokens:.0f} tokens"
        return f"{self.seconds:g} s" if self.seconds is not None else f"{self.cpu_seconds:g} CPU s"


def add_task_arguments(parser: argparse.ArgumentParser, results: Path) -> None:
    parser.add_argument("--preset", default="tiny", choices=tuple(SIZES))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--evaluations", type=int, default=10, help="of a run, the last step included (10)")
    parser.add_argument("--holdout-windows", type=int, default=400)
    parser.add_argument("--window", type=int, default=256, help="predictions of a holdout window (256)")
    add_common_arguments(parser, results)


def add_speed_arguments(parser: argparse.ArgumentParser, results: Path) -> None:
    """Of a benchmark that scores nothing, and takes several presets and devices in turn."""
    parser.add_argument("--presets", default="tiny", help=f"of {', '.join(SIZES)}, with commas between (tiny)")
    parser.add_argument("--devices", default="auto", help="of cpu, cuda, auto (auto)")
    parser.set_defaults(evaluations=1, holdout_windows=1, window=1)
    add_common_arguments(parser, results)


def add_common_arguments(parser: argparse.ArgumentParser, results: Path) -> None:
    parser.add_argument("--shards", type=Path, default=os.environ.get("MINIMIND_SHARDS"))
    parser.add_argument("--corpus", help="its name in the tables; the folder's, if not given")
    parser.add_argument("--micro-batch", type=int, default=64, help="sequences in memory at once, at most (64)")
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--compile", action="store_true", help="on a CPU too; on a GPU it is always done")
    parser.add_argument("--compile-cache", type=Path, default=Path(".recipe-compiled"))
    parser.add_argument("--results", type=Path, default=results)
    parser.add_argument("--table", action="store_true", help="only write the tables anew")


def each_task(given: argparse.Namespace) -> Iterator[Task]:
    """For every device and preset that add_speed_arguments was given."""
    if unknown := set(given.presets.split(",")) - SIZES.keys():
        raise SystemExit(f"no preset is called {', '.join(sorted(unknown))}; there are {', '.join(SIZES)}")
    for device in given.devices.split(","):
        for preset in given.presets.split(","):
            yield make_task(argparse.Namespace(**vars(given) | {"device": device, "preset": preset}))


def make_task(given: argparse.Namespace, **budget: float | None) -> Task:
    if given.shards is None:
        raise SystemExit("--shards or $MINIMIND_SHARDS must name a folder of shards")
    longest = min(recipes.REFERENCE_LENGTH, recipes.SEQUENCE_LENGTHS[given.preset])
    if given.window > longest:
        raise SystemExit(f"--window {given.window} is longer than the {longest} tokens that each recipe is trained on")
    device = find_device(given.device)
    return Task(
        corpus=given.corpus or given.shards.resolve().name,
        shards=Path(given.shards),
        preset=given.preset,
        evaluations=given.evaluations,
        holdout_windows=given.holdout_windows,
        window=given.window,
        micro_batch=given.micro_batch,
        device=device,
        threads=given.threads,
        compiled=given.compile or device.type == "cuda",
        compile_cache=given.compile_cache.resolve(),
        **budget,
    )


def count(text: str) -> float:
    scale = {"k": 1e3, "M": 1e6, "B": 1e9}.get(text[-1], 1.0)
    return float(text.rstrip("kMB")) * scale


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def named_recipes(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - RECIPES.keys():
        raise SystemExit(f"no recipe is called {', '.join(sorted(unknown))}; there are {', '.join(RECIPES)}")
    return names


def sha256_of_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.arrow")):
        with path.open("rb") as handle:
            digest.update(f"{path.name} {hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:16]
