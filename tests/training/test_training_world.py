"""Several processes of one training, started as training starts them, on the CPU with gloo."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from small import make_documents
from test_training_loop import NeverStop, made_options, results, run_folder, small_plan, torch_settings  # noqa: F401

from minimind.errors import DeviceError, DivergenceError, OutOfMemoryError, TrainingInterruptedError, UserError
from minimind.training.device import choose_processes
from minimind.training.launch import run_training_process, training_pids
from minimind.training.loop import train
from minimind.training.metrics import read_metrics
from minimind.training.plan import Plan
from minimind.training.process import ExitCode
from minimind.training.world import code_of


@pytest.fixture
def shards(shards_folder):
    return shards_folder(make_documents(1, 40, 100), holdout=make_documents(2, 10, 90))


def plan_of(processes, **changes):
    hardware = torch.backends.cpu.get_cpu_capability()
    values = {"steps": 100, "accumulation": 4, "evaluations": 4} | changes
    return small_plan(processes=processes, hardware=hardware, **values)


def folder_of(path, plan, shards):
    folder = run_folder(path, plan, shards)
    made_options(shards, checkpoint_seconds=0.05).write(folder.options)
    return folder


def start(folder, watch=lambda: None):
    run_training_process(folder, Plan.read(folder.plan), watch)


class Disturber:
    """Sends a signal when there is a checkpoint, to the process that `choose` picks of (torchrun's, the workers')."""

    def __init__(self, folder, number, choose):
        self.folder, self.number, self.choose = folder, number, choose
        self.listening = None

    def __call__(self):
        if self.listening is None and list(self.folder.checkpoints.glob("*.json")):
            self.listening = listening_addresses(training_pids(self.folder))
            torchrun = json.loads(self.folder.worker.read_text())["pid"]
            workers = sorted(set(training_pids(self.folder)) - {torchrun})
            os.kill(self.choose(torchrun, workers), self.number)


def listening_addresses(pids):
    """Local addresses, as /proc/net/tcp writes them, of the sockets on which these processes listen."""
    inodes = set()
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            inodes.add(str(entry.readlink()) if entry.is_symlink() else "")
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes}


def losses(folder):
    lines = list(read_metrics(folder.metrics))
    return [line["loss"] for line in lines] + [line["holdout_loss"] for line in lines if "holdout_loss" in line]


def test_two_processes_see_the_batches_of_one_and_one_goes_on_from_their_checkpoint(
    shards,
    tmp_path,
    torch_settings,  # noqa: F811
):
    alone, shared = (folder_of(tmp_path / str(count), plan_of(count), shards) for count in (1, 2))
    train(alone, NeverStop())
    disturber = Disturber(shared, signal.SIGTERM, lambda torchrun, workers: torchrun)
    with pytest.raises(TrainingInterruptedError):
        start(shared, disturber)
    assert training_pids(shared) == []
    assert disturber.listening <= {"0100007F", "00000000000000000000000001000000"}  # 127.0.0.1 and ::1
    assert "with a checkpoint" in shared.log.read_text()
    assert 0 < len(list(read_metrics(shared.metrics))) < 100
    plan_of(1).write(shared.plan)
    train(shared, NeverStop())
    assert losses(shared) == pytest.approx(losses(alone), rel=1e-4)
    assert [line["step"] for line in read_metrics(shared.metrics)] == list(range(1, 101))


@pytest.mark.slow
def test_killed_worker_takes_the_others_with_it(shards, tmp_path):
    folder = folder_of(tmp_path / "run", plan_of(2, steps=100_000), shards)
    with pytest.raises(OutOfMemoryError, match="killed by signal 9"):
        start(folder, Disturber(folder, signal.SIGKILL, lambda torchrun, workers: workers[-1]))
    assert training_pids(folder) == []


@pytest.mark.slow
def test_killed_torchrun_takes_the_workers_with_it(shards, tmp_path):
    folder = folder_of(tmp_path / "run", plan_of(2, steps=100_000), shards)
    with pytest.raises(OutOfMemoryError, match="killed by signal 9"):
        start(folder, Disturber(folder, signal.SIGKILL, lambda torchrun, workers: torchrun))
    assert training_pids(folder) == []


@pytest.mark.slow
def test_resumed_processes_match_uninterrupted_ones_bit_by_bit(shards, tmp_path):
    undisturbed, resumed = (folder_of(tmp_path / name, plan_of(2), shards) for name in ("undisturbed", "resumed"))
    start(undisturbed)
    with pytest.raises(TrainingInterruptedError):
        start(resumed, Disturber(resumed, signal.SIGTERM, lambda torchrun, workers: workers[-1]))
    start(resumed)
    assert results(resumed) == results(undisturbed)


@pytest.mark.slow
def test_four_processes_see_the_batches_of_one(shards, tmp_path, torch_settings):  # noqa: F811
    alone, shared = (folder_of(tmp_path / str(count), plan_of(count), shards) for count in (1, 4))
    train(alone, NeverStop())
    start(shared)
    assert losses(shared) == pytest.approx(losses(alone), rel=1e-4)


@pytest.mark.slow
def test_divergence_of_several_processes_is_said_and_its_steps_are_written(shards, tmp_path):
    optimizer = small_plan().optimizer.model_copy(update={"learning_rate": 1e30, "max_gradient_norm": 1e30})
    folder = folder_of(tmp_path / "run", plan_of(2, steps=100_000, optimizer=optimizer), shards)
    with pytest.raises(DivergenceError, match=r"training diverged at step (\d+)") as caught:
        start(folder)
    diverged = int(str(caught.value).split("at step ")[1].split(":")[0])
    assert [line["step"] for line in read_metrics(folder.metrics)] == list(range(1, diverged))


@pytest.mark.slow
def test_processes_refuse_data_that_is_not_the_plans(shards, tmp_path):
    folder = folder_of(tmp_path / "run", plan_of(2, shards={"train-00000.arrow": "0" * 64}), shards)
    with pytest.raises(UserError, match=r"train-00000.arrow is not the file that the plan was made for"):
        start(folder)


def test_devices_share_micro_batches_equally_or_not_at_all(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert choose_processes("auto", cpu, 8) == 1
    assert [choose_processes("auto", cuda, micro_batches) for micro_batches in (8, 6, 5)] == [4, 3, 1]
    assert choose_processes(2, cpu, 8) == 2
    with pytest.raises(DeviceError, match=r"training\.devices is 3, which cannot share the 8 micro-batches"):
        choose_processes(3, cuda, 8)
    with pytest.raises(DeviceError, match=r"training\.devices is 8, and this machine has 4"):
        choose_processes(8, cuda, 8)


def test_the_end_that_says_most_is_told():
    assert code_of([1, ExitCode.DIVERGED]) == ExitCode.DIVERGED
    assert code_of([1, -9]) == 137
    assert code_of([1, 1]) == 1
