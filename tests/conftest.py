"""Fixtures that several stages share: a store in a temporary folder, and a cleaning build made of given texts."""

import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from xdist.scheduler.loadfile import LoadFileScheduling

from minimind.digests import sha256_of_json
from minimind.store import Manifest, Outcome, Recipe, Store

Texts = Mapping[str, str]  # document_id (`<source>/<id>`) -> text
MakeCleaning = Callable[[Texts, Texts], Manifest]

DOCUMENT_SCHEMA = pa.schema(
    [
        ("document_id", pa.string()),
        ("text", pa.string()),
        ("source", pa.string()),
        ("title", pa.string()),
        ("license", pa.string()),
        ("metadata", pa.map_(pa.string(), pa.string())),
    ]
)

# tests that run beside each other: how many processes, in which order, what shares one
WAITING_FIRST = ("system", "flows", "training", "registry")  # folders whose files take longest; the rest fills up
ONE_SERVER = {"test_explore.py", "test_parts.py", "test_retrain.py", "test_slot.py", "test_versions.py"}


class ByFileAndServer(LoadFileScheduling):
    """A file's tests share a process, as its fixtures do; so do the files that talk to one Prefect server."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "one server" if Path(file).parent.name == "flows" and Path(file).name in ONE_SERVER else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """None where single tests are to be shared out (`--dist load`), as the plugin does itself."""
    return ByFileAndServer(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_xdist_auto_num_workers() -> int:
    """One more than cores: the long tests wait for servers half of their time; with two more, what is timed fails."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files begin first, so that none is left for one process alone at the end."""
    order = {name: place for place, name in enumerate(WAITING_FIRST)}
    items.sort(key=lambda item: order.get(item.path.parent.name, len(order)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", "tests")


@pytest.fixture
def make_cleaning(store: Store) -> MakeCleaning:
    """Publishes train and holdout texts as a cleaning build would: the files and counts that later stages read."""

    def make(train: Texts, holdout: Texts) -> Manifest:
        def write(folder: Path) -> Outcome:
            counts: dict[str, float] = {}
            for split, texts in (("train", train), ("holdout", holdout)):
                rows = [
                    {"document_id": key, "text": text, "source": key.partition("/")[0], "metadata": []}
                    for key, text in sorted(texts.items())
                ]
                pq.write_table(pa.Table.from_pylist(rows, schema=DOCUMENT_SCHEMA), folder / f"{split}.parquet")
                counts[f"{split}_documents"] = len(rows)
                counts[f"{split}_bytes"] = sum(len(text.encode()) for text in texts.values())
            return Outcome(counts)

        content = sha256_of_json([dict(train), dict(holdout)])
        return store.build(Recipe("cleaning", {}, {"texts": content}, {}, {}), write)

    return make


@pytest.fixture(scope="session")
def sentences() -> Callable[[int, int], str]:
    return make_sentences()


def make_sentences() -> Callable[[int, int], str]:
    """(seed, number of words) -> text with frequent and rare words, sentences, paragraphs."""
    syllables = [a + b for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u", "en", "er")]
    lexicon = ["".join(random.Random(number).choices(syllables, k=1 + number % 4)) for number in range(400)]

    def write(seed: int, words: int) -> str:
        chance = random.Random(seed)
        parts = []
        for _ in range(words):
            word = lexicon[min(int(chance.paretovariate(0.7)) - 1, 399)]
            shapes = [word] * 8 + [word.title(), word + ",", word + ".\n", word + ".\n\n", f"§ {len(word)}"]
            parts.append(chance.choice(shapes))
        return " ".join(parts)

    return write
