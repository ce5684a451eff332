"""How fast the model writes on this device, and what memory it takes."""

import time
from collections.abc import Callable

import torch

from minimind.model.generate import ROWS, generate, stream
from minimind.model.transformer import Transformer
from minimind.training.dynamics import peak_memory

REPEATS = 3  # of the time to the first token; the median counts


def measure_speed(model: Transformer, tokens: int) -> dict[str, float]:
    """Seconds to the first token behind half a window of text, tokens per second one text at a time and 32 at once.

    Nothing ends a text here. Memory is the highest of the process so far, or on a GPU that of torch; of another device
    or beside other programs all of it differs.
    """
    prompt = [5 + place % 200 for place in range(max(1, model.config.max_positions // 2))]  # any text costs the same
    waits = sorted(_seconds(lambda: _written(model, prompt, 1)) for _ in range(REPEATS))
    one = _seconds(lambda: _written(model, prompt[:1], tokens))
    many = _seconds(
        lambda: generate(
            model, [prompt[:1]] * ROWS, max_new_tokens=tokens, temperature=0.8, top_p=0.95, seeds=range(ROWS),
            stop_tokens=(),
        )
    )  # fmt: skip
    return {
        "first_token_seconds": waits[REPEATS // 2],
        "generated_tokens_per_second": tokens / one,
        "batched_tokens_per_second": ROWS * tokens / many,
        "weights_bytes": sum(parameter.nbytes for parameter in model.parameters()),
        "generation_memory_bytes": peak_memory(model.device),
    }


def _written(model: Transformer, prompt: list[int], tokens: int) -> list[int]:
    return list(stream(model, prompt, max_new_tokens=tokens, temperature=0.8, top_p=0.95, seed=0, stop_tokens=()))


def _seconds(work: Callable[[], object]) -> float:
    _wait()
    started = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - started


def _wait() -> None:
    """For what a GPU still has to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
