from itertools import pairwise

import numpy as np
import pytest
from small import make_documents

from minimind.shards.reader import ShardReader
from minimind.training.sequences import Sequences


def targets_of(sequences, first, count):
    return sequences.batch(first, count)[1].numpy()


def numbered_documents(lengths):
    """Documents of which every token but the leading 0 is another number."""
    ends = np.cumsum(lengths)
    return [np.r_[0, np.arange(end - length, end) + 1] for length, end in zip(lengths, ends, strict=True)]


@pytest.mark.parametrize("cut", [1, 3, 6])
def test_each_token_is_predicted_exactly_once_an_epoch(shards_folder, cut):
    documents = numbered_documents([5, 1, 30, 7, 2, 8, 4])  # 57 numbers and 7 zeros: 64 tokens, 8 sequences of 8
    reader = ShardReader(shards_folder(documents[:cut], documents[cut:]), "train")
    sequences = Sequences(reader, 8, seed=3)
    for epoch in range(3):
        predicted = targets_of(sequences, epoch * 8, 8).ravel()
        assert sorted(predicted) == sorted(np.concatenate(documents))


def test_epochs_that_end_within_a_sequence_lose_no_token(shards_folder):
    documents = numbered_documents([5, 1, 30, 7, 2, 8])  # 59 tokens: 8 epochs are 59 sequences of 8
    sequences = Sequences(ShardReader(shards_folder(documents), "train"), 8, seed=3)
    predicted = targets_of(sequences, 0, 59).ravel()
    assert np.bincount(predicted).tolist() == [8 * 6] + [8] * 53


def test_targets_are_the_tokens_that_follow_in_the_documents(shards_folder):
    documents = numbered_documents([5, 1, 30, 7, 2, 8])
    following = {int(a): int(b) for document in documents for a, b in pairwise(document[1:])}
    first = {int(document[1]) for document in documents}
    inputs, targets = Sequences(ShardReader(shards_folder(documents), "train"), 8, seed=3).batch(0, 30)
    assert (inputs[:, 1:] == targets[:, :-1]).all()
    for token, target in zip(inputs.flatten().tolist(), targets.flatten().tolist(), strict=True):
        assert target in first if token == 0 else target == following.get(token, 0)


def test_a_batch_depends_on_seed_and_number_alone(shards_folder):
    reader = ShardReader(shards_folder(make_documents(1, 40, 90)), "train")
    batches = [targets_of(Sequences(reader, 16, seed=1), first, 4) for first in (0, 4, 200)]
    again = Sequences(reader, 16, seed=1)
    for first, expected in ((200, 2), (0, 0), (4, 1)):
        np.testing.assert_array_equal(targets_of(again, first, 4), batches[expected])
    assert (targets_of(Sequences(reader, 16, seed=2), 0, 4) != batches[0]).any()


def test_epochs_differ_in_their_order(shards_folder):
    documents = numbered_documents([5, 1, 30, 7, 2, 8, 4])
    sequences = Sequences(ShardReader(shards_folder(documents), "train"), 8, seed=3)
    assert (targets_of(sequences, 0, 8) != targets_of(sequences, 8, 8)).any()


def test_neighbouring_sequences_of_a_long_document_are_drawn_apart(shards_folder):
    documents = numbered_documents([799])
    targets = targets_of(Sequences(ShardReader(shards_folder(documents), "train"), 8, seed=3), 0, 100)
    steps = np.diff(targets[:, 0])
    assert (steps == 8).mean() < 0.1
