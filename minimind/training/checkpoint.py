"""Checkpoints: what training needs to go on as if it had never stopped. Tensors in safetensors, the rest in JSON.

A checkpoint is `step-<number>.safetensors` and, written after it, `step-<number>.json` with the tensors' sha256: where
the JSON stands, the whole checkpoint was on disk. The last two are kept, in case the newest is damaged.
"""

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save_file
from torch import Tensor

from minimind.model.transformer import Transformer

logger = logging.getLogger(__name__)

KEPT = 2


@dataclass
class Progress:
    """How far training is, besides its tensors."""

    step: int = 0  # steps done
    held_metrics: dict[str, Any] | None = None  # of the last step, as long as its evaluation has not been made
    scaler: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0  # that all runs so far have worked
    resumed: int = 0


@dataclass(frozen=True)
class Checkpoint:
    progress: Progress
    tensors: dict[str, Tensor]


class CheckpointFolder:
    def __init__(self, path: Path, plan_sha256: str) -> None:
        self.path = path
        self.plan_sha256 = plan_sha256

    def save(self, tensors: dict[str, Tensor], progress: Progress) -> None:
        self.path.mkdir(exist_ok=True)
        tensors_path = self.path / f"step-{progress.step:09}.safetensors"
        temporary = self.path / "writing.tmp"
        save_file(tensors, temporary)
        sha256 = _sha256(temporary)
        _put_in_place(temporary, tensors_path)
        values = {"plan_sha256": self.plan_sha256, "tensors_sha256": sha256, "progress": asdict(progress)}
        temporary.write_text(json.dumps(values) + "\n")
        _put_in_place(temporary, tensors_path.with_suffix(".json"))
        self._remove_older()

    def load_newest(self) -> Checkpoint | None:
        """The newest whole checkpoint of this plan; a damaged or foreign one is passed over with a warning."""
        for path in self._newest_first():
            try:
                return self._load(path)
            except (OSError, ValueError, KeyError, TypeError) as error:
                logger.warning("checkpoint %s cannot be used and is passed over: %s", path, error)
        return None

    def _load(self, path: Path) -> Checkpoint:
        values = json.loads(path.read_bytes())
        if values["plan_sha256"] != self.plan_sha256:
            raise ValueError("it belongs to another plan")
        content = path.with_suffix(".safetensors").read_bytes()
        if hashlib.sha256(content).hexdigest() != values["tensors_sha256"]:
            raise ValueError("its tensors are not the ones that were written")
        return Checkpoint(Progress(**values["progress"]), load(content))

    def _newest_first(self) -> list[Path]:
        return sorted(self.path.glob("step-*.json"), reverse=True)

    def _remove_older(self) -> None:
        for path in self._newest_first()[KEPT:]:
            path.unlink()
        whole = {path.stem for path in self._newest_first()}
        for path in self.path.glob("step-*.safetensors"):
            if path.stem not in whole:
                path.unlink()


def gather_tensors(model: Transformer, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights as `model.<name>`, optimizer state as `optimizer.<key>.<name>`, all on the CPU."""
    tensors = {}
    for name, parameter in model.named_parameters():
        tensors[f"model.{name}"] = parameter.detach().cpu()
        for key, value in optimizer.state[parameter].items():
            tensors[f"optimizer.{key}.{name}"] = value.detach().cpu()
    return tensors


def restore_tensors(model: Transformer, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of `gather_tensors`; bit by bit, nothing is cast."""
    weights = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    model.load_state_dict(weights, strict=True)
    parameters = dict(model.named_parameters())
    for place, value in tensors.items():
        kind, key, name = place.split(".", 2)
        if kind == "optimizer":
            optimizer.state[parameters[name]][key] = value.to(parameters[name].device)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _put_in_place(temporary: Path, path: Path) -> None:
    """Renames when the content is on disk; the new name is on disk when this returns."""
    for synced in (temporary, path.parent):
        descriptor = os.open(synced, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if synced is temporary:
            temporary.rename(path)
