"""Whether ours gives the same bytes with other resources, and on top of an earlier snapshot; what the latter costs."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.cleaning.enlarged import Document, read
from benchmarks.cleaning.tools import our_command
from benchmarks.measured import measure


def measure_variations(variation: str, source: Path, working: Path, cores: int) -> dict[str, Any]:
    """Ours once for each value of one of its resources, given as `threads=1,2,4`."""
    name, _, values = variation.partition("=")
    ran = {}
    for value in values.split(","):
        target = fresh(working / f"vary-{name}-{value}")
        ran[value] = clean(source, target, cores, {"threads": cores} | {name: int(value)})
        shutil.rmtree(target)
    digests = [json.dumps(one["digests"], sort_keys=True) for one in ran.values()]
    identical = len(set(digests)) == 1
    seconds = ", ".join(f"{one['cleaning_cpu_seconds']:.1f} CPU seconds with {value}" for value, one in ran.items())
    said = "the same bytes" if identical else "**different bytes**"
    return {
        "identical": identical,
        "results": ran,
        "summary": f"`{name}` of {', '.join(ran)}: {said} in every published file (cleaning: {seconds}).",
    }


def measure_increment(
    source: Path, share: float, working: Path, cores: int, documents: Iterator[Document], *options: str
) -> dict[str, Any]:
    """Seconds of a full cleaning, of one on top of it with so many more documents, and of those two from scratch.

    The cleaning from scratch has the first one's ledger, which shapes the split, and nothing else of it.
    """
    before = fresh(working / "increment-before")
    after = fresh(working / "increment-after")
    count = write_increment(source, share, after, documents)
    grown, scratch = fresh(working / "increment-grown"), fresh(working / "increment-scratch")
    for path in sorted(source.glob("part-*.jsonl")):
        shutil.copyfile(path, before / path.name)
    full = clean(before, grown, cores, {"threads": cores}, *options)
    (scratch / "store").mkdir()
    shutil.copytree(grown / "store" / "ledgers", scratch / "store" / "ledgers")
    # the same paths: the same sources, so that the documents are the same
    for path in sorted(after.glob("part-*.jsonl")):
        shutil.copyfile(path, before / path.name)
    added = clean(before, grown, cores, {"threads": cores}, *options)
    anew = clean(before, scratch, cores, {"threads": cores}, *options)
    ratio = added["cleaning_seconds"] / full["cleaning_seconds"]
    cpu_ratio = added["cleaning_cpu_seconds"] / full["cleaning_cpu_seconds"]
    identical = added["digests"] == anew["digests"]
    said = "the same bytes as" if identical else "**other bytes** than"
    steps = "By every step of the config: " if "--every-step" in options else "By the least: "
    return {
        "identical": identical,
        "documents_added": count,
        "ratio_of_cleaning": round(ratio, 4),
        "ratio_of_cleaning_cpu": round(cpu_ratio, 4),
        "ratio_of_all": round(added["seconds"] / full["seconds"], 4),
        "results": {"full": full, "added": added, "from_scratch": anew},
        "summary": (
            f"{steps}{count:,} documents more ({share:.1%}): {added['cleaning_seconds']:.1f} s of cleaning on top of "
            f"{full['cleaning_seconds']:.1f} s, {ratio:.1%} (of CPU seconds {cpu_ratio:.1%}); with reading the sources "
            f"again and process start {added['seconds']:.1f} s after {full['seconds']:.1f} s; {said} a cleaning from "
            f"scratch ({anew['cleaning_seconds']:.1f} s)."
        ),
    }


def write_increment(source: Path, share: float, target: Path, documents: Iterator[Document]) -> int:
    """How many documents were added to a copy of the input: those that come next in its stream."""
    parts = sorted(source.glob("part-*.jsonl"))
    known = sum(1 for path in parts for _ in read(path))
    for path in parts:
        shutil.copyfile(path, target / path.name)
    for _ in range(known):
        next(documents)
    count = max(round(share * known), 1)
    with (target / parts[-1].name).open("a", encoding="utf-8") as file:
        for _ in range(count):
            file.write(json.dumps(next(documents)._asdict(), ensure_ascii=False) + "\n")
    return count


def clean(source: Path, target: Path, cores: int, resources: dict[str, int], *options: str) -> dict[str, Any]:
    """What `ours` says of itself, with the seconds and the peak memory of its process."""
    command = our_command(source, target, resources, *options)
    measured = measure(command, target / "log.txt", max(cores, resources.get("threads", cores)))
    result: dict[str, Any] = json.loads((target / "steps.json").read_text())
    del result["files"]
    return result | {"seconds": measured.seconds, "peak_rss_mb": round(measured.peak_rss_mb)}


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
