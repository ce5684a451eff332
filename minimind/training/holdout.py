"""The holdout as training watches it: windows spread evenly over all of it, the same at every evaluation."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from minimind.model.bits_per_byte import bits_per_byte, document_nats
from minimind.model.transformer import Transformer
from minimind.shards.reader import ShardReader, token_bytes
from minimind.training.world import ALONE, World


class Holdout:
    def __init__(self, shards: Path, sequence_length: int, windows: int, batch_sequences: int) -> None:
        """`windows` of all that the holdout has; longest first, so that a batch holds little padding."""
        reader = ShardReader(shards, "holdout")
        places = holdout_windows(reader, sequence_length)
        chosen = [places[number * len(places) // windows] for number in range(windows)]
        chosen.sort(key=lambda place: (place[1] - place[2], place))
        self.windows = [reader.document(document)[start:end] for document, start, end in chosen]
        self.tokens = sum(len(window) - 1 for window in self.windows)
        lengths = token_bytes(shards)
        self.bytes = sum(int(lengths[window[1:]].sum(dtype=np.int64)) for window in self.windows)
        self.sequence_length = sequence_length
        self.batch_sequences = batch_sequences

    def score(self, model: Transformer, check: Callable[[], None], world: World = ALONE) -> dict[str, float]:
        """`holdout_loss` in nats per token and `holdout_bits_per_byte`; `check` is called between batches.

        Several processes take turns with the batches; each gets the score over all.
        """
        own = 0.0
        for turn in range(0, len(self.windows), self.batch_sequences * world.count):
            check()
            first = turn + self.batch_sequences * world.rank
            if windows := self.windows[first : first + self.batch_sequences]:
                own += self._batch_nats(model, windows)
        nats = world.sum(torch.tensor(own, dtype=torch.float64)).item()
        return {"holdout_loss": nats / self.tokens, "holdout_bits_per_byte": bits_per_byte(nats, self.bytes)}

    def _batch_nats(self, model: Transformer, windows: list[NDArray[np.integer]]) -> float:
        batch_tokens = self.batch_sequences * self.sequence_length
        scores = document_nats(model, windows, window_tokens=self.sequence_length, batch_tokens=batch_tokens)
        return float(scores.sum())


def holdout_windows(reader: ShardReader, sequence_length: int) -> list[tuple[int, int, int]]:
    """All windows (document, first token, end), each of at most `sequence_length` predictions."""
    return [
        (number, start, min(start + sequence_length + 1, length))
        for number, length in enumerate(document_lengths(reader))
        for start in range(0, length - 1, sequence_length)
    ]


def document_lengths(reader: ShardReader) -> list[int]:
    """Tokens of each document."""
    return [length for file in range(reader.files) for length in np.diff(reader.offsets(file)).tolist()]
