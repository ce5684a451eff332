"""torch.compile, by block: all layers have one shape, so that one layer is compiled and serves for all."""

import logging
import os
from pathlib import Path
from typing import Literal

import torch

from minimind.model.transformer import Transformer

logger = logging.getLogger(__name__)


def choose_compilation(demanded: Literal["auto"] | bool, device: torch.device) -> bool:
    """Whether blocks are compiled; `auto`: on a GPU."""
    return device.type == "cuda" if demanded == "auto" else demanded


def use_compile_cache(folder: Path) -> None:
    """What is compiled from now on is kept in `folder`, Triton's kernels included, and found there by the next process.

    torch keys it by code, shapes, its own version and the GPU. A choice of the environment is left alone.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))
    logger.debug("compiled code is kept in %s", os.environ["TORCHINDUCTOR_CACHE_DIR"])


def compile_blocks(model: Transformer) -> None:
    """In place; names of parameters stay. The shapes of training are static, so none is compiled for any other."""
    for block in (*model.layers, model.norm):
        block.compile(dynamic=False)
