"""In which precision the products are computed. Weights, gradients and optimizer state stay fp32."""

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from minimind.errors import DeviceError

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16", "fp16"]


def choose_precision(demanded: Literal["auto", "fp32", "bf16", "fp16"], device: torch.device) -> Precision:
    """The demanded precision; `auto` is bf16 on a GPU that has it, fp16 on an older one, fp32 on a CPU.

    Raises DeviceError for one that the device lacks.
    """
    if device.type == "cpu":
        return _choose_on_cpu(demanded)
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    if demanded == "bf16" and not has_bf16:
        raise DeviceError(
            f"training.precision is bf16, which {torch.cuda.get_device_name(device)} lacks; set it to auto or fp16"
        )
    if demanded != "auto":
        return demanded
    return "bf16" if has_bf16 else "fp16"


def _choose_on_cpu(demanded: Literal["auto", "fp32", "bf16", "fp16"]) -> Precision:
    if demanded == "fp16":
        raise DeviceError(
            "training.precision is fp16, which is for GPUs without bf16, but training runs on the CPU; "
            "set training.precision to auto or fp32"
        )
    if demanded == "auto":
        logger.debug("precision fp32: on a CPU, bf16 is used only where the YAML asks for it")
        return "fp32"
    return demanded


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)


def make_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Scales losses up, so that small gradients survive fp16; does nothing in other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
