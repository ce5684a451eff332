"""The benchmarks of speed, of time to loss and of resuming, on made-up shards and rows."""

import json
import sys
import threading
from contextlib import contextmanager
from multiprocessing import Pipe

import pytest
import torch
from small import make_documents, write_shard, write_token_bytes

from benchmarks import loader, resume, throughput, time_to_loss
from benchmarks.recipe import recipes, results
from benchmarks.time_to_loss_table import reach, render
from minimind.config import ModelSizes

SMALL = ModelSizes(hidden_size=16, layers=1, heads=2, kv_heads=1, head_size=8, intermediate_size=24)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs a benchmark's command on made-up shards; gives its rows and its page."""
    shards = tmp_path / "shards"
    shards.mkdir()
    write_shard(shards / "train-00000.arrow", make_documents(1, 40, 100))
    write_shard(shards / "holdout-00000.arrow", make_documents(2, 8, 60))
    write_token_bytes(shards / "token_bytes.arrow")
    monkeypatch.setitem(recipes.SIZES, "tiny", SMALL)
    monkeypatch.setitem(recipes.SEQUENCE_LENGTHS, "tiny", 32)
    monkeypatch.setitem(recipes.BATCH_TOKENS, "tiny", 128)
    monkeypatch.setattr(recipes, "REFERENCE_LENGTH", 40)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "unused")

    def run(module, *arguments):
        path = tmp_path / "rows.json"
        device = "--device" if module in (time_to_loss, resume) else "--devices"
        given = ["benchmark", "--shards", str(shards), "--results", str(path), "--threads", "1", device, "cpu"]
        monkeypatch.setattr(sys, "argv", [*given, *arguments])
        module.main()
        return json.loads(path.read_text())["rows"], path.with_suffix(".md").read_text()

    yield run
    torch.use_deterministic_algorithms(False)


@contextmanager
def in_threads(names, task):
    """As `throughput.started`, without the seconds that a process takes to begin."""
    workers = {}
    for name in names:
        workers[name], theirs = Pipe()
        threading.Thread(target=throughput.work, args=(name, task, theirs), daemon=True).start()
    yield workers


@pytest.mark.slow
def test_throughput_has_a_row_a_recipe_and_counts_no_padding(command, monkeypatch):
    monkeypatch.setattr(throughput, "started", in_threads)
    rows, page = command(throughput, "--rounds", "3", "--steps", "2")
    found = {row["recipe"]: row for row in rows}
    assert found.keys() == {"ours", "reference", "reference-packed"}
    assert [each["tokens"] for each in found["ours"]["rounds"]] == [2 * 128] * 3
    padded = found["reference"]
    assert all(each["tokens"] < 2 * padded["batch_tokens"] for each in padded["rounds"])
    for row in rows:
        speed = row["tokens_per_second"]
        assert row["least_tokens_per_second"] <= speed <= row["most_tokens_per_second"]
        assert row["mfu_of_measured"] == pytest.approx(speed * row["flops_per_token"] / row["measured_flops"])
        assert row["mfu_of_data_sheet"] is None
    assert "| reference (eager) |" in page
    again, _ = command(throughput, "--rounds", "1", "--steps", "1")
    assert len(again) == 3


def test_loader_reports_the_share_of_a_step(command):
    (row,), page = command(loader, "--rounds", "2", "--steps", "2")
    assert 0 < row["stall"] <= row["greatest_stall"] < 1
    assert row["reading_tokens_per_second"] > row["tokens_per_second"]
    assert f"| tiny | {row['device']}, " in page


@pytest.mark.slow
def test_killed_training_is_resumed_to_the_same_bytes(command):
    (row,), page = command(resume, "--window", "32", "--steps", "800", "--kills", "1", "--checkpoint-seconds", "0.2")
    assert row["same_bytes"]
    assert row["kills"][0]["next_step_seconds"] <= row["kills"][0]["caught_up_seconds"]
    assert "| yes | +0.000% |" in page


def test_killed_training_of_a_gpu_is_held_against_the_loss_of_the_undisturbed_one():
    row = made_run("ours", 10, [2.0]) | {
        "checkpoint_seconds": 5.0, "kills": [{}], "steps_lost": 3, "next_step_seconds": 9.0, "caught_up_seconds": 9.5,
        "same_bytes": False, "holdout_losses": [2.0, 2.002],
    }  # fmt: skip
    assert "| 9.00 | 9.50 | no | +0.100% |" in resume.render([row])


def test_unknown_preset_is_refused(command):
    with pytest.raises(SystemExit, match="no preset is called nonsense"):
        command(loader, "--presets", "nonsense")


def test_window_that_a_recipe_was_not_trained_for_is_refused(command):
    with pytest.raises(SystemExit, match="--window 33 is longer than the 32 tokens"):
        command(time_to_loss, "--window", "33")


def made_run(name, seconds, scores, seed=1):
    """A run of 10 tokens and 2 CPU seconds a second."""
    step = seconds / len(scores)
    curve = [
        {"step": n, "tokens": 10 * n * step, "seconds": n * step, "cpu_seconds": 2 * n * step, "loss": 1.0,
         "bits_per_byte": score}
        for n, score in enumerate(scores, 1)
    ]  # fmt: skip
    return {
        "corpus": "c", "shards": "s", "preset": "tiny", "device": "d", "torch": "t", "window": 8, "holdout_windows": 5,
        "compiling": False, "threads": 1, "recipe": name, "seed": seed, "budget": f"{seconds:g} s",
        "settings": "x", "curve": curve, "bits_per_byte": scores[-1], "steps": 9, "tokens": 10 * seconds,
        "train_seconds": seconds, "train_cpu_seconds": 2 * seconds, "first_step_seconds": 5.0, "parameters": 1_000_000,
        "machine": {"processor": "p", "cores": 2}, "commit": "abc", "measured_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip


def test_time_to_loss_is_that_of_the_shortest_complete_run_that_was_as_good():
    baseline = made_run("reference", 100, [5.0, 3.0])
    own = [made_run("ours", 40, [4.0, 2.0]), made_run("ours", 10, [3.5]), made_run("ours", 20, [2.5])]
    answer = reach(baseline, own)
    assert answer.run["budget"] == "20 s"
    assert answer.shares == pytest.approx(
        {"seconds": 0.2, "cpu_seconds": 0.2, "tokens": 0.2, "compiled_seconds": 25 / 105}
    )
    assert answer.interpolated["seconds"] == pytest.approx(0.15)
    assert answer.passed["seconds"] == pytest.approx(0.3)  # the 40 s run is at 3.0 after 30 s
    page = render([baseline, *own])
    assert (
        "| 1 | 3.0000 | 20 s | 2.5000 | 0.200 | 0.200 | 0.200 | 0.238 | 0.150 | 0.150 | 0.150 | 0.300 | 0.300 |" in page
    )


def test_baseline_that_no_run_of_ours_reached_is_said_to_be_unreached():
    baseline = made_run("reference", 100, [1.0])
    answer = reach(baseline, [made_run("ours", 40, [4.0, 2.0])])
    assert answer.run is None
    assert answer.interpolated == answer.shares == answer.passed == {}
    assert "| 1 | 1.0000 | not |" in render([baseline, made_run("ours", 40, [4.0, 2.0])])


def test_shortest_run_alone_is_not_interpolated_below_what_was_measured():
    answer = reach(made_run("reference", 100, [3.0]), [made_run("ours", 10, [2.0])])
    assert answer.interpolated["seconds"] == answer.shares["seconds"] == pytest.approx(0.1)


def test_time_to_loss_runs_both_baselines_and_each_share_once(command, monkeypatch):
    asked = []

    def run(recipe, seed, task):
        asked.append((recipe.name, seed, task.seconds))
        scores = [2.0] if recipe.name == "ours" else [3.0]
        made = made_run(recipe.name, task.seconds, scores, seed)
        return {name: value for name, value in made.items() if name not in (*results.KEY, "settings")}

    monkeypatch.setattr(results, "run", run)
    arguments = ("--window", "32", "--seconds", "100", "--shares", "0.2,0.4", "--seeds", "1,2")
    command(time_to_loss, *arguments)
    expected = [("reference", 100.0), ("reference-packed", 100.0), ("ours", 20.0), ("ours", 40.0)]
    assert asked == [(name, seed, seconds) for seed in (1, 2) for name, seconds in expected]
    command(time_to_loss, *arguments)
    assert len(asked) == 8
