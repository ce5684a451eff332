"""Checkpoints: what training needs to go on as if it had never stopped. Tensors in safetensors, the rest in JSON.

A checkpoint is `step-<number>.safetensors` and, written after it, `step-<number>.json` with the tensors' sha256: where
the JSON stands, the whole checkpoint was on disk. The last two are kept, in case the newest is damaged, and so is each
whose step the config makes permanent.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from minimind.digests import sha256_of_json
from minimind.durable import put_in_place
from minimind.errors import CheckpointError
from minimind.model.transformer import Transformer

logger = logging.getLogger(__name__)

KEPT = 2

# What may differ between a plan and the checkpoint that it goes on from, as long as a step sees the same sequences:
# how they are shared out. It moves sums by their order alone.
SHARED_OUT = ("processes", "micro_batch_sequences", "accumulation", "threads")


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
    def __init__(self, path: Path, plan: Mapping[str, Any], permanent_steps: int | None = None) -> None:
        """`plan` as JSON; a checkpoint of every `permanent_steps`-th step is kept for good."""
        self.path = path
        self.plan = plan
        self.permanent_steps = permanent_steps

    def is_permanent(self, step: int) -> bool:
        return self.permanent_steps is not None and step > 0 and step % self.permanent_steps == 0

    def save(self, tensors: dict[str, Tensor], progress: Progress) -> None:
        """Whatever happens on the way, a full disk or a kill, the checkpoints that are there stay whole.

        One of the same step is there after a resumption; it is touched when all of the new one is written.
        """
        self.path.mkdir(exist_ok=True)
        tensors_path = self.path / f"step-{progress.step:09}.safetensors"
        new_tensors, new_progress = self.path / "tensors.tmp", self.path / "progress.tmp"
        try:
            save_file(tensors, new_tensors)
            values = {"tensors_sha256": _sha256(new_tensors), "progress": asdict(progress), "plan": self.plan}
            new_progress.write_text(json.dumps(values | {"sha256": sha256_of_json(values)}) + "\n")
            put_in_place(new_tensors, tensors_path)
            put_in_place(new_progress, tensors_path.with_suffix(".json"))
        finally:
            for path in (new_tensors, new_progress):  # gives back the space that was too little
                path.unlink(missing_ok=True)
        self._remove_older()

    def load_newest(self) -> Checkpoint | None:
        """The newest whole checkpoint; a damaged one is passed over with a warning.

        Raises CheckpointError for one of other data or another config.
        """
        for path in self._newest_first():
            try:
                values = json.loads(path.read_bytes())
                if values.pop("sha256") != sha256_of_json(values):
                    raise ValueError("what it says of itself is not what was written")
                differing = differences(values["plan"], self.plan)
                checkpoint = None if differing else self._load(path, values)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
                logger.warning("checkpoint %s cannot be used and is passed over: %s", path, error)
                continue
            if checkpoint is None:
                raise CheckpointError(
                    f"checkpoint {path} was written under another plan (it differs in {', '.join(differing)}); "
                    f"move {self.path} away to train anew, or put back what was changed"
                )
            return checkpoint
        return None

    def _load(self, path: Path, values: Mapping[str, Any]) -> Checkpoint:
        content = path.with_suffix(".safetensors").read_bytes()
        if hashlib.sha256(content).hexdigest() != values["tensors_sha256"]:
            raise ValueError("its tensors are not the ones that were written")
        if shared := [key for key in SHARED_OUT if values["plan"].get(key) != self.plan.get(key)]:
            logger.warning("checkpoint %s was written with other %s; sums are taken in another order", path, shared)
        return Checkpoint(Progress(**values["progress"]), load(content))

    def _newest_first(self) -> list[Path]:
        return sorted(self.path.glob("step-*.json"), reverse=True)

    def _remove_older(self) -> None:
        for path in self._newest_first()[KEPT:]:
            if not self.is_permanent(step_of(path)):
                path.unlink()
        whole = {path.stem for path in self._newest_first()}
        for path in self.path.glob("step-*.safetensors"):
            if path.stem not in whole:
                path.unlink()


def remove_rolling(path: Path, permanent_steps: int | None) -> None:
    """Leaves the permanent checkpoints of a training that is done; without one, no folder."""
    folder = CheckpointFolder(path, {}, permanent_steps)
    for file in path.glob("*"):
        if not (file.name.startswith("step-") and folder.is_permanent(step_of(file))):
            file.unlink()
    with suppress(FileNotFoundError, OSError):
        path.rmdir()  # if it is empty


def step_of(path: Path) -> int:
    return int(path.stem.partition("-")[2])


def differences(saved: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    """Keys in which the plans differ, apart from how the same batch is shared out."""
    batches = [values.get("micro_batch_sequences", 0) * values.get("accumulation", 0) for values in (saved, plan)]
    ignored = SHARED_OUT if batches[0] == batches[1] else ()
    keys = sorted(saved.keys() | plan.keys())
    return [key for key in keys if key not in ignored and saved.get(key) != plan.get(key)]


class CheckpointWriter:
    """Writes checkpoints in a thread, one at a time, while training goes on."""

    def __init__(self, folder: CheckpointFolder) -> None:
        self.folder = folder
        self.snapshot = Snapshot()
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self.writing: Future[None] | None = None

    def save(self, tensors: dict[str, Tensor], progress: Progress, prepare: Callable[[], None]) -> None:
        """Takes a copy, and returns; `prepare` is called in the thread before. Waits for the checkpoint before this."""
        self.wait()
        wait_for_copies = self.snapshot.take(tensors)
        progress = Progress(**asdict(progress))

        def write() -> None:
            prepare()
            wait_for_copies()
            self.folder.save(self.snapshot.buffers, progress)

        self.writing = self.thread.submit(write)

    @property
    def is_busy(self) -> bool:
        """Raises what the thread met, such as a full disk."""
        if self.writing is None or not self.writing.done():
            return self.writing is not None
        self.wait()
        return False

    def wait(self) -> None:
        """Until what was given to the thread is on disk. Raises what the thread met."""
        writing, self.writing = self.writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        self.thread.shutdown(wait=True)


class Snapshot:
    """Copies of tensors in the CPU's memory, in buffers that are allocated once."""

    def __init__(self) -> None:
        self.buffers: dict[str, Tensor] = {}

    def take(self, tensors: Mapping[str, Tensor]) -> Callable[[], None]:
        """Starts the copies and returns a function that waits for them.

        On a GPU they are queued behind the step that was made and before the next, and the CPU goes on meanwhile.
        """
        self.buffers = {name: self._buffer(name, tensor) for name, tensor in tensors.items()}
        for name, tensor in tensors.items():
            self.buffers[name].copy_(tensor, non_blocking=True)
        if not any(tensor.is_cuda for tensor in tensors.values()):
            return _nothing
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()
        return copied.synchronize

    def _buffer(self, name: str, tensor: Tensor) -> Tensor:
        found = self.buffers.get(name)
        if found is not None and (found.shape, found.dtype) == (tensor.shape, tensor.dtype):
            return found
        return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)


def _nothing() -> None:
    """There is nothing to wait for."""


def gather_tensors(model: Transformer, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights as `model.<name>`, optimizer state as `optimizer.<key>.<name>`; no copies."""
    tensors = {}
    for name, parameter in model.named_parameters():
        tensors[f"model.{name}"] = parameter.detach()
        for key, value in optimizer.state.get(parameter, {}).items():
            assert "." not in key, key
            tensors[f"optimizer.{key}.{name}"] = value.detach()
    return tensors


def restore_tensors(model: Transformer, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `gather_tensors`; bit by bit, nothing is cast."""
    weights = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    model.load_state_dict(weights, strict=True)
    parameters = dict(model.named_parameters())
    on_device = {
        parameter
        for group in optimizer.param_groups
        for parameter in group["params"]
        if group.get("fused") or group.get("capturable")
    }
    for name in sorted(tensors.keys() - {f"model.{name}" for name in weights}):
        _, key, parameter_name = name.split(".", 2)
        parameter = parameters[parameter_name]
        value = tensors[name].clone()
        counts_on_cpu = value.dim() == 0 and parameter not in on_device  # torch keeps such a count off the GPU
        optimizer.state[parameter][key] = value if counts_on_cpu else value.to(parameter.device)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
