import json
import logging

import pytest
import torch

from minimind.training.checkpoint import CheckpointFolder, Progress


def save_steps(path, *steps, plan="plan"):
    folder = CheckpointFolder(path / "checkpoints", plan)
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


@pytest.mark.parametrize("damage", [damage_tensors, cut_tensors, remove_tensors, damage_json])
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


def test_checkpoint_of_another_plan_is_not_used(tmp_path, caplog):
    save_steps(tmp_path, 1)
    assert CheckpointFolder(tmp_path / "checkpoints", "other").load_newest() is None
    assert "it belongs to another plan" in caplog.text


def test_no_folder_means_no_checkpoint(tmp_path):
    assert CheckpointFolder(tmp_path / "checkpoints", "plan").load_newest() is None


def test_tensors_without_their_json_are_no_checkpoint(tmp_path):
    folder = save_steps(tmp_path, 1, 2)
    (tmp_path / "checkpoints" / "step-000000002.json").unlink()  # killed between the two renames
    assert folder.load_newest().progress.step == 1
    folder.save({"model.w": torch.zeros(1)}, Progress(step=3))
    assert not (tmp_path / "checkpoints" / "step-000000002.safetensors").exists()


def test_progress_comes_back_as_it_was(tmp_path):
    progress = Progress(7, {"step": 7, "loss": 0.1 + 0.2}, {"scale": 512.0}, 1.5, 2)
    folder = CheckpointFolder(tmp_path / "checkpoints", "plan")
    folder.save({"model.w": torch.ones(2)}, progress)
    assert folder.load_newest().progress == progress
    assert "pickle" not in json.dumps([path.name for path in folder.path.iterdir()])
