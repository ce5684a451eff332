"""Rows as the reference makes them: one passage each, filled up with padding."""

import numpy as np
import torch
from torch import Tensor

from minimind.model.bits_per_byte import IGNORED
from minimind.shards.reader import ShardReader
from minimind.training.attention import END_OF_TEXT
from minimind.training.holdout import document_lengths


class Passages:
    """Stands in for `minimind.training.sequences.Sequences`.

    Documents are cut into passages of at most `length` predictions that overlap by one token, so that each token is
    predicted once an epoch; the last passage of a document also predicts its end. Padding is behind the text, where a
    causal model never looks at it; its targets do not count. Each epoch has an order of its own.
    """

    def __init__(self, shards: ShardReader, length: int, seed: int) -> None:
        self.shards, self.length, self.seed = shards, length, seed
        self.places = np.array(
            [
                (document, start)
                for document, tokens in enumerate(document_lengths(shards))
                for start in range(0, tokens, length)
            ]
        )
        self.mean_predicted = float(
            np.mean([min(length, shards.lengths[document] - start) for document, start in self.places])
        )

    def batch(self, first: int, sequences: int) -> tuple[Tensor, Tensor]:
        inputs = torch.full((sequences, self.length), END_OF_TEXT)
        targets = torch.full((sequences, self.length), IGNORED)
        for row in range(sequences):
            document, start = self.places[self._number(first + row)]
            tokens = np.append(self.shards.document(document), END_OF_TEXT)[start : start + self.length + 1]
            passage = torch.from_numpy(tokens.astype(np.int64))
            inputs[row, : len(passage) - 1] = passage[:-1]
            targets[row, : len(passage) - 1] = passage[1:]
        return inputs, targets

    def _number(self, trained: int) -> int:
        epoch, place = divmod(trained, len(self.places))
        if getattr(self, "_drawn", (None,))[0] != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.places))
            self._drawn = epoch, order
        return int(self._drawn[1][place])
