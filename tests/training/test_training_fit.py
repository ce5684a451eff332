"""How many sequences fit, found against a made-up memory; one test starts the real process."""

import logging

import pytest
import torch
from small import small_inputs, training_config

from minimind.errors import OutOfMemoryError
from minimind.store import Store
from minimind.training import budget, fit
from minimind.training.budget import make_plan
from minimind.training.fit import Probe, fit_micro_batch, try_in_process


class Device:
    """Has `free` bytes, of which a step takes 100 and 10 for each sequence."""

    def __init__(self, free):
        self.free, self.tried = free, []

    def __call__(self, sequences):
        self.tried.append(sequences)
        peak = 100 + 10 * sequences
        if peak > self.free:
            raise OutOfMemoryError
        return Probe(peak, self.free)


@pytest.mark.parametrize(
    ("free", "fitting"),
    [(10_000, 64), (800, 32), (474, 32), (450, 16), (200, 8), (134, 2), (133, 1), (123, 1)],
)
def test_largest_divisor_that_leaves_a_tenth_of_memory_is_found(free, fitting):
    device = Device(free)
    assert fit_micro_batch(64, 1000, device) == fitting
    assert 100 + 10 * fitting <= 0.9 * free
    assert len(device.tried) <= 3


def test_only_divisors_of_the_batch_are_tried():
    device = Device(300)  # 17 sequences would fit
    assert fit_micro_batch(90, 1000, device) == 15
    assert all(90 % size == 0 for size in device.tried)


def test_no_more_than_is_of_use():
    assert fit_micro_batch(64, 20, Device(10_000)) == 16
    assert fit_micro_batch(64, 1, Device(10_000)) == 1


def test_what_was_foreseen_to_fit_and_does_not_is_replaced_by_the_next_fewer(caplog):
    class Uneven(Device):
        def __call__(self, sequences):
            self.tried.append(sequences)
            if sequences > 20:
                raise OutOfMemoryError
            return Probe(100 + 10 * sequences, self.free)

    device = Uneven(10_000)
    with caplog.at_level(logging.INFO):
        assert fit_micro_batch(64, 1000, device) == 16
    assert device.tried == [1, 2, 64, 32, 16]
    assert "64 sequences does not fit into memory" in caplog.text


def test_model_that_does_not_fit_at_all_is_refused():
    with pytest.raises(OutOfMemoryError, match=r"not even one sequence fits .* smaller training\.preset"):
        fit_micro_batch(64, 1000, Device(105))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store", "made")


def test_automatic_micro_batch_keeps_the_batch_and_is_tried_once(store, monkeypatch):
    asked = []

    def try_made_up(path, shards, sequences):
        asked.append(sequences)
        return Device(133 + 10)(sequences)

    monkeypatch.setattr(fit, "try_in_process", try_made_up)
    shards = small_inputs(store).shards
    config = training_config(micro_batch_sequences="auto")
    plan = make_plan(config, shards, store)
    fixed = make_plan(training_config(micro_batch_sequences=2), shards, store)
    assert plan == fixed
    assert make_plan(config, shards, store) == plan
    assert asked == [1, 2]
    assert [path.suffix for path in (store.root / "plans").iterdir()] == [".json"]


def test_time_is_measured_with_the_micro_batch_that_fits(store, monkeypatch):
    measured = []

    def measure_made_up(folder, plan, watch, arguments):
        measured.append((plan.micro_batch_sequences, plan.accumulation))
        folder.summary.write_text('{"step_seconds": 0.1, "window_seconds": 0.01, "checkpoint_seconds": 0.1}')

    monkeypatch.setattr(fit, "try_in_process", lambda path, shards, sequences: Device(10_000)(sequences))
    monkeypatch.setattr(budget, "run_training_process", measure_made_up)
    plan = make_plan(training_config(micro_batch_sequences="auto", budget="100s"), small_inputs(store).shards, store)
    assert measured == [(4, 1)]
    assert (plan.micro_batch_sequences, plan.accumulation, plan.batch_tokens) == (4, 1, 128)


def test_process_tells_what_a_step_takes_and_when_it_does_not_fit(store):
    shards = small_inputs(store).shards
    path = store.root / "plan.json"
    plan = make_plan(training_config(), shards, store)
    plan.write(path)
    probe = try_in_process(path, shards.path, 2)
    assert 50_000_000 < probe.peak_bytes < probe.free_bytes
    with pytest.raises(OutOfMemoryError):
        try_in_process(path, shards.path, 10**12)  # more than any machine has
    assert torch.get_num_threads() == 1
