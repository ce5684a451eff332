"""Text from a model, token by token, with a key and value cache."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from minimind.model.transformer import STOP_TOKENS, KeyValueCache, Transformer


def stream(
    model: Transformer,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    stop_tokens: Sequence[int] = STOP_TOKENS,
) -> Iterator[int]:
    """Yields up to `max_new_tokens` token ids that continue `prompt`; ends before a stop token, which is not yielded.

    Temperature 0 takes the likeliest token. The same seed gives the same ids on the same kind of machine.

    No position beyond `max_positions` was seen in training, so none is ever used: when the cache is full (or the
    prompt too long), the oldest tokens are forgotten, and the newest half of the window is computed anew from
    position 0. Each token is therefore chosen knowing the last `max_positions / 2` to `max_positions` tokens.
    """
    if not prompt:
        raise ValueError("the prompt is empty; a document begins with token 0")
    window = model.config.max_positions
    generator = torch.Generator().manual_seed(seed)
    history = list(prompt)
    logits, cache = _begin(model, history[-window:])
    for _ in range(max_new_tokens):
        token = choose(logits, temperature, top_p, generator)
        if token in stop_tokens:
            return
        yield token
        history.append(token)
        if cache.length == window:
            logits, cache = _begin(model, history[-(window // 2) :])
        else:
            logits = _next_logits(model, [token], cache)


def choose(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> int:
    """A token id drawn from the smallest set of likeliest tokens with probability `top_p` (Holtzman et al. 2019)."""
    if temperature == 0:
        return int(logits.argmax())
    probabilities, ids = torch.softmax((logits - logits.max()) / temperature, dim=-1).sort(descending=True, stable=True)
    probabilities[probabilities.cumsum(0) - probabilities >= top_p] = 0.0
    return int(ids[torch.multinomial(probabilities, 1, generator=generator)])


def _begin(model: Transformer, tokens: Sequence[int]) -> tuple[Tensor, KeyValueCache]:
    cache = KeyValueCache(model.config, 1, model.device, model.embed_tokens.weight.dtype)
    return _next_logits(model, tokens, cache), cache


@torch.inference_mode()
def _next_logits(model: Transformer, tokens: Sequence[int], cache: KeyValueCache) -> Tensor:
    """Logits [V] after `tokens`, fp32 on the CPU, where the draw is made: the same for every device."""
    states = model.hidden_states(torch.tensor([tokens], device=model.device), cache)  # 1 T C
    return model.logits(states[0, -1]).float().cpu()
