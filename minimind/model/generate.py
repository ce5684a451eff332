"""Text from a model, token by token, with a key and value cache; many prompts at once, or one as it is drawn."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from minimind.model.transformer import STOP_TOKENS, KeyValueCache, Transformer

ROWS = 32  # prompts that are continued at once
LIKELIEST = 256  # tokens that are sorted first: mostly the nucleus is among them


@dataclass
class Generation:
    tokens: list[int] = field(default_factory=list)
    # ln p of each token, as the model has it: whatever the temperature; empty unless asked for
    log_probabilities: list[float] = field(default_factory=list)
    ended: bool = False  # before a stop token, or where `ends` said so


class Draw(NamedTuple):
    prompt: int  # which one
    token: int | None  # None: a stop token, and the end
    log_probability: float


@dataclass
class _Row:
    """A prompt that is being continued in one row of the cache."""

    prompt: int
    history: list[int]
    generator: torch.Generator
    left: int  # tokens that it may still get


def generate(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seeds: Sequence[int],
    stop_tokens: Sequence[int] = STOP_TOKENS,
    ends: Callable[[Sequence[int]], bool] = lambda tokens: False,
    log_probabilities: bool = False,
    rows: int = ROWS,
) -> list[Generation]:
    """A continuation of each prompt, drawn by its own seed: the tokens that `stream` yields for it alone.

    `rows` of them are in the cache at a time, and a prompt that is done makes room for the next. `ends` is asked after
    each token, with all new tokens of that prompt, whether this was the last. Equal to drawing one by one as far as a
    product of matrices does not depend on their number of rows, which differs in the last bits.
    """
    if len(seeds) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts need as many seeds, {len(seeds)} were given")
    made = [Generation() for _ in prompts]

    def is_over(prompt: int) -> bool:
        made[prompt].ended = ends(made[prompt].tokens)
        return made[prompt].ended

    decoding = _decode(
        model, prompts, seeds, max_new_tokens, temperature, top_p, stop_tokens, log_probabilities, rows, is_over
    )
    for draw in decoding:
        generation = made[draw.prompt]
        if draw.token is None:
            generation.ended = True
        else:
            generation.tokens.append(draw.token)
            if log_probabilities:
                generation.log_probabilities.append(draw.log_probability)
    return made


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
    draws = _decode(
        model, [prompt], [seed], max_new_tokens, temperature, top_p, stop_tokens, False, 1, lambda prompt: False
    )
    for draw in draws:
        if draw.token is not None:
            yield draw.token


def choose(logits: Tensor, temperature: float, top_p: float, chances: Tensor) -> Tensor:
    """Token ids int64 [B] from logits [B, V]: from the smallest set of likeliest tokens with probability `top_p`.

    Nucleus sampling (Holtzman et al. 2019). `chances` [B], uniform from 0 to 1, say where in that set, by its
    cumulated probabilities from the likeliest on. Temperature 0 takes the likeliest, and so does one that
    fp32 cannot hold.
    """
    if temperature < torch.finfo(torch.float32).tiny:
        return logits.argmax(dim=-1)
    scaled = (logits - logits.max(dim=-1, keepdim=True).values) / temperature
    probabilities = torch.softmax(scaled, dim=-1)
    likeliest = min(LIKELIEST, logits.shape[-1])
    drawn, enough = _draw(*probabilities.topk(likeliest, dim=-1), top_p, chances)
    if likeliest < logits.shape[-1] and not bool(enough.all()):  # a flat distribution
        everything = _draw(*probabilities.sort(dim=-1, descending=True, stable=True), top_p, chances)[0]
        drawn = torch.where(enough, drawn, everything)
    return drawn


def _draw(probabilities: Tensor, ids: Tensor, top_p: float, chances: Tensor) -> tuple[Tensor, Tensor]:
    """The drawn ids [B], and whether these probabilities, likeliest first, hold the whole nucleus [B]."""
    summed = probabilities.double().cumsum(dim=-1)  # B k
    kept = (summed - probabilities < top_p).sum(dim=-1, keepdim=True)
    within = summed.gather(-1, kept - 1)
    places = torch.searchsorted(summed, chances[:, None].double() * within, right=True)
    return ids.gather(-1, torch.minimum(places, kept - 1)).squeeze(-1), summed[:, -1] >= top_p


def _decode(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    stop_tokens: Sequence[int],
    log_probabilities: bool,
    rows: int,
    is_over: Callable[[int], bool],
) -> Iterator[Draw]:
    """Every token as it is drawn, the prompts in turn; what is drawn for one does not depend on the others."""
    if not all(prompts):
        raise ValueError("the prompt is empty; a document begins with token 0")
    if max_new_tokens < 1:
        return
    window = model.config.max_positions
    capacity = min(window, max(map(len, prompts), default=0) + max_new_tokens)
    waiting = deque(
        _Row(number, list(prompt)[-window:], torch.Generator().manual_seed(seed), max_new_tokens)
        for number, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True))
    )
    batch = [waiting.popleft() for _ in range(min(rows, len(waiting)))]
    cache = KeyValueCache(model.config, len(batch), model.device, model.embed_tokens.weight.dtype, capacity)
    _load(model, cache, range(len(batch)), [row.history[:-1] for row in batch])
    while batch:
        full = [place for place, length in enumerate(cache.lengths) if length == window]
        _load(model, cache, full, [batch[place].history[-(window // 2) : -1] for place in full])
        logits = _next_logits(model, [row.history[-1] for row in batch], cache)
        chances = torch.stack([torch.rand((), generator=row.generator) for row in batch])
        chosen = choose(logits, temperature, top_p, chances)
        scores = _log_probabilities(logits, chosen) if log_probabilities else [0.0] * len(batch)
        done = []
        for place, (row, token, score) in enumerate(zip(batch, chosen.tolist(), scores, strict=True)):
            if token in stop_tokens:
                yield Draw(row.prompt, None, score)
                done.append(place)
                continue
            row.history.append(token)
            row.left -= 1
            yield Draw(row.prompt, token, score)
            if is_over(row.prompt) or row.left == 0:
                done.append(place)
        _replace(model, cache, batch, done, waiting)


def _replace(
    model: Transformer, cache: KeyValueCache, batch: list[_Row], done: Sequence[int], waiting: deque[_Row]
) -> None:
    """Puts waiting prompts into the rows of those that are done; rows for which none is left are dropped."""
    filled = list(done)[: len(waiting)]
    for place in filled:
        batch[place] = waiting.popleft()
    _load(model, cache, filled, [batch[place].history[:-1] for place in filled])
    dropped = set(done) - set(filled)
    if dropped:
        kept = [place for place in range(len(batch)) if place not in dropped]
        batch[:] = [batch[place] for place in kept]
        if kept:
            cache.keep(kept)


@torch.inference_mode()
def _load(model: Transformer, cache: KeyValueCache, places: Sequence[int], tokens: Sequence[Sequence[int]]) -> None:
    """Fills rows of the cache anew. Shorter ones are padded at their end, where no token before it looks."""
    if not places:
        return
    lengths = [len(row) for row in tokens]
    if width := max(lengths):
        padded = torch.tensor([[*row, *[0] * (width - len(row))] for row in tokens], device=model.device)
        fresh = KeyValueCache(model.config, len(places), model.device, cache.keys[0].dtype, width)
        model.hidden_states(padded, fresh)
        cache.put(places, fresh, lengths)
    else:
        for place in places:
            cache.lengths[place] = 0


@torch.inference_mode()
def _next_logits(model: Transformer, tokens: Sequence[int], cache: KeyValueCache) -> Tensor:
    """Logits [B, V] after one more token a row, fp32 on the CPU, where the draw is made: the same for every device."""
    states = model.hidden_states(torch.tensor(tokens, device=model.device)[:, None], cache)  # B 1 C
    return model.logits(states[:, -1]).float().cpu()


def _log_probabilities(logits: Tensor, chosen: Tensor) -> list[float]:
    scores: list[float] = torch.log_softmax(logits.double(), dim=-1).gather(-1, chosen[:, None])[:, 0].tolist()
    return scores
