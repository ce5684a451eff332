"""A small domain with something for every reason, and the command run on it."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from flows.cli import app
from minimind.store import Manifest, Store

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"
PERMISSIVE = [
    "name=laws",
    "cleaning.quality.min_words=5",
    "cleaning.quality.min_stop_words=0",
    "cleaning.quality.min_punctuated_line_ratio=0",
    "cleaning.split.min_documents=1",
    "cleaning.split.min_bytes=1",
]
HOSTILE = "<script>alert('planted')</script> \u202egnirts detrevni\u202c \x1b[31mred\x1b[0m "


@dataclass(frozen=True)
class Domain:
    config: Path
    root: Path
    cleaned: str  # what the command printed

    @property
    def store(self) -> Store:
        return Store(self.root, "laws")

    @property
    def cleaning(self) -> Manifest:
        found = self.store.newest("cleaning")
        assert found
        return found

    @property
    def corpus(self) -> Manifest:
        found = self.store.newest("corpus")
        assert found
        return found

    def run(self, *arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, [*arguments, "--store", str(self.root)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    def documents(self, *arguments: str) -> tuple[int, str, str]:
        return self.run("documents", str(self.config), *arguments)

    def listed(self, *arguments: str) -> list[dict]:
        code, out, _ = self.documents(*arguments, "--json")
        assert code == 0
        return json.loads(out)["documents"]


def prose(seed: int, words: int = 120) -> list[str]:
    chance = random.Random(seed)
    lexicon = ["court", "statute", "party", "shall", "notice", "the", "of", "and", "to", "law", "clause", "appeal"]
    return [chance.choice(lexicon) + (f"{chance.randrange(900)}" if number % 4 == 0 else "") for number in range(words)]


def documents() -> list[dict[str, str]]:
    rows = [{"id": f"plain/{n:02}", "text": " ".join(prose(n)) + ".", "license": "CC0-1.0"} for n in range(40)]
    base = prose(1000)
    edited = [*base[:60], "quarrelsome", *base[61:]]
    far = [*base[:30], "rivers", *base[31:60], "mountains", *base[61:90], "lakes", *base[91:]]
    rows += [
        {"id": "near/a", "text": " ".join(base) + ".", "title": "The first of them", "license": "MIT"},
        {"id": "near/b", "text": " ".join(edited) + ".", "title": "The second"},
        {"id": "near/c", "text": " ".join(far) + "."},
        {"id": "same/a", "text": "One and the same " + " ".join(prose(2000))},
        {"id": "same/b", "text": "One and the same " + " ".join(prose(2000))},
        {"id": "short/a", "text": "Too short. jane.doe@example.org"},
        {"id": "odd/personal", "text": "Write to\u00a0jane.doe@example.org or " + " ".join(prose(6000))},
        {"id": "odd/spaces", "text": "Wide\u00a0blanks " + " ".join(prose(3000)) + "   \r\nand the end"},
        {"id": "odd/hostile", "text": HOSTILE + " ".join(prose(4000)), "title": HOSTILE, "license": HOSTILE},
        {"id": "odd/short-hostile", "text": HOSTILE},
        {"id": "odd/long-line", "text": "x" * 300_000 + " " + " ".join(prose(5000))},
    ]
    return rows
