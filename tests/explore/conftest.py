"""An explored corpus as its manifests tell of it, without a corpus."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from minimind.config import Config, validate_config
from minimind.explore.explored import as_explored
from minimind.store import Manifest, Outcome, Recipe, Store

PROJECT = Path(__file__).parents[2]
Stages = dict[str, Manifest]


@pytest.fixture(scope="session")
def config() -> Config:
    return validate_config(yaml.safe_load((PROJECT / "configs" / "demo.yaml").read_text()), "demo")


@pytest.fixture(scope="session")
def explored_config(config: Config) -> Config:
    return as_explored(config, "3m")


@pytest.fixture
def make_stages(store: Store) -> Callable[..., Stages]:
    """Corpus, cleaning and exploration; what is given replaces what they count and tell."""

    def make(
        cleaning: dict[str, Any] | None = None, trials: list[tuple[float, float, float]] | None = None, **counts: float
    ) -> Stages:
        documents = {
            "documents_in": 1000, "bytes_in": 10_000_000, "documents": 950, "bytes": 9_500_000, "removed": 50,
            "train_documents": 900, "train_bytes": 9_000_000, "holdout_documents": 50, "holdout_bytes": 500_000,
        }  # fmt: skip
        details: dict[str, Any] = {
            "funnel": [], "lengths": [], "licenses": [{"license": "MIT", "licenses": 1, "documents_in": 1000,
            "documents_kept": 950}], "sources": {"local": {"train_documents": 900, "holdout_documents": 50,
            "bytes": 9_500_000}},
        }  # fmt: skip
        found = trials or [(400_000, 2_800_000, 2.05), (200_000, 1_400_000, 2.3), (200_000, 700_000, 2.31)]
        rows = [
            {"share": share, "documents": 900, "text_bytes": round(3.3 * unique), "unique_tokens": unique,
             "tokens": tokens, "steps": 100, "seconds": 90.0, "bits_per_byte": value, "low": value - 0.1,
             "high": value + 0.1, "training": "f00d"}
            for share, (tokens, unique, value) in zip((1.0, 0.5, 0.25), found, strict=True)
        ]  # fmt: skip
        explored = {
            "trials": rows,
            "curve": [
                {"tokens": part * found[0][0], "bits_per_byte": found[0][2] + 1 - part, "full_rate": part <= 0.5}
                for part in (0.1, 0.2, 0.3, 0.4, 0.5, 0.8, 1.0)
            ],
            "samples": [{"prompt": "The <b>", "text": " parties", "document_id": "local/1"}],
            "holdout": {"documents": 50, "bytes": 400_000, "all_bytes": 500_000},
            "largest_document": {"document_id": "local/1", "share": 0.01},
            "model": {"vocabulary_size": 4096},
            "device": "cpu",
        }
        of_explored = {
            "bits_per_byte": found[0][2], "zstd_bits_per_byte": 2.2, "parameters": 1_312_128,
            "tokens_per_second": 5000.0, "training_seconds": 180.0,
        }  # fmt: skip
        settings = {
            "near_duplicates": {"max_jaccard": 0.8}, "language": {"expected": ["en"]}, "personal_data": {},
            "number": len(list(store.root.glob("cleaning/*"))),
        }  # fmt: skip
        built = {
            "corpus": ({"documents": 1000}, {"sources": {"local": {"documents": 1000}}}, {}),
            "cleaning": (documents | counts, details | (cleaning or {}), settings),
            "explore": (of_explored, explored, {"trials": found}),
        }
        return {
            stage: store.build(Recipe(stage, asked, {}, {}, {}), lambda folder, one=one, told=told: Outcome(one, told))
            for stage, (one, told, asked) in built.items()
        }

    return make
