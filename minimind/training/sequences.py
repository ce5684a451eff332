"""The order in which training sees the corpus: a function of the seed, so that a resumed run needs only its step.

The corpus is one endless stream of tokens. In each epoch of it every document stands as often as the weight of its
source says, mostly once, in an order drawn from the seed and the epoch's number. The stream is cut into sequences of
`sequence_length` predictions, which overlap by one token, so that each token of an epoch is predicted exactly once; the
sequences of an epoch are drawn in an order of their own, or a long document would fill whole batches. Only the two
orders are in memory; tokens are read from mapped files.
"""

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray

from minimind.shards.reader import ShardReader


@dataclass(frozen=True)
class Epoch:
    documents: NDArray[np.int64]  # numbers, in the order of this epoch; one that occurs twice stands here twice
    starts: NDArray[np.int64]  # position in the epoch where each begins
    first_sequence: int
    sequences: NDArray[np.int64]  # numbers over all epochs, in the order of training


class Sequences:
    def __init__(self, shards: ShardReader, sequence_length: int, seed: int) -> None:
        self.sequence_length = sequence_length
        self.seed = seed
        self.tokens = shards.tokens  # in an epoch
        self._flats = [shards.flat(file) for file in range(shards.files)]
        self._offsets = [shards.offsets(file) for file in range(shards.files)]
        self._first_documents = list(accumulate((len(offsets) - 1 for offsets in self._offsets), initial=0))
        self._lengths = shards.lengths
        self._occurrences = shards.occurrences
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)  # a sequence may reach into the next epoch

    def batch(self, first: int, sequences: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets, int64 [sequences, sequence_length], of the sequences trained from the `first`-th on."""
        rows = torch.empty(sequences, self.sequence_length + 1, dtype=torch.int64)
        array = rows.numpy()
        for row in range(sequences):
            self._read(self._number(first + row) * self.sequence_length, array[row])
        return rows[:, :-1], rows[:, 1:]

    def _number(self, trained: int) -> int:
        """Which sequence of the stream is trained after `trained` others; it begins in the same epoch."""
        epoch = self._epoch(trained * self.sequence_length // self.tokens)
        return int(epoch.sequences[trained - epoch.first_sequence])

    def _draw_epoch(self, number: int) -> Epoch:
        drawn = np.random.default_rng([self.seed, number, 0]).permutation(self._occurrences.sum())
        documents = spread(drawn, self._occurrences)
        ends = np.cumsum(self._lengths[documents])
        first = -(-number * self.tokens // self.sequence_length)  # the first that begins in this epoch
        after = -(-(number + 1) * self.tokens // self.sequence_length)
        order = np.random.default_rng([self.seed, number, 1]).permutation(after - first)
        return Epoch(documents, ends - self._lengths[documents], first, first + order)

    def _read(self, position: int, out: NDArray[np.int64]) -> None:
        """Fills `out` with the stream's tokens from `position` on."""
        filled = 0
        while filled < len(out):
            number, within = divmod(position + filled, self.tokens)
            epoch = self._epoch(number)
            place = int(np.searchsorted(epoch.starts, within, side="right")) - 1
            while filled < len(out) and place < len(epoch.documents):
                tokens = self._document(int(epoch.documents[place]))
                piece = tokens[within - epoch.starts[place] :][: len(out) - filled]
                out[filled : filled + len(piece)] = piece
                filled += len(piece)
                within += len(piece)
                place += 1

    def _document(self, number: int) -> NDArray[np.integer]:
        file = bisect_right(self._first_documents, number) - 1
        row = number - self._first_documents[file]
        return self._flats[file][self._offsets[file][row] : self._offsets[file][row + 1]]


def spread(drawn: NDArray[np.int64], occurrences: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of documents in the order of an epoch, each as often as it occurs; `drawn` permutes the epoch's places.

    A document that occurs k times stands once in each k-th of the epoch, at the same drawn place within it: copies
    lie a k-th of the epoch apart, and never side by side as long as others are there to stand between them.
    """
    documents = np.repeat(np.arange(len(occurrences)), occurrences)
    first = (np.cumsum(occurrences) - occurrences)[documents]  # entry of the same document's first occurrence
    copy = np.arange(len(documents)) - first
    place = np.argsort(drawn)
    position = (place[first] + copy * len(documents)) / occurrences[documents]
    return documents[np.argsort(position, kind="stable")]
