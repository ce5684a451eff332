from itertools import pairwise

import numpy as np
import pytest
from small import make_documents, write_shard

from minimind.shards.reader import ShardReader
from minimind.training.sequences import Sequences, spread


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


def weighted_reader(folder, documents, occurrences):
    write_shard(folder / "train-00000.arrow", documents[:3], occurrences[:3])
    write_shard(folder / "train-00001.arrow", documents[3:], occurrences[3:])
    return ShardReader(folder, "train")


def test_each_token_is_predicted_as_often_as_its_document_occurs(tmp_path):
    documents = numbered_documents([5, 1, 30, 7, 2, 8, 4])
    occurrences = [1, 2, 1, 3, 1, 2, 1]
    reader = weighted_reader(tmp_path, documents, occurrences)
    expected = sorted(
        np.concatenate([np.tile(document, n) for document, n in zip(documents, occurrences, strict=True)])
    )
    assert reader.tokens == len(expected) == 64 + 2 + 2 * 8 + 9
    predicted = targets_of(Sequences(reader, 7, seed=3), 0, 7 * 13).ravel()  # 91 tokens an epoch: 13 sequences of 7
    assert sorted(predicted) == sorted(expected * 7)


def test_documents_that_occur_once_keep_the_order_they_had():
    drawn = np.random.default_rng(1).permutation(1_000)
    np.testing.assert_array_equal(spread(drawn, np.ones(1_000, np.int64)), drawn)


@pytest.mark.parametrize("seed", range(5))
def test_copies_of_a_document_stand_far_from_each_other(seed):
    random = np.random.default_rng(seed)
    occurrences = random.integers(1, 5, 500)
    order = spread(random.permutation(occurrences.sum()), occurrences)
    assert np.bincount(order).tolist() == occurrences.tolist()
    for document in range(500):
        places = np.flatnonzero(order == document)
        if len(places) > 1:
            assert np.diff(places).min() > 0.8 * len(order) / occurrences[document] - 50


def test_copies_are_mixed_evenly_into_the_epoch():
    occurrences = np.array([1] * 5_000 + [3] * 5_000)
    order = spread(np.random.default_rng(2).permutation(20_000), occurrences)
    shares = [(part >= 5_000).mean() for part in np.array_split(order, 10)]
    assert min(shares) > 0.72
    assert max(shares) < 0.78


def test_a_lonely_document_may_follow_itself():
    assert spread(np.array([2, 0, 1]), np.array([3])).tolist() == [0, 0, 0]
