"""The plan: everything that moves a sum. The same plan gives the same weights on the same kind of machine.

The training process knows nothing but its plan, so this module imports neither config nor store.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict

from minimind.errors import TrainingError
from minimind.model.transformer import ModelConfig
from minimind.training.device import hardware_name
from minimind.training.optimizer import OptimizerSettings


class Plan(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelConfig
    zero_output_projections: bool
    steps: int  # of the optimizer
    sequence_length: int  # tokens
    micro_batch_sequences: int
    accumulation: int  # micro-batches in a step, over all processes
    processes: int  # that share them
    document_mask: bool
    z_loss: float
    optimizer: OptimizerSettings
    evaluations: int
    evaluation_windows: int  # of sequence_length predictions, spread evenly over the holdout
    seed: int
    device: Literal["cpu", "cuda"]
    hardware: str  # a CPU's instruction set, as torch uses it, or the GPU's name
    threads: int | None  # None on a GPU
    precision: Literal["fp32", "bf16", "fp16"]
    max_gradient_growth: float  # of a step that is taken, over the usual norm
    compiled: bool
    torch: str
    shards: dict[str, str]  # file name -> sha256
    start: dict[str, str] = {}  # the same of the model that training starts from; none: weights drawn from the seed

    @property
    def batch_tokens(self) -> int:
        return self.sequence_length * self.micro_batch_sequences * self.accumulation

    @property
    def batch_sequences(self) -> int:
        return self.micro_batch_sequences * self.accumulation

    @property
    def tokens(self) -> int:
        return self.steps * self.batch_tokens

    @property
    def evaluation_steps(self) -> frozenset[int]:
        """After how many steps the holdout is scored: evenly spread, the last step included."""
        return frozenset(-(-self.steps * (number + 1) // self.evaluations) for number in range(self.evaluations))

    @property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.as_json(), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Plan":
        return cls.model_validate_json(path.read_bytes())

    def check_machine(self) -> None:
        """Raises TrainingError where this machine would give other sums than the plan promises."""
        device = torch.device(self.device)
        here = {"torch": torch.__version__, "hardware": hardware_name(device)}
        planned = {"torch": self.torch, "hardware": self.hardware}
        if here != planned:
            raise TrainingError(f"the plan was made for {planned}, this process found {here}; plan anew")


class Options(BaseModel):
    """What the process needs besides its plan, and no sum depends on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shards: Path  # the folder
    checkpoint_seconds: float
    permanent_checkpoint_steps: int | None
    max_skipped_steps: int
    compile_cache: Path | None = None  # a folder
    start: Path | None = None  # the folder of the model that training starts from

    def write(self, path: Path) -> None:
        path.write_text(self.model_dump_json())

    @classmethod
    def read(cls, path: Path) -> "Options":
        return cls.model_validate_json(path.read_bytes())
