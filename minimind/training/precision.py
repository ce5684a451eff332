"""In which precision the products are computed. Weights, gradients and optimizer state stay fp32."""

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from minimind.errors import DeviceError

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16", "fp16"]


def choose_precision(demanded: Literal["auto", "fp32", "bf16", "fp16"], device: torch.device) -> Precision:
    """The demanded precision; `auto` is the fastest that is sure to train as well. The log says why.

    On a GPU bf16 where it has it, else fp16 with a scaled loss. On a CPU fp32, and bf16 only with AMX: other
    processors convert back and forth. Raises DeviceError for a precision that the device lacks.
    """
    chosen, why = (_on_cpu if device.type == "cpu" else _on_gpu)(demanded, device)
    logger.info("training: precision %s: %s", chosen, why if demanded == "auto" else "training.precision says so")
    return chosen


def _on_gpu(demanded: str, device: torch.device) -> tuple[Precision, str]:
    name = torch.cuda.get_device_name(device)
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    if demanded == "bf16" and not has_bf16:
        raise DeviceError(f"training.precision is bf16, which {name} lacks; set it to auto or fp16")
    if demanded == "fp32":
        return "fp32", ""
    if demanded == "fp16" or not has_bf16:
        return "fp16", f"{name} has no bf16; losses are scaled"
    return "bf16", f"{name} has it"


def _on_cpu(demanded: str, device: torch.device) -> tuple[Precision, str]:
    if demanded == "fp16":
        raise DeviceError(
            "training.precision is fp16, which is for GPUs without bf16, but training runs on the CPU; "
            "set training.precision to auto or fp32"
        )
    if demanded == "bf16" or (demanded == "auto" and cpu_has_amx()):
        return "bf16", "this CPU has AMX"
    return "fp32", "this CPU has no AMX, without which bf16 is slower than fp32"


def cpu_has_amx() -> bool:
    """Whether matrix products in bf16 have instructions of their own, and torch uses them (through oneDNN)."""
    return bool(torch.backends.mkldnn.is_available() and torch.cpu._is_amx_tile_supported())  # type: ignore[no-untyped-call]


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)


def make_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Scales losses up, so that small gradients survive fp16; does nothing in other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
