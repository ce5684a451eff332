"""How much bits per byte differ between trainings of one config that differ in nothing but their seed.

Measured by `minimind seeds`, kept in `<store>/seeds/<domain>/`, and read wherever two models are compared.
"""

import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter
from scipy.special import ndtri, stdtrit

from minimind.config import PRESETS, SCRATCH, ModelSizes
from minimind.digests import sha256_of_json

# of the training section: what moves the result and is no mere choice of the machine; of the budget, its tokens count
SHAPING_KEYS = (
    "sequence_length", "batch_tokens", "document_mask", "zero_output_projections", "embedding_norm",
    "residual_scalars", "z_loss", "optimizer", "start_from", "warm_start",
)  # fmt: skip
WARM = "a model"  # whatever a training starts from, if it is not scratch
UNMEASURED_WARM_START = (
    "the spread between seeds of a training that starts from a model is not measured yet; set registry.seed_spread to "
    "a number, their relative standard deviation"
)
MAX_GROWTH = 2.0  # of training text and tokens since the spread was measured, either way; beyond it, it is outdated


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

    recipe: Mapping[str, Any]  # what shapes the spread
    planned_tokens: int  # of the config's own budget, on the device of the measurement
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

    def outdated(self, tokens: float | None, train_bytes: float | None) -> str | None:
        """Why it does not hold for a training of so many tokens on so much text, as far as these are known.

        None if it does.
        """
        if _grown(self.planned_tokens, tokens):
            return (
                f"measured for a training of {self.planned_tokens:,} tokens, and this one has {tokens:,.0f} (a budget "
                "of time means others on another device)"
            )
        if _grown(self.train_bytes, train_bytes):
            return (
                f"measured with {self.train_bytes / 1e6:,.1f} MB of training text, and now there are "
                f"{(train_bytes or 0) / 1e6:,.1f} MB"
            )
        return None


def _grown(before: float, now: float | None) -> bool:
    return now is not None and not 1 / MAX_GROWTH <= now / max(1, before) <= MAX_GROWTH


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
    How many tokens and how much text are no part of it: they may grow by MAX_GROWTH before a spread is outdated; else
    every snapshot would ask for new seeds.
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
    """Publishes it as a whole; an earlier one for the same recipe and as many tokens is replaced."""
    key = sha256_of_json([measurement.recipe, measurement.planned_tokens])
    path = root / "seeds" / domain / f"{key[:16]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    temporary.write_text(json.dumps(asdict(measurement), indent=1) + "\n")
    temporary.replace(path)
    return path


def known_spread(
    stated: float | Literal["measured"], root: Path, domain: str, recipe: Mapping[str, Any], tokens: float | None,
    train_bytes: float | None,
) -> Known:  # fmt: skip
    """The spread for a training of this recipe, so many tokens and so much text, where these are known: as stated, or
    as measured last; an outdated one is named and not used."""
    if stated != "measured":
        return Known(SeedSpread(stated, {}, None), f"{stated:.2%} between seeds, as registry.seed_spread states")
    folder = root / "seeds" / domain
    kept = _newest_first(folder)
    holding = [one for one in kept if one.recipe == recipe and not one.outdated(tokens, train_bytes)]
    if not holding:
        warm = recipe["start_from"] == WARM
        return Known(None, UNMEASURED_WARM_START if warm else _outdated(folder, recipe, tokens, train_bytes))
    measured = holding[0]
    small = f", trained in small ({measured.trained_budget})" if measured.small else ""
    return Known(
        measured.spread, f"{measured.spread.share:.2%} between seeds, measured with {len(measured.seeds)}{small}"
    )


def _outdated(folder: Path, recipe: Mapping[str, Any], tokens: float | None, train_bytes: float | None) -> str:
    """What is wrong with the newest spread, of the same recipe if there is one; none holds."""
    kept = _newest_first(folder)
    if not kept:
        others = len(list(folder.glob("*.json")))
        unread = f" ({others} kept in {folder} cannot be read by this version)" if others else ""
        return (
            f"the spread between seeds is not measured{unread}; run `minimind seeds CONFIG`, or state it in "
            "registry.seed_spread"
        )
    newest = next((one for one in kept if one.recipe == recipe), kept[0])
    changed = sorted(key for key in recipe.keys() | newest.recipe.keys() if recipe.get(key) != newest.recipe.get(key))
    why = f"measured for another {', '.join(changed)}" if changed else newest.outdated(tokens, train_bytes)
    return (
        f"the spread between seeds of {newest.created_at[:10]} is outdated: {why}; run `minimind seeds CONFIG` again, "
        "or state it in registry.seed_spread"
    )


def _newest_first(folder: Path) -> list[Measurement]:
    found = [one for path in sorted(folder.glob("*.json")) if (one := _read(path))]
    return sorted(found, key=lambda one: one.created_at, reverse=True)


def _read(path: Path) -> Measurement | None:
    """None for a file that is missing, that another version has written, or that tells no spread."""
    try:
        found = TypeAdapter(Measurement).validate_json(path.read_bytes())
        for scores in (found.bits_per_byte, *found.by_source.values()):
            if not all(map(math.isfinite, scores)):  # of which statistics raises what it likes
                return None
            _relative(scores)
    except (OSError, ValueError, ZeroDivisionError):  # pydantic's and statistics' own are kinds of ValueError
        return None
    return found
