"""How many bits a model needs for a byte of text.

Nats per token depend on the tokenizer: fewer, longer tokens cost more each. Bits per byte of the text do not, so
models with different vocabularies can be compared, with each other and with a compressor.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from minimind.model.transformer import Transformer

IGNORED = -100  # a target that is padding


def bits_per_byte(nats: float, text_bytes: float) -> float:
    return nats / math.log(2) / text_bytes


def document_nats(
    model: Transformer,
    documents: Sequence[npt.NDArray[np.integer]],
    *,
    window_tokens: int,
    batch_tokens: int,
    stride_tokens: int | None = None,
) -> npt.NDArray[np.float64]:
    """Nats per document: -ln p summed over all its tokens but the first, which is given (each begins with token 0).

    Windows as in `token_nats`.
    """
    found = token_nats(
        model, documents, window_tokens=window_tokens, batch_tokens=batch_tokens, stride_tokens=stride_tokens
    )
    return np.array([nats.sum() for nats in found], dtype=np.float64)


def token_nats(
    model: Transformer,
    documents: Sequence[npt.NDArray[np.integer]],
    *,
    window_tokens: int,
    batch_tokens: int,
    stride_tokens: int | None = None,
) -> list[npt.NDArray[np.float64]]:
    """-ln p of every token of each document but the first.

    A long document is read in windows of `window_tokens` predictions, each `stride_tokens` further on (None: a whole
    window), and of each only those predictions count that no earlier window has made: no token is skipped or scored
    twice, and none but those of the first window knows fewer than `window_tokens - stride_tokens` tokens before it.
    About `batch_tokens` tokens, padding included, are computed at once.
    """
    window_tokens = min(window_tokens, model.config.max_positions)
    stride_tokens = min(stride_tokens or window_tokens, window_tokens)
    nats = [np.zeros(len(document) - 1) for document in documents]
    for windows in _batches(documents, window_tokens, stride_tokens, batch_tokens):
        scores = _window_nats(model, [documents[window.document][window.start : window.end + 1] for window in windows])
        for window, score in zip(windows, scores, strict=True):
            score = score[: window.end - window.start]
            nats[window.document][window.scored : window.end] = score[window.scored - window.start :]
    return nats


class _Window(NamedTuple):
    document: int
    start: int  # its first input
    scored: int  # the input whose prediction is the first that counts
    end: int  # its last target


def _batches(
    documents: Sequence[npt.NDArray[np.integer]], window_tokens: int, stride_tokens: int, batch_tokens: int
) -> Iterator[list[_Window]]:
    """Windows, longest first, so that a batch holds little padding."""
    windows = []
    for number, tokens in enumerate(documents):
        scored = 0
        for start in range(0, len(tokens) - 1, stride_tokens):
            end = min(start + window_tokens, len(tokens) - 1)
            if end > scored:
                windows.append(_Window(number, start, scored, end))
                scored = end
    windows.sort(key=lambda window: (window.start - window.end, window))
    first = 0
    while first < len(windows):
        rows = max(1, batch_tokens // (windows[first].end - windows[first].start))
        yield windows[first : first + rows]
        first += rows


@torch.inference_mode()
def _window_nats(model: Transformer, windows: Sequence[npt.NDArray[np.integer]]) -> npt.NDArray[np.float64]:
    """-ln p [windows, predictions], each token after the first predicted from those before it; 0 for padding."""
    width = max(len(window) for window in windows) - 1
    inputs = torch.zeros(len(windows), width, dtype=torch.int64)
    targets = torch.full((len(windows), width), IGNORED)
    for row, window in enumerate(windows):
        tokens = torch.from_numpy(window.astype(np.int64))
        inputs[row, : len(window) - 1] = tokens[:-1]
        targets[row, : len(window) - 1] = tokens[1:]
    logits = model(inputs.to(model.device)).float()  # B T V
    losses = F.cross_entropy(
        logits.flatten(0, 1), targets.to(model.device).flatten(), ignore_index=IGNORED, reduction="none"
    )
    scores: npt.NDArray[np.float64] = losses.view_as(targets).double().cpu().numpy()
    return scores
