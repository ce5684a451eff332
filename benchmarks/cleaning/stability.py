"""Whether ours gives the same bytes with other resources, and on top of an earlier snapshot; what the latter costs."""

import itertools
import json
import random
import shutil
from pathlib import Path
from typing import Any

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
    source: Path, share: float, seed: int, working: Path, cores: int, *options: str
) -> dict[str, Any]:
    """Seconds of a cleaning without so many of the documents, of one on top of it with them, and of all from scratch.

    The cleaning from scratch has the first one's ledger, which shapes the split, and nothing else of it.
    """
    input_, grown, scratch = (fresh(working / f"increment-{name}") for name in ("input", "grown", "scratch"))
    count, bytes_share = leave_out(source, share, seed, input_)
    full = clean(input_, grown, cores, {"threads": cores}, *options)
    (scratch / "store").mkdir()
    shutil.copytree(grown / "store" / "ledgers", scratch / "store" / "ledgers")
    # the same paths: the same sources, so that the documents are the same
    for path in source.glob("part-*.jsonl"):
        shutil.copyfile(path, input_ / path.name)
    added = clean(input_, grown, cores, {"threads": cores}, *options)
    anew = clean(input_, scratch, cores, {"threads": cores}, *options)
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
            f"{steps}{count:,} documents more ({share:.1%}, drawn by a seed; {bytes_share:.1%} of the bytes): "
            f"{added['cleaning_seconds']:.1f} s of cleaning on top of {full['cleaning_seconds']:.1f} s, {ratio:.1%} "
            f"(of CPU seconds {cpu_ratio:.1%}); with reading the sources again and process start "
            f"{added['seconds']:.1f} s after {full['seconds']:.1f} s; {said} a cleaning from scratch "
            f"({anew['cleaning_seconds']:.1f} s)."
        ),
    }


def leave_out(source: Path, share: float, seed: int, target: Path) -> tuple[int, float]:
    """Copies the input but for so many documents, drawn by a seed; how many were left out, and their share of bytes."""
    parts = sorted(source.glob("part-*.jsonl"))
    count = sum(1 for path in parts for _ in path.open("rb"))
    drawn = set(random.Random(seed).sample(range(count), max(round(share * count), 1)))
    places = itertools.count()
    left_out = total = 0
    for path in parts:
        with path.open("rb") as lines, (target / path.name).open("wb") as left:
            for line in lines:
                total += len(line)
                if next(places) in drawn:
                    left_out += len(line)
                else:
                    left.write(line)
    return len(drawn), left_out / total


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
