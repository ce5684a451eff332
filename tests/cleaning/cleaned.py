"""Configs that a test names only the interesting keys of, and cleanings read back as rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from minimind.config import CleaningConfig
from minimind.quality_presets import QUALITY_PRESETS
from minimind.store import Manifest

PERMIT_ALL: dict[str, Any] = {**QUALITY_PRESETS["none"], "stop_words": ["the", "and", "für"]}


KEEP_LINES = {"action": "keep", "min_documents": 3, "min_chars": 10, "max_cut_share": 0.5}
NORMALIZE_ALL = {"repair_encoding": True, "drop_front_matter": True, "drop_page_furniture": True, "reflow": True}


def config(
    *,
    shingle_words: int = 5,
    max_jaccard: float = 0.8,
    near_duplicates: str | None = None,
    quality: Mapping[str, Any] | None = None,
    language: Mapping[str, Any] | None = None,
    max_overlap: float = 1,
    evaluation_files: Sequence[str] = (),
    personal_data: Mapping[str, Any] | None = None,
    max_removed_share: float = 1,
    normalize: Mapping[str, bool] | None = None,
    repeated_lines: Mapping[str, Any] | None = None,
    **split: Any,
) -> CleaningConfig:
    """A cleaning that permits everything and splits anything, but for what is given."""
    return CleaningConfig.model_validate(
        {
            "normalize": NORMALIZE_ALL | dict(normalize or {}),
            "repeated_lines": KEEP_LINES | dict(repeated_lines or {}),
            "near_duplicates": near_duplicates or {"shingle_words": shingle_words, "max_jaccard": max_jaccard},
            "quality": PERMIT_ALL | dict(quality or {}),
            "language": {"expected": [], "min_probability": 0.8, "others": "remove"} | dict(language or {}),
            "decontamination": {"max_overlap": max_overlap, "evaluation_files": list(evaluation_files)},
            "personal_data": dict.fromkeys(["email", "phone", "iban", "card", "ip", "ssn"], "keep")
            | {"phone_region": None}
            | dict(personal_data or {}),
            "max_removed_share": max_removed_share,
            "split": {"holdout_share": 0.2, "min_documents": 1, "min_bytes": 1} | split,
        }
    )


@dataclass(frozen=True)
class Cleaned:
    """A cleaning's files as rows."""

    manifest: Manifest

    def rows(self, name: str) -> list[dict[str, Any]]:
        return pq.read_table(self.manifest.file(f"{name}.parquet")).to_pylist()

    def ids(self, name: str) -> set[str]:
        return {row["document_id"] for row in self.rows(name)}

    @property
    def kept(self) -> dict[str, str]:
        return {row["document_id"]: row["text"] for name in ("train", "holdout") for row in self.rows(name)}

    @property
    def reasons(self) -> dict[str, str]:
        return {row["document_id"]: row["reason"] for row in self.rows("removed")}

    @property
    def pairs(self) -> dict[tuple[str, str], float]:
        return {(row["document_id_a"], row["document_id_b"]): row["jaccard"] for row in self.rows("pairs")}

    @property
    def ledger(self) -> dict[str, str]:
        return {row["document_id"]: row["split"] for row in self.rows("ledger")}

    @property
    def digests(self) -> dict[str, str]:
        return {name: entry.sha256 for name, entry in self.manifest.files.items()}
