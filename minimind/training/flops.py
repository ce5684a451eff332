"""How much arithmetic training takes, and how much a device can do: what model FLOPs utilisation is made of."""

import logging
import re
import time
from functools import cache

import torch

from minimind.model.transformer import ModelConfig
from minimind.training.precision import Precision

logger = logging.getLogger(__name__)

# Dense products of 16-bit floats summed in 32 bits, FLOP/s, by the name that the driver gives; the makers' data sheets.
PEAKS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10G": 70e12,
    "V100": 125e12,
    "T4": 65e12,
    "RTX 4090": 165e12,
    "RTX 3090 Ti": 80e12,
    "RTX 3090": 71e12,
}


def flops_per_token(config: ModelConfig) -> float:
    """Floating-point operations that training on one token takes, at the full sequence length.

    6 N + 6 L H D T: two for each weight of the N in matrices forward, and twice that backward (the embedding counts
    once, for the product with which it ends the model; looking tokens up counts nothing); and for attention, of T keys
    half on average, as it is causal. (Chowdhery et al. 2022, appendix B, has 12 L H D T: it counts all T.)
    """
    hidden, queries = config.hidden_size, config.heads * config.head_size
    keys = config.kv_heads * config.head_size
    in_layer = hidden * (2 * queries + 2 * keys) + 3 * hidden * config.intermediate_size
    weights = config.layers * in_layer + config.vocabulary_size * hidden
    return 6 * weights + 6 * config.layers * queries * config.max_positions


def peak_flops(device: torch.device, precision: Precision) -> float:
    """FLOP/s of one device at the most: of PEAKS for a known GPU in 16 bits, else of a product measured now."""
    return listed_flops(device, precision) or measured_flops(device, precision, torch.get_num_threads())


def listed_flops(device: torch.device, precision: Precision) -> float | None:
    """Of PEAKS; None for a device that is not there, and for fp32."""
    if device.type == "cuda" and precision != "fp32":
        name = torch.cuda.get_device_name(device)
        for known, peak in PEAKS.items():
            if re.search(rf"\b{known}\b(?! (Ti|D|Laptop))", name):
                return peak
    return None


@cache
def measured_flops(device: torch.device, precision: Precision, threads: int) -> float:
    """FLOP/s of a square product, the best of thirty, since a clock rises first and threads may be interrupted.

    Of random values: a GPU multiplies ones with less power, and so faster than any it is trained on.
    """
    size = 8192 if device.type == "cuda" else 512
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    generator = torch.Generator(device).manual_seed(1)
    matrix = torch.randn(size, size, generator=generator, device=device).to(dtype)
    best = float("inf")
    for _ in range(30):
        started = time.perf_counter()
        product = matrix @ matrix
        product[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - started)
    logger.info("one %s does %.3g TFLOP/s in %s, measured", device.type, 2 * size**3 / best / 1e12, precision)
    return 2 * size**3 / best
