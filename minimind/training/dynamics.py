"""What goes on inside a training: now and then a look at the layers, and always a clock beside the steps.

No look changes a sum of the training or waits for the device: it takes a forward pass of its own over one sequence,
and its values stay on the device until metrics are written. docs/training.md says how to read them.
"""

import math
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from minimind.model.transformer import Transformer, causal_mask, rotate
from minimind.training.flops import flops_per_token, peak_flops
from minimind.training.plan import Plan
from minimind.training.precision import autocast

OBSERVED_EVERY = 20  # steps; the first and the last are observed as well
SAMPLED_WEIGHTS = 65_536  # of a matrix, to see how far a step moves it


class Observer:
    """Looks at a model around a step. Names are `<value>/layer_<two digits>`, and `update_ratio/embedding`."""

    def __init__(self, model: Transformer, plan: Plan) -> None:
        self.model = model
        self.plan = plan
        self.strides = {name: sampling_stride(matrix) for name, matrix in matrices_of(model)}

    def is_due(self, step: int) -> bool:
        """`step` counts from 1."""
        return step in (1, self.plan.steps) or step % OBSERVED_EVERY == 0

    def sampled_weights(self) -> dict[str, Tensor]:
        """Every so-many-th weight of each matrix, copied."""
        return {
            name: matrix.detach().flatten()[:: self.strides[name]].clone() for name, matrix in matrices_of(self.model)
        }

    def observe(self, before: dict[str, Tensor], tokens: Tensor) -> dict[str, Tensor]:
        """Scalars on the model's device: what the step since `before` moved, and a forward pass of `tokens` [1, T]."""
        return self._update_ratios(before) | self._forward_values(tokens)

    def _update_ratios(self, before: dict[str, Tensor]) -> dict[str, Tensor]:
        """|change| / |weights| of each layer's matrices taken together, and of the embedding."""
        moved: dict[str, list[Tensor]] = defaultdict(list)
        whole: dict[str, list[Tensor]] = defaultdict(list)
        after = self.sampled_weights()
        for name, weights in before.items():
            part = part_of(name)
            moved[part].append((after[name] - weights).square().sum() * self.strides[name])
            whole[part].append(weights.square().sum() * self.strides[name])
        return {
            f"update_ratio/{part}": (torch.stack(moved[part]).sum() / torch.stack(whole[part]).sum()).sqrt()
            for part in moved
        }

    @torch.no_grad()
    def _forward_values(self, tokens: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        with (
            torch.compiler.set_stance("force_eager"),  # compiled blocks would not call the hooks
            autocast(self.plan.precision, tokens.device),
            self._hooked(found),
        ):
            logits = self.model(tokens)
        return found | {"output_logit_max": logits.abs().amax().float()}

    @contextmanager
    def _hooked(self, found: dict[str, Tensor]) -> Iterator[None]:
        handles = []
        for number, layer in enumerate(self.model.layers):
            name = f"layer_{number:02}"
            handles += [
                layer.register_forward_hook(layer_hook(name, found)),
                *attention_hooks(layer.self_attn, self.model, name, found),
            ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def layer_hook(name: str, found: dict[str, Tensor]) -> Callable[..., None]:
    """`activation_max`: of the states behind the layer; `contribution`: what it adds, over what it was given (RMS)."""

    def look(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        given, output = arguments[0].float(), output.float()
        found[f"activation_max/{name}"] = output.abs().amax()
        found[f"contribution/{name}"] = (output - given).norm() / given.norm()

    return look


def attention_hooks(attention: Any, model: Transformer, name: str, found: dict[str, Tensor]) -> list[Any]:
    """`attention_logit_max`: the greatest q k / sqrt(D) of a token and one that it may look at."""
    heads: dict[str, Tensor] = {}

    def keep(key: str) -> Callable[..., None]:
        def look(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
            heads[key] = output.float().transpose(1, 2)  # B T H D -> B H T D

        return look

    def look(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        length = heads["q"].shape[2]
        q, k = (rotate(heads[key], model.cosine[:length], model.sine[:length]) for key in ("q", "k"))
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        logits = q @ k.mT / math.sqrt(q.shape[-1])  # B H T T
        found[f"attention_logit_max/{name}"] = logits.masked_fill(
            ~causal_mask(length, 0, logits.device), -math.inf
        ).amax()

    return [
        attention.q_norm.register_forward_hook(keep("q")),
        attention.k_norm.register_forward_hook(keep("k")),
        attention.register_forward_hook(look),
    ]


def matrices_of(model: Transformer) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.dim() == 2)


def part_of(name: str) -> str:
    """`layers.3.mlp.up_proj.weight` is of `layer_03`; what is in no layer is the embedding."""
    words = name.split(".")
    return f"layer_{int(words[1]):02}" if words[0] == "layers" else "embedding"


def sampling_stride(matrix: Tensor) -> int:
    """The least that samples at most SAMPLED_WEIGHTS, and meets every column."""
    stride = -(-matrix.numel() // SAMPLED_WEIGHTS)
    while math.gcd(stride, matrix.shape[1]) != 1:
        stride += 1
    return stride


class Meter:
    """The clock beside the steps: what they cost, by the side of the host, since it was last read or restarted."""

    def __init__(self, plan: Plan, device: torch.device, waited_seconds: Callable[[], float]) -> None:
        """`waited_seconds` says how long training has stood still for its data, all in all."""
        self.device = device
        self.waited_seconds = waited_seconds
        self.flops_per_token = flops_per_token(plan.model)
        self.peak = plan.processes * peak_flops(device, plan.precision)
        self.restart()

    def restart(self) -> None:
        self.started = time.monotonic()
        self.waited_before = self.waited_seconds()

    @property
    def seconds(self) -> float:
        return max(time.monotonic() - self.started, 1e-9)

    def read(self, tokens: int) -> dict[str, float]:
        """`mfu` and `data_stall` are shares; `tokens` were trained on since the clock was started."""
        seconds = self.seconds
        return {
            "mfu": round(tokens / seconds * self.flops_per_token / self.peak, 5),
            "data_stall": round((self.waited_seconds() - self.waited_before) / seconds, 5),
            "peak_memory_bytes": peak_memory(self.device),
        }


def peak_memory(device: torch.device) -> int:
    """Bytes that tensors have taken at the most on a GPU; of the whole process where training runs on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
