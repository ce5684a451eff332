import pytest
import torch

from minimind.training.batches import Batches


class Numbered:
    """Row n of training holds the numbers from 10 n on."""

    def __init__(self):
        self.read = []

    def batch(self, first, sequences):
        self.read.append(first)
        rows = 10 * torch.arange(first, first + sequences)[:, None] + torch.arange(5)
        targets = rows[:, 1:].clone()
        targets[0, -1] = -100
        return rows[:, :-1], targets


def made_to_read_ahead(batches):
    """What a GPU gets, without pinning."""
    from concurrent.futures import ThreadPoolExecutor

    batches._reader = ThreadPoolExecutor(1)
    return batches


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_batches_are_the_rows_asked_for_and_count_their_targets(device):
    batches = Batches(Numbered(), 2, torch.device(device))
    assert batches._read(4).targets.is_pinned() == (device == "cuda")
    batch = batches.take(4, 6)
    assert batch.inputs[:, 0].tolist() == [40, 50]
    assert batch.inputs.device.type == batch.targets.device.type == device
    assert batch.predicted == 7
    assert batch.inputs.is_contiguous()  # what is pinned is copied as one piece
    assert batch.targets.is_contiguous()
    assert batches.take(6, 8).inputs[0, 0] == 60
    assert batches.predicted_tokens == 14
    assert batches.waited_seconds > 0


def test_reading_ahead_changes_nothing_and_reads_each_batch_once():
    rows = Numbered()
    batches = made_to_read_ahead(Batches(rows, 2, torch.device("cpu")))
    firsts = [int(batches.take(first, first + 2).inputs[0, 0]) for first in range(0, 12, 2)]
    assert firsts == [0, 20, 40, 60, 80, 100]
    assert sorted(rows.read)[:6] == [0, 2, 4, 6, 8, 10]
    assert len(rows.read) <= 7


def test_another_place_than_the_one_announced_is_read_anew():
    batches = made_to_read_ahead(Batches(Numbered(), 2, torch.device("cpu")))
    batches.take(0, 2)
    assert batches.take(30, 32).inputs[0, 0] == 300  # after a resumption
