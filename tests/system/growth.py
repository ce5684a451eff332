"""Memory and disk over the time of a soak: samples of them, what only grew, and all of it as one SVG."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from xml.sax.saxutils import escape

import psutil

from minimind.store import FOLDERS
from tests.system.fleeting import files_below
from tests.system.installation import Installation

SERVICES = ("Prefect", "MLflow", "worker", "keeper")
MAX_GROWTH = 1.5  # last quarter against the second: of the memory of a service, and of builds, which are pruned

WIDTH, HEIGHT, LEFT, TOP, RIGHT = 420, 200, 50, 30, 130
COLOURS = ("#3465a4", "#cc7a00", "#4e9a06", "#a40000", "#75507b", "#555753", "#c4a000")


def memory(installation: Installation) -> dict[str, float]:
    """Resident MB of each service that is alive, with the processes that serve for it; not of runs."""
    found = {}
    for name in SERVICES:
        with suppress(psutil.Error):
            if serving := installation.serving(name):
                found[f"memory_mb {name}"] = sum(one.memory_info().rss for one in serving) / 1e6
    return found


def disk(installation: Installation) -> dict[str, float]:
    """MB of the store by its parts."""
    found: Counter[str] = Counter()
    for path in files_below(installation.store.root):
        with suppress(OSError):
            found[part_of(path.relative_to(installation.store.root))] += path.stat().st_size
    return {f"disk_mb {part}": size / 1e6 for part, size in found.items()}


def part_of(path: Path) -> str:
    top = path.parts[0]
    if top == "prefect":
        return "Prefect's results" if "storage" in path.parts else "Prefect's database"
    named = {"mlflow.db": "MLflow's database", "mlflow-artifacts": "MLflow's artifacts", "servers": "logs"}
    return named.get(top, "builds" if top in FOLDERS else "reports and the rest")


def grown(samples: list[dict[str, float]]) -> list[str]:
    """In words, of services and builds that only grow; nothing of one that is in no sample of either quarter."""
    quarter, words = max(1, len(samples) // 4), []
    watched = {name: f"memory_mb {name}" for name in SERVICES} | {"what is built": "disk_mb builds"}
    for name, key in watched.items():
        second, last = (mean(part, key) for part in (samples[quarter : 2 * quarter], samples[-quarter:]))
        if 0 < MAX_GROWTH * second < last:
            words.append(f"{name} grew from {second:.3g} to {last:.3g} MB")
    return words


def mean(samples: list[dict[str, float]], name: str) -> float:
    values = [sample[name] for sample in samples if name in sample]
    return sum(values) / len(values) if values else 0.0


def drawn(samples: Sequence[dict[str, float]]) -> str:
    """Two panels side by side: MB of memory by service, MB of disk by part of the store."""
    panels = [
        panel(samples, "memory_mb ", "Memory, MB", 0),
        panel(samples, "disk_mb ", "Disk, MB", WIDTH + LEFT + RIGHT),
    ]
    width, height = 2 * (WIDTH + LEFT + RIGHT), HEIGHT + TOP + 40
    style = "<style>text{font:12px sans-serif;fill:#555}path{fill:none;stroke-width:1.5}</style>"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{style}'
    return head + "".join(panels) + "</svg>\n"


def panel(samples: Sequence[dict[str, float]], prefix: str, title: str, left: int) -> str:
    names = sorted({key for sample in samples for key in sample if key.startswith(prefix)})
    most = max((sample.get(name, 0.0) for sample in samples for name in names), default=1.0) or 1.0
    end = samples[-1]["seconds"] or 1.0
    x, y = left + LEFT, TOP
    parts = [
        f'<text x="{x}" y="{y - 12}">{title}</text>',
        f'<path stroke="#999" d="M{x} {y}V{y + HEIGHT}H{x + WIDTH}"/>',
        f'<text x="{x - 6}" y="{y + 10}" text-anchor="end">{most:.0f}</text>',
        f'<text x="{x - 6}" y="{y + HEIGHT}" text-anchor="end">0</text>',
        f'<text x="{x + WIDTH}" y="{y + HEIGHT + 18}" text-anchor="end">{end / 60:.0f} min</text>',
    ]
    for number, name in enumerate(names):
        points = [
            f"{x + WIDTH * sample['seconds'] / end:.1f} {y + HEIGHT * (1 - sample[name] / most):.1f}"
            for sample in samples
            if name in sample
        ]
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<path stroke="{colour}" d="M{"L".join(points)}"/>')
        label = escape(name.removeprefix(prefix))
        parts.append(f'<text x="{x + WIDTH + 8}" y="{y + 14 * number + 10}" style="fill:{colour}">{label}</text>')
    return "".join(parts)
