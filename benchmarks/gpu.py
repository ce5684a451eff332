"""All that wants a GPU, in the minutes there are: the tests marked `gpu`, then the benchmarks, in order of importance.

    python -m benchmarks.gpu --shards FOLDER --corpus legal-en --results FOLDER --minutes 9
    python -m benchmarks.gpu --shards FOLDER --corpus legal-en --results FOLDER --minutes 9 --parts time_to_loss

Each part is a command with a limit of its own. One that fails or passes its limit is ended, and the next begins; rows
that were measured by then are kept. The results folder gets `<part>.json`, `<part>.md` and `<part>.log`, and
`parts.json`, which says how each part ended. The last part, the time to loss, gets all seconds that are left and is
sized to fit into them.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.rows import Row, surroundings

LIMITS = {  # shares of all minutes
    "tests": 0.18,
    "throughput": 0.42,
    "loader": 0.08,
    "resume": 0.12,
    "time_to_loss": 1.0,
}
SHARES = (0.15, 0.33, 0.6)  # of a baseline's seconds: the runs of ours that time_to_loss makes
RUN_SECONDS = 12.0  # that a run takes beside its steps: 3 on an H200, and 10 more where it has to be compiled
LEAST_SECONDS = 10.0  # of a baseline; with less there is nothing to see


def main() -> None:
    given = arguments().parse_args()
    if unknown := set(given.parts.split(",")) - LIMITS.keys():
        raise SystemExit(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(LIMITS)}")
    given.results.mkdir(parents=True, exist_ok=True)
    ends, found = time.monotonic() + 60 * given.minutes, []
    for name in given.parts.split(","):
        left = ends - time.monotonic()
        found.append(run_part(name, given, min(left, 60 * given.minutes * LIMITS[name])))
        print(f"{name}: {found[-1]['ended']} after {found[-1]['seconds']:.0f} s", flush=True)
        (given.results / "parts.json").write_text(json.dumps({"parts": found} | surroundings(), indent=1) + "\n")
    sys.exit(any(part["ended"] != "done" for part in found))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--corpus", required=True, help="its name in the tables, such as legal-en")
    parser.add_argument("--results", type=Path, required=True, help="a folder")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all parts together (9)")
    parser.add_argument("--parts", default=",".join(LIMITS), help=f"with commas between ({','.join(LIMITS)})")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument(
        "--presets", default="26m,64m", help="of throughput and loader; the others take the first (26m,64m)"
    )
    parser.add_argument("--micro-batch", default="128", help="sequences in memory at once, at most (128)")
    parser.add_argument("--seeds", default="1", help="of time_to_loss (1)")
    return parser


def run_part(name: str, given: argparse.Namespace, limit_seconds: float) -> Row:
    """How it ended: `done`, `failed`, `at its limit` or `not begun`."""
    command, started = command_of(name, given, limit_seconds), time.monotonic()
    ended = run_within(limit_seconds, command, given.results / f"{name}.log") if command else "not begun"
    seconds = round(time.monotonic() - started, 1)
    return {
        "part": name,
        "command": command,
        "limit_seconds": round(limit_seconds, 1),
        "seconds": seconds,
        "ended": ended,
    }


def run_within(seconds: float, command: Sequence[str], log: Path) -> str:
    """Ends the command with all that it started, once the seconds are over."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            return "failed" if process.wait(max(0.0, seconds)) else "done"
        except subprocess.TimeoutExpired:
            return "at its limit"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what a part leaves would take the GPU from the next
            process.wait()


def command_of(name: str, given: argparse.Namespace, seconds: float) -> list[str]:
    """Empty where the seconds are too few."""
    if name == "tests":
        settings = ["--continue-on-collection-errors", "--numprocesses", "8", "--dist", "load"]
        return [sys.executable, "-m", "pytest", "-v", "-m", "gpu", *settings, "tests/training"]
    baseline = baseline_seconds(seconds, len(given.seeds.split(",")))
    if seconds <= 0 or (name == "time_to_loss" and baseline < LEAST_SECONDS):
        return []
    shared = ["--shards", str(given.shards), "--corpus", given.corpus, "--micro-batch", given.micro_batch]
    several = ["--devices", given.device, "--presets", given.presets]
    one = ["--device", given.device, "--preset", given.presets.split(",")[0]]
    own = {
        "throughput": [*several, "--rounds", "3", "--steps", "5"],
        "loader": [*several, "--rounds", "3", "--steps", "10"],
        "resume": [*one, "--steps", "300", "--kills", "1", "--checkpoint-seconds", "5"],
        "time_to_loss": [
            *one, "--seconds", f"{baseline:.0f}", "--shares", ",".join(map(str, SHARES)), "--seeds", given.seeds
        ],
    }  # fmt: skip
    results = ["--results", str(given.results / f"{name}.json")]
    return [sys.executable, "-m", f"benchmarks.{name}", *shared, *results, *own[name]]


def baseline_seconds(seconds: float, seeds: int) -> float:
    """That two baselines may train for each, so that all runs of all seeds fit."""
    return (seconds / seeds - (2 + len(SHARES)) * RUN_SECONDS) / (2 + sum(SHARES))


if __name__ == "__main__":
    main()
