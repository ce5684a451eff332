"""Memory and disk over the time of a soak, as one SVG."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT = 420, 200, 50, 30, 130
COLOURS = ("#3465a4", "#cc7a00", "#4e9a06", "#a40000", "#75507b", "#555753")


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
