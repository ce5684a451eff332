import errno
import json
import logging
import subprocess
import threading

import pytest
import torch

from minimind.errors import CheckpointError
from minimind.training.checkpoint import CheckpointFolder, CheckpointWriter, Progress, remove_rolling

PLAN = {"seed": 1, "processes": 1, "micro_batch_sequences": 4, "accumulation": 2, "threads": 2}


def save_steps(path, *steps, permanent_steps=None):
    folder = CheckpointFolder(path / "checkpoints", PLAN, permanent_steps)
    for step in steps:
        folder.save({"model.w": torch.full((50,), float(step))}, Progress(step=step))
    return folder


def damage_tensors(path):
    content = bytearray(path.with_suffix(".safetensors").read_bytes())
    content[-3] ^= 1
    path.with_suffix(".safetensors").write_bytes(content)


def cut_tensors(path):
    path.with_suffix(".safetensors").write_bytes(path.with_suffix(".safetensors").read_bytes()[:60])


def remove_tensors(path):
    path.with_suffix(".safetensors").unlink()


def damage_json(path):
    path.write_text(path.read_text()[:40])


def flip_a_bit_of_the_step(path):
    path.write_text(path.read_text().replace('"step": 20', '"step": 30'))


def flip_a_bit_of_the_plan(path):
    path.write_text(path.read_text().replace('"seed": 1', '"seed": 3'))


@pytest.mark.parametrize(
    "damage",
    [damage_tensors, cut_tensors, remove_tensors, damage_json, flip_a_bit_of_the_step, flip_a_bit_of_the_plan],
)
def test_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path, caplog, damage):
    folder = save_steps(tmp_path, 10, 20)
    damage(tmp_path / "checkpoints" / "step-000000020.json")
    with caplog.at_level(logging.WARNING):
        found = folder.load_newest()
    assert found.progress.step == 10
    assert found.tensors["model.w"].tolist() == [10.0] * 50
    assert "step-000000020.json cannot be used and is passed over" in caplog.text


def test_the_last_two_are_kept(tmp_path):
    save_steps(tmp_path, 1, 2, 10)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-000000002.json", "step-000000002.safetensors", "step-000000010.json", "step-000000010.safetensors",
    ]  # fmt: skip


def test_permanent_ones_are_kept_beside_the_last_two(tmp_path):
    save_steps(tmp_path, 3, 10, 13, 20, 23, 33, permanent_steps=10)
    kept = sorted(path.stem[-2:] for path in (tmp_path / "checkpoints").glob("*.json"))
    assert kept == ["10", "20", "23", "33"]
    remove_rolling(tmp_path / "checkpoints", 10)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-000000010.json", "step-000000010.safetensors", "step-000000020.json", "step-000000020.safetensors",
    ]  # fmt: skip


def test_nothing_is_left_of_a_finished_training_without_permanent_ones(tmp_path):
    save_steps(tmp_path, 3, 10)
    (tmp_path / "checkpoints" / "tensors.tmp").write_bytes(b"left by a kill")
    remove_rolling(tmp_path / "checkpoints", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("changes", [{"seed": 2}, {"accumulation": 3}, {"more": 1}])
def test_checkpoint_of_another_plan_is_refused_and_kept(tmp_path, changes):
    save_steps(tmp_path, 1)
    folder = CheckpointFolder(tmp_path / "checkpoints", PLAN | changes)
    with pytest.raises(CheckpointError, match=rf"under another plan \(it differs in {next(iter(changes))}\); move"):
        folder.load_newest()
    assert (tmp_path / "checkpoints" / "step-000000001.safetensors").exists()


def test_the_same_batch_shared_out_otherwise_is_gone_on_from(tmp_path, caplog):
    save_steps(tmp_path, 1)
    changes = {"processes": 4, "micro_batch_sequences": 1, "accumulation": 8, "threads": 1}
    assert CheckpointFolder(tmp_path / "checkpoints", PLAN | changes).load_newest().progress.step == 1
    assert "sums are taken in another order" in caplog.text


def test_no_folder_means_no_checkpoint(tmp_path):
    assert CheckpointFolder(tmp_path / "checkpoints", PLAN).load_newest() is None


def test_tensors_without_their_json_are_no_checkpoint(tmp_path):
    folder = save_steps(tmp_path, 1, 2)
    (tmp_path / "checkpoints" / "step-000000002.json").unlink()  # killed between the two renames
    assert folder.load_newest().progress.step == 1
    folder.save({"model.w": torch.zeros(1)}, Progress(step=3))
    assert not (tmp_path / "checkpoints" / "step-000000002.safetensors").exists()


def test_progress_comes_back_as_it_was(tmp_path):
    progress = Progress(7, {"step": 7, "loss": 0.1 + 0.2}, {"scale": 512.0}, 1.5, 2)
    folder = CheckpointFolder(tmp_path / "checkpoints", PLAN)
    folder.save({"model.w": torch.ones(2)}, progress)
    assert folder.load_newest().progress == progress
    assert "pickle" not in json.dumps([path.name for path in folder.path.iterdir()])


@pytest.mark.parametrize("step", [3, 2], ids=["next", "same"])  # as one that is resumed and stopped at once
def test_disk_that_is_full_in_the_middle_of_a_checkpoint_costs_none_of_the_earlier_ones(tmp_path, caplog, step):
    folder = save_steps(tmp_path, 1, 2)
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    (folder.path / "progress.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as raised:
        folder.save({"model.w": torch.zeros(50)}, Progress(step=step))
    assert raised.value.errno == errno.ENOSPC
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before
    folder.save({"model.w": torch.zeros(50)}, Progress(step=step))  # when there is space again
    found = folder.load_newest()
    assert (found.progress.step, found.tensors["model.w"].sum()) == (step, 0)
    assert not caplog.text


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_checkpoint_that_outgrows_its_disk_is_said_by_the_thread_and_the_earlier_ones_stay(small_disk):
    folder = CheckpointFolder(small_disk / "checkpoints", PLAN)
    writer = CheckpointWriter(folder)
    for step, size in ((1, 10), (2, 20), (3, 40_000)):
        writer.wait()
        writer.save({"model.w": torch.ones(size)}, Progress(step=step), lambda: None)
    with pytest.raises(Exception, match="No space left"):
        writer.wait()
    writer.close()
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "step-000000001.json", "step-000000001.safetensors", "step-000000002.json", "step-000000002.safetensors",
    ]  # fmt: skip


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_checkpoint_holds_the_moment_it_was_asked_for(tmp_path, device):
    folder = CheckpointFolder(tmp_path / "checkpoints", PLAN)
    writer = CheckpointWriter(folder)
    weights, progress, trained_on = torch.ones(3, device=device), Progress(step=1), threading.Event()
    writer.save({"model.w": weights}, progress, trained_on.wait)
    weights.mul_(7)
    progress.step = 2
    assert writer.is_busy
    assert writer.snapshot.buffers["model.w"].is_pinned() == (device == "cuda")
    trained_on.set()
    writer.wait()
    assert not writer.is_busy
    writer.close()
    found = folder.load_newest()
    assert found.progress.step == 1
    assert found.tensors["model.w"].tolist() == [1, 1, 1]


def test_error_of_the_thread_is_raised_where_training_asks(tmp_path):
    writer = CheckpointWriter(CheckpointFolder(tmp_path / "no folder" / "checkpoints", PLAN))
    writer.save({"model.w": torch.ones(3)}, Progress(step=1), lambda: None)
    writer.close()
    with pytest.raises(FileNotFoundError):
        _ = writer.is_busy
