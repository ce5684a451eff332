"""What each data stage costs: seconds, CPU seconds, memory and disk of its first build from a corpus on disk.

    python -m benchmarks.stages.cost CONFIG 'GLOB' STORE STAGE

is the measured process: it builds the stages up to STAGE, of which all but the last lie in the store already.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.measured import measure
from minimind.cleaning.build import CleaningInputs
from minimind.cleaning.build import build as build_cleaning
from minimind.cleaning.text_functions import load_text_functions
from minimind.config import Config, load_config
from minimind.corpus.build import CorpusInputs
from minimind.corpus.build import build as build_corpus
from minimind.parts import cores
from minimind.pruning import size_of
from minimind.shards.build import ShardsInputs
from minimind.shards.build import build as build_shards
from minimind.store import Manifest, Store
from minimind.tokenizer.build import TokenizerInputs
from minimind.tokenizer.build import build as build_tokenizer

Row = dict[str, Any]
Built = dict[str, Manifest]
DOORS: dict[str, Callable[[Config, Built, Store], Manifest]] = {
    "corpus": lambda config, built, store: build_corpus(config.corpus, CorpusInputs(), store),
    "cleaning": lambda config, built, store: build_cleaning(
        config.cleaning, CleaningInputs(built["corpus"]), store
    ),
    "tokenizer": lambda config, built, store: build_tokenizer(
        config.tokenizer, TokenizerInputs(built["cleaning"]), store
    ),
    "shards": lambda config, built, store: build_shards(
        config.shards, ShardsInputs(built["cleaning"], built["tokenizer"]), store
    ),
}  # fmt: skip


def measured_stages(config: Path, sources: str, root: Path) -> Iterator[Row]:
    """A row a stage; memory is that of the whole process, CPU seconds those of the stage alone."""
    for stage in DOORS:
        log = root.with_name(f"{root.name}-{stage}.log")
        command = [sys.executable, "-m", "benchmarks.stages.cost", str(config), sources, str(root), stage]
        process = measure(command, log, cores())
        row = json.loads(log.read_text().splitlines()[-1])
        yield {"stage": stage, **row, "peak_pss_mb": round(process.peak_pss_mb), "other_cores": process.other_cores}


def build_until(config: Config, store: Store, last: str) -> Row:
    built: Built = {}
    if last == "cleaning":
        load_text_functions()  # which the corpus stage does beside its work, and is once a process
    for stage, door in DOORS.items():
        before, cpu_before = time.perf_counter(), cpu_seconds()
        built[stage] = door(config, built, store)
        if stage == last:
            break
    assert not built[last].reused, f"{last} was in the store already; nothing was measured"
    kept = store.root / "texts"  # what later cleanings do not read again
    return {
        "text_bytes": built["corpus"].counts["bytes"],
        "documents": built["corpus"].counts["documents"],
        "seconds": round(time.perf_counter() - before, 2),
        "cpu_seconds": round(cpu_seconds() - cpu_before, 2),
        "disk_bytes": size_of(built[last].path),
        "texts_bytes": size_of(kept) if last == "cleaning" else 0,
        "counts": dict(built[last].counts),
        "digests": {name: entry.sha256 for name, entry in built[last].files.items()},
    }


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    path, given, root, stage = sys.argv[1:]
    asked = load_config(Path(path), [], [given])
    print(json.dumps(build_until(asked, Store(Path(root), asked.name), stage)))
