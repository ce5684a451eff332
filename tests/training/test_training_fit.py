"""How many sequences fit, found against a made-up memory; two tests start the real process."""

import gc
import weakref

import pytest
import torch
from small import small_inputs, training_config

from minimind.errors import OutOfMemoryError
from minimind.store import Store
from minimind.training import calibration, fit
from minimind.training.budget import make_plan
from minimind.training.fit import Probe, divisors, fitting_sizes, try_in_process, try_step
from minimind.training.metrics import StepMetrics


class Device:
    """Has `free` bytes, of which a step takes 100 and 10 for each sequence; keeps what it once took."""

    def __init__(self, free):
        self.free, self.tried, self.taken = free, [], 0

    def __call__(self, sequences):
        self.tried.append(sequences)
        peak = 100 + 10 * sequences
        if peak > self.free:
            raise torch.OutOfMemoryError
        probe = Probe(peak, self.free - self.taken)
        self.taken = peak
        return probe


@pytest.mark.parametrize(
    ("free", "fitting"),
    [(10_000, 64), (800, 32), (474, 32), (450, 16), (200, 8), (134, 2), (123, 1)],
)
def test_largest_divisor_that_leaves_a_tenth_of_memory_is_found(free, fitting):
    found = list(fitting_sizes(divisors(64, 1000), Device(free)))
    assert found[-1] == fitting
    assert 100 + 10 * fitting <= 0.9 * free


def test_only_divisors_of_the_batch_are_tried_and_none_that_is_foreseen_not_to_fit():
    device = Device(300)  # 17 sequences would fit
    assert list(fitting_sizes(divisors(90, 1000), device))[-1] == 15
    assert device.tried == [1, 2, 3, 5, 6, 9, 10, 15]


def test_no_more_are_tried_than_are_of_use():
    assert divisors(64, 20) == [1, 2, 4, 8, 16]
    assert divisors(64, 1) == [1]


def test_memory_that_runs_out_ends_the_trial_with_what_fitted_before():
    def uneven(sequences):
        if sequences > 20:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return Probe(100 + sequences, 10_000)

    assert list(fitting_sizes(divisors(64, 1000), uneven)) == [1, 2, 4, 8, 16]


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def broken(sequences):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        list(fitting_sizes([1], broken))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store", "made")


class CachedMemory:
    """Of a GPU, as torch keeps it: what is freed stays reserved for this process until the cache is emptied."""

    def __init__(self, free):
        self.free, self.used, self.reserved, self.peak = free, 0, 0, 0

    def take(self, size, owner):
        self.used += size
        self.reserved = max(self.reserved, self.used)
        self.peak = max(self.peak, self.reserved)
        if self.peak > self.free:
            raise torch.OutOfMemoryError
        weakref.finalize(owner, self.give_back, size)

    def give_back(self, size):
        self.used -= size

    def empty_cache(self):
        self.reserved = self.used

    def reset_peak(self, device):
        self.peak = self.reserved


class MadeUpTrainer:
    """Takes 100 bytes and 10 for each sequence, and is part of a circle."""

    def __init__(self, plan, memory):
        memory.take(100 + 10 * plan.micro_batch_sequences, self)
        self.clock = lambda: self

    def train_step(self, stop):
        return StepMetrics(1, torch.zeros(()), torch.zeros(()), 0.1, torch.zeros(4))

    def evaluate(self, holdout, stop):
        return {}


@pytest.mark.parametrize(("free", "fitting"), [(800, 32), (450, 16)])
def test_trial_on_a_gpu_leaves_nothing_for_the_next_one_to_count(store, monkeypatch, free, fitting):
    memory = CachedMemory(free)
    shards = small_inputs(store).shards
    plan = make_plan(training_config(), shards, store).model_copy(update={"device": "cuda"})
    monkeypatch.setattr(fit, "Trainer", lambda plan, shards: MadeUpTrainer(plan, memory))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (memory.free - memory.reserved, memory.free))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: memory.peak)
    monkeypatch.setattr(torch.cuda, "empty_cache", memory.empty_cache)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", memory.reset_peak)
    gc.disable()  # or it would run at any moment
    try:
        found = list(fitting_sizes(divisors(64, 1000), lambda size: try_step(plan, shards.path, size)))
    finally:
        gc.enable()
    assert found[-1] == fitting


@pytest.mark.parametrize("compiled", [True, False])
def test_evaluation_is_tried_beside_what_a_recording_keeps(store, monkeypatch, compiled):
    held = []

    def hold(device):
        memory = torch.zeros(1)
        held.append(weakref.ref(memory))
        return memory

    class Evaluated(MadeUpTrainer):
        def evaluate(self, holdout, stop):
            assert [reference() is not None for reference in held] == [True] * compiled
            super().evaluate(holdout, stop)

    shards = small_inputs(store).shards
    plan = make_plan(training_config(), shards, store).model_copy(update={"device": "cuda", "compiled": compiled})
    monkeypatch.setattr(fit, "held_by_a_recording", hold)
    monkeypatch.setattr(fit, "Trainer", lambda plan, shards: Evaluated(plan, CachedMemory(1000)))
    fit.take_steps(plan, shards.path, 1)
    assert [reference() for reference in held] == [None] * compiled


@pytest.fixture
def made_up_device(monkeypatch):
    """A device of so many bytes; what was tried on it."""

    def make(free):
        device = Device(free)
        monkeypatch.setattr(fit, "try_in_process", lambda plan, path, shards, sizes: list(fitting_sizes(sizes, device)))
        return device.tried

    return make


def test_automatic_micro_batch_keeps_the_batch_and_is_tried_once(store, made_up_device):
    tried = made_up_device(free=140)
    shards = small_inputs(store).shards
    config = training_config(micro_batch_sequences="auto")
    plan = make_plan(config, shards, store)
    assert plan == make_plan(training_config(micro_batch_sequences=2), shards, store)
    assert make_plan(config, shards, store) == plan
    assert tried == [1, 2]
    assert [path.suffix for path in (store.root / "plans").iterdir()] == [".json"]


def test_automatic_micro_batch_is_found_by_the_real_process(store):
    plan = make_plan(training_config(micro_batch_sequences="auto"), small_inputs(store).shards, store)
    assert (plan.micro_batch_sequences, plan.accumulation, plan.steps) == (4, 1, 2000 // 128)


def test_model_that_does_not_fit_at_all_is_refused(store, made_up_device):
    made_up_device(free=105)
    with pytest.raises(OutOfMemoryError, match=r"not even one sequence fits .* smaller training\.preset"):
        make_plan(training_config(micro_batch_sequences="auto"), small_inputs(store).shards, store)


def test_time_is_measured_with_the_micro_batch_that_fits(store, made_up_device, monkeypatch):
    measured = []

    def measure_made_up(folder, plan, watch, arguments):
        measured.append((plan.micro_batch_sequences, plan.accumulation))
        folder.summary.write_text(
            '{"step_seconds": 0.1, "window_seconds": 0.01, "checkpoint_seconds": 0.1, "start_seconds": 1.0}'
        )

    made_up_device(free=10_000)
    monkeypatch.setattr(calibration, "run_training_process", measure_made_up)
    plan = make_plan(training_config(micro_batch_sequences="auto", budget="100s"), small_inputs(store).shards, store)
    assert measured == [(4, 1)]
    assert (plan.micro_batch_sequences, plan.accumulation, plan.batch_tokens) == (4, 1, 128)


@pytest.mark.parametrize(
    ("device", "least_bytes"), [("cpu", 50_000_000), pytest.param("cuda", 100_000, marks=pytest.mark.gpu)]
)
def test_step_tells_what_it_takes_and_another_one_takes_no_more(store, device, least_bytes):
    shards = small_inputs(store).shards
    plan = make_plan(training_config(device=device), shards, store)
    first, second, again = (try_step(plan, shards.path, 2) for _ in range(3))
    assert least_bytes < first.peak_bytes < first.free_bytes
    assert again.peak_bytes <= 1.1 * second.peak_bytes  # the first one loaded the libraries


def test_process_prints_what_fits_and_survives_a_size_that_no_machine_holds(store):
    shards = small_inputs(store).shards
    path = store.root / "plan.json"
    plan = make_plan(training_config(), shards, store)
    plan.write(path)
    assert try_in_process(plan, path, shards.path, [2, 10**12]) == [2]
