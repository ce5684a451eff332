"""A ladder of models on one corpus: bits per byte by parameters and tokens, and the scaling law that fits them.

    python -m benchmarks.ladder --shards FOLDER --corpus legal-en
    python -m benchmarks.ladder --shards FOLDER --corpus tech-en --rungs micro:400k,tiny:400k --check
    python -m benchmarks.ladder --shards FOLDER --config configs/legal-en.yaml --rungs 26m:100M,26m:400M,64m:400M

FOLDER holds shards, of a store or made by `python -m benchmarks.recipe.prepare`. A rung is a size and a budget of
tokens, trained by the config's recipe (`--config`, configs/demo.yaml) from the first step to the end of its decay.
Each becomes a row of docs/benchmarks/ladder.json as it ends, and a row that is there is not run again, unless the
config's optimizer has changed since: a stopped ladder goes on by the same command. The page beside it has the rows,
the law fitted to them and what it misses. Rows of a `--check` are not fitted: they say how far the law holds on other
text. `--table` writes the page anew, and no more.
Needs torch, numpy, pyarrow, pydantic, PyYAML and safetensors.
"""

import argparse
from operator import itemgetter
from pathlib import Path

from benchmarks.ladder.page import render
from benchmarks.ladder.rungs import SIZES, run_rung
from benchmarks.recipe.task import count, sha256_of_folder
from benchmarks.rows import Row, merge, read_rows, surroundings, write_page
from minimind.config import TrainingConfig, load_config
from minimind.digests import sha256_of_json
from minimind.training.device import find_device, hardware_name

PROJECT = Path(__file__).parents[2]
RESULTS = PROJECT / "docs" / "benchmarks" / "ladder.json"
RUNGS = (
    "micro:400k,micro:800k,micro:1600k,micro:2400k,small:400k,small:800k,small:1600k,"
    "tiny:400k,tiny:800k,double:400k,double:800k"
)
key_of = itemgetter("corpus", "shards", "size", "asked_tokens", "seed", "device", "check")


def main() -> None:
    given = arguments().parse_args()
    if not given.table:
        run_missing(given)
    write_page(given.results, render)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ladder", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=Path)
    parser.add_argument("--corpus", help="its name in the page; the folder's, if not given")
    parser.add_argument("--rungs", default=RUNGS, help=f"SIZE:TOKENS, commas between; sizes: {', '.join(SIZES)}")
    parser.add_argument("--config", type=Path, default=PROJECT / "configs" / "demo.yaml")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--holdout-windows", type=int, default=200)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="not for the fit: how far the law holds elsewhere")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="only write the page anew")
    return parser


def run_missing(given: argparse.Namespace) -> None:
    if given.shards is None:
        raise SystemExit("--shards must name a folder of shards")
    section = load_config(given.config).training
    device = find_device(given.device)
    known = {key_of(row): row.get("optimizer") for row in read_rows(given.results)}
    for seed in map(int, given.seeds.split(",")):
        for size, tokens in map(parse_rung, given.rungs.split(",")):
            place: Row = {
                "corpus": given.corpus or given.shards.resolve().name,
                "shards": sha256_of_folder(given.shards),
                "size": size,
                "asked_tokens": tokens,
                "seed": seed,
                "device": hardware_name(device),
                "check": given.check,
                "optimizer": sha256_of_json(section.optimizer.model_dump())[:16],
            }
            if known.get(key_of(place)) == place["optimizer"]:
                continue
            found = run_rung(rung_section(section, size, tokens, seed, given), given.shards, given.holdout_windows)
            row = place | found | surroundings()
            merge(given.results, row, key_of)
            print(f"{size}, {tokens:,.0f} tokens, seed {seed}: {row['bits_per_byte']:.4f} bits per byte", flush=True)


def parse_rung(text: str) -> tuple[str, float]:
    size, colon, tokens = text.partition(":")
    if not colon or size not in SIZES:
        raise SystemExit(f"{text!r} is no rung; write SIZE:TOKENS with one of {', '.join(SIZES)}")
    return size, count(tokens)


def rung_section(
    section: TrainingConfig, size: str, tokens: float, seed: int, given: argparse.Namespace
) -> TrainingConfig:
    changes = {
        "preset": None,
        "sizes": SIZES[size].model_dump(),
        "budget": f"{tokens:.0f} tokens",
        "seed": seed,
        "device": given.device,
        "threads": given.threads,
    }
    return TrainingConfig.model_validate(section.model_dump() | changes)


if __name__ == "__main__":
    main()
