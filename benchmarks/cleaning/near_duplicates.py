"""Near-duplicate removal measured against datatrove and text-dedup, on one input, each from process start to files.

    python -m benchmarks.peers peers
    python -m benchmarks.cleaning.near_duplicates --input legal-de/*.gz legal-en/*.gz --megabytes 100 \
        --peers-python peers/bin/python

makes the input from the given corpora (`enlarged.py`), runs each tool as a fresh process on it, compares what they
found with the truth (`oracle/`), and merges the rows into docs/benchmarks/near-duplicates.json, from which
docs/benchmarks/near-duplicates.md is written (`--table` does only that). A peer's row is kept for the same input and
version, so that a second call measures ours alone; `--again` measures all.

`--vary threads=1,2,4` runs ours once for each value of one of its resources and compares the published bytes;
`--increment 0.01` cleans the input without so many documents, then all of it, once on top and once from scratch; with
`--every-step` by all that `configs/legal-de.yaml` asks for, not by near-duplicate removal alone.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.cleaning import enlarged, tools
from benchmarks.cleaning.oracle import true_pairs
from benchmarks.cleaning.results import key_of, render
from benchmarks.cleaning.stability import measure_increment, measure_variations
from benchmarks.measured import CommandError, Measured, describe_load, measure
from benchmarks.rows import merge, read_rows, write_page
from minimind.machine import describe_machine, git_commit

RESULTS = Path(__file__).parents[2] / "docs" / "benchmarks" / "near-duplicates.json"
TRUTH_MEGABYTES = 200


def main() -> None:
    given = arguments().parse_args()
    if not given.table:
        run(given)
    print(write_page(given.results, render))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, nargs="+", help="JSON lines with id and text, .gz or not")
    parser.add_argument("--megabytes", type=float, default=100, help="of text that the input is made of (100)")
    parser.add_argument("--edited-share", type=float, default=0.25, help="seeded edits among the originals (0.25)")
    parser.add_argument("--seed", type=int, default=enlarged.SEED)
    parser.add_argument("--tools", default=",".join(tools.NAMES), help="which ones (ours,datatrove,text_dedup)")
    parser.add_argument("--peers-python", type=Path, help="python of the environment that the peers are installed in")
    parser.add_argument("--cores", type=int, default=2, help="that each tool may use (2)")
    parser.add_argument("--our-resources", type=json.loads, default={}, help="such as '{\"memory_bytes\": 3000000000}'")
    parser.add_argument("--runs", type=int, default=1, help="of a peer; the median counts (1)")
    parser.add_argument("--our-runs", type=int, default=3, help="of ours; the median counts (3)")
    parser.add_argument("--again", action="store_true", help="measure peers whose row is known, too")
    parser.add_argument("--truth", choices=("auto", "yes", "no"), default="auto", help="auto: up to 200 MB")
    parser.add_argument("--vary", action="append", default=[], metavar="RESOURCE=VALUES", help="such as threads=1,2,4")
    parser.add_argument("--increment", type=float, help="share of documents that are added, such as 0.01")
    parser.add_argument("--every-step", action="store_true", help="of the config, for --increment")
    parser.add_argument("--working", type=Path, help="kept between calls: inputs and truths; default: a new one")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON that rows are merged into")
    parser.add_argument("--table", action="store_true", help="only write the Markdown table from the JSON")
    return parser


def run(given: argparse.Namespace) -> None:
    if not given.input:
        raise SystemExit("--input is missing; name the corpora that the input is to be made of (JSON lines)")
    chosen = [tool for tool in given.tools.split(",") if tool]
    if unknown := set(chosen) - set(tools.NAMES):
        raise SystemExit(f"--tools names {', '.join(sorted(unknown))}; there are {', '.join(tools.NAMES)}")
    if not given.peers_python and set(chosen) - {"ours"}:
        raise SystemExit("--peers-python is missing; name the python that the peers are installed for, or --tools ours")
    with working_folder(given.working) as working:
        source, described = make_input(given, working)
        failed = []
        for tool in chosen:
            try:
                compare(tool, given, working, source, described)
            except CommandError as error:
                failed.append(tool)
                say(str(error))
        for variation in given.vary:
            row = measure_variations(variation, source, working, given.cores)
            record(given, described, {"tool": "ours", "part": f"identical for {variation}"} | row)
        if given.increment:
            options = ["--every-step"] if given.every_step else []
            row = measure_increment(source, given.increment, given.seed, working, given.cores, *options)
            part = f"increment {given.increment:g}" + ", every step" * given.every_step
            record(given, described, {"tool": "ours", "part": part} | row)
    if failed:
        print(write_page(given.results, render))
        raise SystemExit(f"{', '.join(failed)} failed, see above; the other rows are in {given.results}")


@contextmanager
def working_folder(named: Path | None) -> Iterator[Path]:
    if named:
        named.mkdir(parents=True, exist_ok=True)
        yield named
    else:
        with tempfile.TemporaryDirectory(prefix="near-duplicates-") as made:
            yield Path(made)


def make_input(given: argparse.Namespace, working: Path) -> tuple[Path, dict[str, Any]]:
    """The folder with the input, and what the results say about it."""
    named = f"input-{given.megabytes:g}-{given.edited_share:g}-{given.seed}-{'-'.join(names_of(given.input))}"
    source = working / named.replace(".", "_")
    counted = source.with_suffix(".json")  # beside the folder: a tool may read whatever is in it
    if not counted.is_file():
        say(f"making {given.megabytes:g} MB of text")
        counts = enlarged.enlarge(
            given.input, int(given.megabytes * 1e6), source, given.seed, given.edited_share
        ) | {"sha256": enlarged.sha256_of(source)}  # fmt: skip
        counted.write_text(json.dumps(counts))
    counts = json.loads(counted.read_text())
    described = {"made_of": names_of(given.input), "seed": given.seed, "edited_share": given.edited_share}
    say(f"{source.name}: {sum(v for k, v in counts.items() if k not in ('bytes', 'sha256')):,} documents")
    return source, described | {"megabytes": round(counts["bytes"] / 1e6, 1)} | counts


def names_of(inputs: Sequence[Path]) -> list[str]:
    """The corpora, without the folders of this machine around them."""
    return list(dict.fromkeys(path.resolve().parent.name for path in inputs))


# --- one tool ---------------------------------------------------------------------------------------------------------


def compare(tool: str, given: argparse.Namespace, working: Path, source: Path, described: dict[str, Any]) -> None:
    """Measures a tool and records its row, unless there is one."""
    versions = tools.packages(tool, given.peers_python)
    row = {"tool": tool, "part": "speed", "version": tools.version(tool, versions), "packages": versions}
    row |= {"settings": tools.SETTINGS[tool]}
    name = f"{tool} {row['version'][:10]}"
    if tool != "ours" and not given.again and is_known(given, described, row):
        say(f"{name}: known for this input, not measured again (--again does)")
        return
    runs: list[Measured] = []
    row["load_before"] = describe_load()
    target = working / tool
    for number in range(given.our_runs if tool == "ours" else given.runs):
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        say(f"{name}, run {number + 1}")
        runs.append(measure(command(tool, given, source, target), target / "log.txt", given.cores, offline(target)))
        say(f"{name}: {runs[-1].seconds:.1f} s, {runs[-1].cpu_seconds:.1f} s CPU, {runs[-1].peak_pss_mb:,.0f} MB")
    row |= medians(runs) | {"runs": [one.as_dict() for one in runs], "load_after": describe_load()}
    if tool == "ours":
        said = json.loads((target / "steps.json").read_text())
        row |= {key: said[key] for key in ("corpus_seconds", "cleaning_seconds", "cleaning_cpu_seconds", "steps")}
        row |= {"resources": given.our_resources}
    if given.truth == "yes" or (given.truth == "auto" and given.megabytes <= TRUTH_MEGABYTES):
        row |= scored(tool, working, source, target)
    shutil.rmtree(target)
    record(given, described, row)


def command(tool: str, given: argparse.Namespace, source: Path, target: Path) -> list[str]:
    if tool == "ours":
        return tools.our_command(source, target, {"threads": given.cores} | given.our_resources)
    return tools.peer_command(tool, source, target, given.cores, given.peers_python)


def offline(target: Path) -> dict[str, str]:
    """Keeps what libraries cache from one run out of the next."""
    return {"HF_HOME": str(target / "hub"), "HF_HUB_OFFLINE": "1"}


def medians(runs: Sequence[Measured]) -> dict[str, float]:
    taken = [one.as_dict() for one in runs]
    return {name: round(statistics.median(one[name] for one in taken), 3) for name in taken[0]}


def scored(tool: str, working: Path, source: Path, target: Path) -> dict[str, Any]:
    started = time.perf_counter()
    pairs = true_pairs(sorted(source.glob("part-*.jsonl")), working / f"truth-{source.name}")
    truth = list(zip(*(pairs[name].to_pylist() for name in ("a", "b", "jaccard")), strict=True))
    say(f"{len(truth):,} true pairs with J >= 0.7, in {time.perf_counter() - started:.1f} s")
    found = tools.found_by(tool, source, target)
    return {"scores": tools.scores(found, truth, tools.THRESHOLDS[tool])}


# --- rows -------------------------------------------------------------------------------------------------------------


def record(given: argparse.Namespace, described: dict[str, Any], row: dict[str, Any]) -> None:
    known = {
        "input": described,
        "cores": given.cores,
        "commit": git_commit(),
        "machine": describe_machine(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    merge(given.results, row | known, key_of)


def is_known(given: argparse.Namespace, described: dict[str, Any], row: dict[str, Any]) -> bool:
    asked = key_of(row | {"input": described, "cores": given.cores})
    return any(key_of(known) == asked for known in read_rows(given.results))


def say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


if __name__ == "__main__":
    main()
