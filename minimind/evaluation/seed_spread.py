"""How much bits per byte differ between trainings of one config that differ in nothing but their seed.

Measured by `minimind seeds`, kept in `<store>/seeds/<domain>/`, and read wherever two models are compared.
"""

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from scipy.special import ndtri, stdtrit

from minimind.config import PRESETS, SCRATCH, ModelSizes
from minimind.digests import sha256_of_json

# of the training section: what moves the result and is no mere choice of the machine
SHAPING_KEYS = (
    "sequence_length", "batch_tokens", "budget", "document_mask", "zero_output_projections", "embedding_norm",
    "residual_scalars", "z_loss", "optimizer", "start_from", "warm_start",
)  # fmt: skip
WARM = "a model"  # whatever a training starts from, if it is not scratch
UNMEASURED_WARM_START = (
    "the spread between seeds of a training that starts from a model is not measured yet; set registry.seed_spread to "
    "a number, their relative standard deviation"
)
MAX_GROWTH = 2.0  # of the training text since the spread was measured, either way; beyond it, it is outdated


@dataclass(frozen=True)
class SeedSpread:
    """Relative standard deviation of bits per byte between seeds."""

    share: float
    by_source: Mapping[str, float]  # of those that were measured; `share` holds for any other
    seeds: int | None  # how many trainings it was measured with; None: stated in the YAML

    def half_width(self, level: float, source: str | None = None) -> float:
        """Quantile x spread, as a share of one model's bits per byte: Student's t with n - 1 degrees of freedom.

        Of the normal distribution where the spread is stated, and so counts as known.
        """
        quantile = (1 + level) / 2
        factor = ndtri(quantile) if self.seeds is None else stdtrit(self.seeds - 1, quantile)
        return float(factor) * self.by_source.get(source or "", self.share)


def spread_of(bits_per_byte: Sequence[float], by_source: Mapping[str, Sequence[float]]) -> SeedSpread:
    """From the scores of two or more trainings, the same seeds in the same order for each source."""
    shares = {source: _relative(values) for source, values in by_source.items()}
    return SeedSpread(_relative(bits_per_byte), shares, len(bits_per_byte))


def _relative(values: Sequence[float]) -> float:
    return statistics.stdev(values) / statistics.fmean(values)


# --- kept in the store ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measurement:
    """What `minimind seeds` has found, and of what."""

    recipe: Mapping[str, Any]  # what shapes the spread; its hash is the key
    trained_budget: str  # tokens of each training
    small: bool  # whether that is less than the config's own budget
    train_bytes: int
    holdout_sha256: str
    seeds: Sequence[int]
    bits_per_byte: Sequence[float]  # by seed
    by_source: Mapping[str, Sequence[float]]
    created_at: str

    @property
    def spread(self) -> SeedSpread:
        return spread_of(self.bits_per_byte, self.by_source)


@dataclass(frozen=True)
class Known:
    """The spread to reckon with, and what is to be said of it; `spread` is None where there is none."""

    spread: SeedSpread | None
    said: str


def shaping(
    training: Mapping[str, Any], tokenizer: Mapping[str, Any], model: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a spread is measured for, from these sections of a resolved config: the recipe, not the seed or the text.

    `model` is the ModelConfig of what was trained, which `preset: auto` does not tell; None: the section's sizes. The
    phases of `warm_start` count where training starts from a model, and whichever model that is counts as one.
    The text may grow by MAX_GROWTH before the spread counts as outdated; else every snapshot would ask for new seeds.
    """
    named = PRESETS.get(str(training.get("preset")))
    sizes = training.get("sizes") or (named.model_dump() if named else None)
    if model:
        sizes = {name: model[name] for name in ModelSizes.model_fields}
    kept = {key: training.get(key) for key in SHAPING_KEYS}
    if kept["start_from"] in (None, SCRATCH):
        kept |= {"start_from": SCRATCH, "warm_start": None}
    else:
        kept["start_from"] = WARM
    return {"sizes": sizes, "vocabulary_size": tokenizer.get("vocabulary_size"), **kept}


def keep_measurement(root: Path, domain: str, measurement: Measurement) -> Path:
    """Publishes it as a whole; an earlier one for the same recipe is replaced."""
    path = _path(root, domain, measurement.recipe)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    temporary.write_text(json.dumps(asdict(measurement), indent=1) + "\n")
    temporary.replace(path)
    return path


def known_spread(
    stated: float | Literal["measured"], root: Path, domain: str, recipe: Mapping[str, Any], train_bytes: float | None
) -> Known:
    """The spread for a recipe: as stated, or as measured; an outdated one is named and not used."""
    if stated != "measured":
        return Known(SeedSpread(stated, {}, None), f"{stated:.2%} between seeds, as registry.seed_spread states")
    measured = _read(_path(root, domain, recipe))
    if measured is None:
        warm = recipe["start_from"] == WARM
        return Known(None, UNMEASURED_WARM_START if warm else _outdated(root, domain, recipe))
    if train_bytes and not 1 / MAX_GROWTH <= train_bytes / max(1, measured.train_bytes) <= MAX_GROWTH:
        return Known(
            None,
            f"the spread between seeds is outdated: measured with {measured.train_bytes / 1e6:,.1f} MB of training "
            f"text, and now there are {train_bytes / 1e6:,.1f} MB; run `minimind seeds` again",
        )
    small = f", trained in small ({measured.trained_budget})" if measured.small else ""
    return Known(
        measured.spread, f"{measured.spread.share:.2%} between seeds, measured with {len(measured.seeds)}{small}"
    )


def _outdated(root: Path, domain: str, recipe: Mapping[str, Any]) -> str:
    """What is wrong with the newest spread of a domain that has none for this recipe."""
    others = [found for path in sorted((root / "seeds" / domain).glob("*.json")) if (found := _read(path))]
    if not others:
        return (
            "the spread between seeds is not measured; run `minimind seeds CONFIG`, or state it in registry.seed_spread"
        )
    newest = max(others, key=lambda found: found.created_at)
    changed = sorted(key for key in recipe.keys() | newest.recipe.keys() if recipe.get(key) != newest.recipe.get(key))
    return (
        f"the spread between seeds is outdated: measured for another {', '.join(changed)} on "
        f"{newest.created_at[:10]}; run `minimind seeds CONFIG` again, or state it in registry.seed_spread"
    )


def _path(root: Path, domain: str, recipe: Mapping[str, Any]) -> Path:
    return root / "seeds" / domain / f"{sha256_of_json(recipe)[:16]}.json"


def _read(path: Path) -> Measurement | None:
    """None for a file that is missing, or that another version has written."""
    try:
        return Measurement(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
