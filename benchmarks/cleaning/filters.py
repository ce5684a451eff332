"""Quality filters: speed and decisions against datatrove's, on the same documents in one run.

    python -m benchmarks.cleaning.filters --corpora FOLDER --peers-python peers/bin/python

Takes 10,000 documents of legal-en and medical-en, the smallest by the md5 of their ids, normalises them as the cleaning
does, and gives them to both. FOLDER may also come from MINIMIND_CORPORA. Writes filters.json and filters.md.
"""

import argparse
import gzip
import hashlib
import json
import os
import platform
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.cleaning.our_filters import FILTERS
from benchmarks.cleaning.tools import PEERS, packages, version
from benchmarks.measured import Measured, describe_load, measure
from minimind.cleaning.database import connect, make_table, numbered_files
from minimind.cleaning.normalize import add_normalizing_functions
from minimind.cleaning.parameters import sql_parameters
from minimind.config import load_config

CONFIG = Path(__file__).parents[2] / "configs" / "legal-en.yaml"  # how texts are normalised
CORPORA = ("legal-en", "medical-en")
TITLES = {
    "fineweb": "FineWeb quality",
    "gopher_quality": "Gopher quality",
    "gopher_repetition": "Gopher repetition",
    "c4": "C4 quality",
}
GOALS = {"fineweb": 0.999, "gopher_quality": 0.97}
TOKENS = "a word or mark is cut otherwise than by spaCy"
CAUSES = {
    # the rule that one of the two says is broken -> why the other sees it otherwise
    "line_punct_ratio": "a terminal mark that only one of the two knows",
    "min_punctuated_line_ratio": "a terminal mark that only one of the two knows",
    "list_ratio": TOKENS,
    "max_newline_word_ratio": TOKENS,
    "gopher_short_doc": TOKENS,
    "min_words": TOKENS,
    "gopher_long_doc": TOKENS,
    "max_words": TOKENS,
    "gopher_below_avg_threshold": TOKENS,
    "min_mean_word_length": TOKENS,
    "gopher_above_avg_threshold": TOKENS,
    "max_mean_word_length": TOKENS,
    "gopher_below_alpha_threshold": TOKENS,
    "min_alpha_word_ratio": TOKENS,
    "gopher_too_many_ellipsis": "a row of dots is one ellipsis, not one for every three dots",
    "gopher_too_many_end_ellipsis": "blank lines are no lines",
    "gopher_too_many_bullets": "blank lines are no lines, and a hyphen is a bullet only before a blank",
    "max_bullet_line_ratio": "more signs than • and - are bullets",
    "gopher_enough_stop_words": "stop words count in any case",
    "min_stop_words": "a stop word between hyphens is none",
    "curly_bracket": "datatrove looks for { only in lines that it has not cut out",
    "max_curly_brackets": "datatrove looks for { only in lines that it has not cut out",
    "too_few_sentences": "sentences are counted by marks before blanks, not by spaCy",
    "min_sentences": "sentences are counted by marks before blanks, not by spaCy",
}
RUNS = "runs of words between blanks, each repeated character once; datatrove: of spaCy's tokens, by whole runs"
ONCE = "a run that occurs once repeats nothing"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, default=os.environ.get("MINIMIND_CORPORA"))
    parser.add_argument("--peers-python", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("docs/benchmarks/filters.json"))
    given = parser.parse_args()
    if given.corpora is None:
        parser.error("name the folder of the corpora with --corpora or MINIMIND_CORPORA")
    result = run(given.corpora, given.documents, given.cores, given.peers_python)
    given.results.parent.mkdir(parents=True, exist_ok=True)
    given.results.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    page = render(result)
    given.results.with_suffix(".md").write_text(page)
    print(page)


def run(corpora: Path, documents: int, cores: int, peers_python: Path) -> dict[str, Any]:
    versions = {tool: version(tool, packages(tool, peers_python)) for tool in ("ours", "datatrove")}
    load = describe_load()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        megabytes = write_sample(corpora, documents, cores, folder / "input")
        two = measure(our_command(folder, "two", cores, list(GOALS)), folder / "two.log", cores)
        ours = measure(our_command(folder, "ours", cores, list(FILTERS)), folder / "ours.log", cores)
        peer = measure(
            [str(peers_python), str(PEERS / "datatrove_filters.py"), str(folder / "input"), str(folder / "datatrove"),
             str(cores)], folder / "datatrove.log", cores,
        )  # fmt: skip
        mine = {row.pop("id"): row for row in pq.read_table(folder / "ours" / "decisions.parquet").to_pylist()}
        theirs, seconds = read_peer(folder / "datatrove")
    if mine.keys() != theirs.keys():
        raise SystemExit(f"ours decided on {len(mine):,} documents, datatrove on {len(theirs):,}")
    return {
        "documents": len(mine),
        "megabytes": megabytes,
        "made_of": list(CORPORA),
        "cores": cores,
        "versions": versions,
        "machine": {"processor": platform.processor() or platform.machine(), "python": platform.python_version()},
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": load,
        "two": two.as_dict(),
        "ours": ours.as_dict(),
        "datatrove": peer.as_dict() | {"cpu_seconds_of": seconds},
        "speed": speed(two, ours, peer, seconds),
        "agreement": {name: agreement(name, mine, theirs) for name in FILTERS},
    }


def our_command(folder: Path, name: str, cores: int, filters: list[str]) -> list[str]:
    module = "benchmarks.cleaning.our_filters"
    return [sys.executable, "-m", module, str(folder / "input"), str(folder / name), str(cores), ",".join(filters)]


def speed(two: Measured, ours: Measured, peer: Measured, seconds: dict[str, float]) -> dict[str, float]:
    """All four filters, and by CPU seconds the two that goals are set for."""
    theirs = seconds["fineweb"] + seconds["gopher_quality"]
    return {
        "all_four": round(peer.seconds / ours.seconds, 1),
        "all_four_by_cpu": round(peer.cpu_seconds / ours.cpu_seconds, 1),
        "fineweb_and_gopher_quality_by_cpu": round(theirs / two.cpu_seconds, 1),
    }


def agreement(name: str, mine: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """How many documents both keep or both remove, and the cause of every other one."""
    other = [key for key in mine if bool(mine[key][name]) != bool(theirs[key][name])]
    causes = Counter(cause_of(mine[key][name] or theirs[key][name]) for key in other)
    return {
        "kept_by_ours": sum(not row[name] for row in mine.values()),
        "kept_by_datatrove": sum(not row[name] for row in theirs.values()),
        "equal": round(1 - len(other) / len(mine), 5),
        "causes": dict(causes.most_common()),
        "reasons": {reason: count for reason, count in Counter(row[name] for row in mine.values()).items() if reason},
    }


def cause_of(rule: str) -> str:
    """In words; `unexplained` for a rule of which nobody knows why the two see it otherwise."""
    if rule.startswith("top_"):
        return f"{RUNS}; {ONCE}"
    if rule.startswith(("max_top_", "duplicated_", "max_duplicate_")):
        return RUNS
    return CAUSES.get(rule, f"unexplained: {rule}")


# --- the documents ----------------------------------------------------------------------------------------------------


def write_sample(corpora: Path, documents: int, cores: int, folder: Path) -> float:
    """Parquet files of (id, text), as many as cores; returns the megabytes of text."""
    found = []
    for path in sorted(path for corpus in CORPORA for path in (corpora / corpus).glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            found += [(row["id"], row["text"]) for row in map(json.loads, lines)]
    chosen = sorted(found, key=lambda row: hashlib.md5(row[0].encode()).digest())[:documents]
    folder.mkdir()
    with connect(folder, cores) as connection:
        raw = pa.table(
            {"place": range(len(chosen)), "text_key": [i for i, _ in chosen], "text": [t for _, t in chosen]}
        )
        connection.register("raw_texts", raw)
        add_normalizing_functions(connection)
        parameters = sql_parameters(load_config(CONFIG).cleaning)
        make_table(connection, "texts", dict(numbered_files("part"))["texts"], parameters)
        clean = connection.execute(
            "select text_key as id, text from texts where text <> '' order by id"
        ).to_arrow_table()
    for number in range(cores):
        part = clean.take(list(range(number, len(clean), cores)))
        pq.write_table(part, folder / f"part-{number}.parquet", row_group_size=128)
    return round(sum(len(text.encode()) for text in clean["text"].to_pylist()) / 1e6, 1)


def read_peer(folder: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Decisions by id, CPU seconds by filter."""
    decisions: dict[str, Any] = {}
    seconds: Counter[str] = Counter()
    for path in sorted(folder.glob("decisions-*.jsonl")):
        for row in map(json.loads, path.read_text().splitlines()):
            if "id" in row:
                decisions[row.pop("id")] = row
            else:
                seconds.update(row["cpu_seconds"])
    return decisions, {name: round(value, 1) for name, value in seconds.items()}


# --- the page ---------------------------------------------------------------------------------------------------------


def render(result: dict[str, Any]) -> str:
    ours, peer, ratio = result["ours"], result["datatrove"], result["speed"]
    lines = [
        "# Quality filters",
        "",
        "Made by `python -m benchmarks.cleaning.filters` from `filters.json`. "
        f"{result['documents']:,} documents ({result['megabytes']} MB) of {' and '.join(result['made_of'])}, "
        f"normalised; each tool a fresh process on {result['cores']} cores.",
        "",
        "| | seconds | CPU seconds | peak MB | other load |",
        "|---|---:|---:|---:|---:|",
    ]
    both = (("this project, FineWeb and Gopher quality", result["two"]), ("this project, all four", ours))
    for title, row in (*both, (f"datatrove {result['versions']['datatrove']}", peer)):
        lines.append(
            f"| {title} | {row['seconds']:.1f} | {row['cpu_seconds']:.1f} | {row['peak_pss_mb']:.0f} "
            f"| {row['other_cores']:.1f} cores |"
        )
    of_filter = ", ".join(f"{TITLES[name]} {value:.0f}" for name, value in peer["cpu_seconds_of"].items())
    lines += [
        "",
        f"Ours is {ratio['all_four']} times as fast as datatrove's four filters ({ratio['all_four_by_cpu']} by CPU "
        f"seconds, start of the processes included), and for FineWeb and Gopher quality alone "
        f"{ratio['fineweb_and_gopher_quality_by_cpu']} times as fast by CPU seconds, its start not counted. "
        f"datatrove's CPU seconds by filter, the words of a text counted where they are first asked for: {of_filter}.",
        "",
        "| filter | kept by ours | kept by datatrove | decided alike | goal |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, row in result["agreement"].items():
        goal = f"{GOALS[name]:.1%}" if name in GOALS else "–"
        lines.append(
            f"| {TITLES[name]} | {row['kept_by_ours']:,} | {row['kept_by_datatrove']:,} | {row['equal']:.2%} | {goal} |"
        )
    lines += ["", "| filter | why the others are decided otherwise | documents |", "|---|---|---:|"]
    for name, row in result["agreement"].items():
        lines += [f"| {TITLES[name]} | {cause} | {count} |" for cause, count in row["causes"].items()]
    machine = result["machine"]
    lines += [
        "",
        f"Measured on {machine['processor']}, Python {machine['python']}, commit {result['versions']['ours'][:10]}, "
        f"{result['at'][:10]}, load {result['load']['load_1']} at the start.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
