"""How many bits a model needs for a byte of text.

Nats per token depend on the tokenizer: fewer, longer tokens cost more each. Bits per byte of the text do not, so
models with different vocabularies can be compared, with each other and with a compressor.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from minimind.model.transformer import Transformer

IGNORED = -100  # a target that is padding


def bits_per_byte(nats: float, text_bytes: float) -> float:
    return nats / math.log(2) / text_bytes


def document_nats(
    model: Transformer, documents: Sequence[npt.NDArray[np.integer]], *, window_tokens: int, batch_tokens: int
) -> npt.NDArray[np.float64]:
    """Nats per document: -ln p summed over all its tokens but the first, which is given (each begins with token 0).

    A long document is cut into windows of `window_tokens` predictions. Each window begins with the last token of the
    one before and sees nothing earlier, so no token is skipped or scored twice. About `batch_tokens` tokens, padding
    included, are computed at once.
    """
    nats = np.zeros(len(documents))
    for windows in _batches(documents, min(window_tokens, model.config.max_positions), batch_tokens):
        scores = _window_nats(model, [documents[index][start : end + 1] for index, start, end in windows])
        np.add.at(nats, [index for index, _, _ in windows], scores)
    return nats


def _batches(
    documents: Sequence[npt.NDArray[np.integer]], window_tokens: int, batch_tokens: int
) -> Iterator[list[tuple[int, int, int]]]:
    """Windows as (document, first input, last target), longest first, so that a batch holds little padding."""
    windows = [
        (index, start, min(start + window_tokens, len(tokens) - 1))
        for index, tokens in enumerate(documents)
        for start in range(0, len(tokens) - 1, window_tokens)
    ]
    windows.sort(key=lambda window: (window[1] - window[2], window))
    first = 0
    while first < len(windows):
        _, start, end = windows[first]
        rows = max(1, batch_tokens // (end - start))
        yield windows[first : first + rows]
        first += rows


@torch.inference_mode()
def _window_nats(model: Transformer, windows: Sequence[npt.NDArray[np.integer]]) -> npt.NDArray[np.float64]:
    """Nats per window, each token after the first predicted from those before it in the window."""
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
    scores: npt.NDArray[np.float64] = losses.view_as(targets).double().sum(dim=1).cpu().numpy()
    return scores
