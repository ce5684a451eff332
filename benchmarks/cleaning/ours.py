"""This project's corpus and cleaning stages on a folder of JSON lines, as a process of its own.

    python -m benchmarks.cleaning.ours INPUT_FOLDER STORE [--resources '{"threads": 2}'] [--steps FILE]

The two stages run through their doors, as the flow calls them: reading and checking the JSON lines, raw documents in
Parquet, normalisation, exact and near duplicates, split, published files with their digests. The config is that of
`configs/legal-de.yaml` with every switch of cleaning off and with LEAST, which permits all that can be permitted; what
cannot be switched off is done and counted. `--every-step` takes the config as it is, and only permits.
"""

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

from minimind.cleaning.build import CleaningInputs
from minimind.cleaning.build import build as build_cleaning
from minimind.cleaning.parts import Resources
from minimind.cleaning.text_functions import load_text_functions
from minimind.config import Config, load_config, read_yaml
from minimind.corpus.build import CorpusInputs
from minimind.corpus.build import build as build_corpus
from minimind.store import Store

BASE = Path(__file__).parents[2] / "configs" / "legal-de.yaml"
SOURCE = "local"  # the name that load_config gives to local files, and the prefix of every document_id
PERMITTED = (
    "cleaning.max_removed_share=1",
    "cleaning.split.min_documents=1",
    "cleaning.split.min_bytes=1",
)
LEAST = (
    "cleaning.repeated_lines.action=ignore",
    "cleaning.quality=none",
    "cleaning.language.expected=[]",
    "cleaning.decontamination.max_overlap=1",
    *(f"cleaning.personal_data.{kind}=keep" for kind in ("email", "phone", "iban", "card", "ip", "ssn")),
    *PERMITTED,
)
# steps that near-duplicates need nothing of, and that LEAST does not switch off
OTHER_STEPS = (
    "line signals",
    "word signals",
    "run signals",
    "quality signals",
    "quality failures",
    "languages",
    "personal data",
    "gram samples",
    "reference grams",
    "contaminated",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--resources", type=json.loads, default={}, help="fields of cleaning's Resources, as JSON")
    parser.add_argument("--every-step", action="store_true", help="that the config asks for")
    parser.add_argument("--steps", type=Path, help="where to write the seconds of each step and the digests")
    given = parser.parse_args()
    config = (whole_config if given.every_step else least_config)(given.input)
    result = run(config, given.store, Resources(**given.resources))
    if given.steps:
        given.steps.write_text(json.dumps(result, indent=1))


def run(config: Config, root: Path, resources: Resources) -> dict[str, Any]:
    """Seconds of the stages and their steps, where the files lie, and their digests."""
    clock = Clock()
    store = Store(root, config.name, clock.report)
    corpus = build_corpus(config.corpus, CorpusInputs(beside=load_text_functions), store)
    read = time.perf_counter(), time.process_time()
    cleaning = build_cleaning(config.cleaning, CleaningInputs(corpus, resources), store)
    return {
        "corpus_seconds": read[0] - clock.started,
        "cleaning_seconds": time.perf_counter() - read[0],
        "cleaning_cpu_seconds": time.process_time() - read[1],
        "steps": clock.steps(),
        "counts": dict(cleaning.counts),
        "files": str(cleaning.path),
        "digests": {name: entry.sha256 for name, entry in cleaning.files.items()},
    }


def least_config(folder: Path) -> Config:
    switches = [
        f"cleaning.{section}.{key}=false"
        for section, keys in read_yaml(BASE)["cleaning"].items()
        if isinstance(keys, dict)
        for key, value in keys.items()
        if value is True
    ]
    return load_config(BASE, [*switches, *LEAST], inputs_of(folder))


def whole_config(folder: Path) -> Config:
    return load_config(BASE, PERMITTED, inputs_of(folder))


def inputs_of(folder: Path) -> list[str]:
    return [f"{folder.resolve()}/part-*.jsonl"]


class Clock:
    """The seconds between what a store reports, and the CPU seconds of all threads, by the words of the report."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.since = self.started, 0.0  # what importing took counts as the start
        self.current = "start"
        self.spent: dict[str, tuple[float, float]] = {}

    def report(self, stage: str, done: float, total: float | None, text: str) -> None:
        self.turn(f"{stage}: {re.sub('[0-9][0-9,]*', 'n', text)}")  # rounds, partitions and counts together

    def turn(self, name: str) -> None:
        moment = time.perf_counter(), time.process_time()
        seconds, cpu_seconds = self.spent.get(self.current, (0.0, 0.0))
        self.spent[self.current] = seconds + moment[0] - self.since[0], cpu_seconds + moment[1] - self.since[1]
        self.since, self.current = moment, name

    def steps(self) -> dict[str, dict[str, float]]:
        """Those of at least 10 ms."""
        self.turn("end")
        return {
            name: {"seconds": round(seconds, 3), "cpu_seconds": round(cpu_seconds, 3)}
            for name, (seconds, cpu_seconds) in self.spent.items()
            if seconds >= 0.01
        }


if __name__ == "__main__":
    main()
