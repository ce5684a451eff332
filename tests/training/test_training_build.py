"""The stage through its door, with the real training process. Each start of one costs seconds, so few are started."""

import json
import logging
import os
import re
import signal
from dataclasses import replace

import pytest
from small import small_inputs, training_config, weights

from minimind.errors import DivergenceError, OutOfMemoryError, TrainingInterruptedError
from minimind.model.hugging_face import load_model
from minimind.store import Store, load_manifest
from minimind.training import proposal
from minimind.training.budget import plan_training
from minimind.training.build import build
from minimind.training.metrics import CLOCKED, read_metrics

CONFIG = training_config(budget="50k tokens")  # 390 steps, some seconds


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"), "made")
    return build(CONFIG, small_inputs(store), store)


class Disturber:
    """A watcher that sends the training process a signal as soon as `after_checkpoints` checkpoints were written."""

    def __init__(self, number: signal.Signals, after_checkpoints: int = 1) -> None:
        self.number, self.after_checkpoints = number, after_checkpoints
        self.pid = 0

    def __call__(self, folder, fingerprint):
        names = {path.name for path in (folder / "checkpoints").glob("step-*.json")}
        if not self.pid and len(names) >= self.after_checkpoints:
            self.pid = json.loads((folder / "worker.json").read_text())["pid"]
            os.kill(self.pid, self.number)


def metrics_without_clock(manifest):
    lines = read_metrics(manifest.file("metrics.jsonl"))
    return [{name: value for name, value in line.items() if name not in CLOCKED} for line in lines]


def test_build_publishes_a_model_its_plan_and_its_metrics(undisturbed):
    assert set(undisturbed.files) == {
        "plan.json", "metrics.jsonl", "summary.json", "model/config.json", "model/model.safetensors",
        "model/generation_config.json", "model/tokenizer.json", "model/tokenizer_config.json",
    }  # fmt: skip
    counts = undisturbed.counts
    assert (counts["steps"], counts["tokens"], counts["resumed"]) == (390, 49_920, 0)
    model = load_model(undisturbed.path / "model")
    assert counts["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert model.config.max_positions == 32
    lines = list(read_metrics(undisturbed.file("metrics.jsonl")))
    assert [line["step"] for line in lines] == list(range(1, 391))
    assert [line["step"] for line in lines if "holdout_loss" in line] == [130, 260, 390]
    assert counts["holdout_loss"] == lines[-1]["holdout_loss"] < 0.6 * lines[0]["loss"]
    assert undisturbed.details["section"] == CONFIG.model_dump(mode="json")


def test_same_plan_is_reused_under_another_wording_of_its_budget(undisturbed):
    store = Store(undisturbed.path.parents[1], "made")
    again = build(CONFIG.model_copy(update={"budget": "0.05M tokens"}), small_inputs(store), store)
    assert again.reused
    assert again.fingerprint == undisturbed.fingerprint


def killed(*arguments):
    raise KeyboardInterrupt


def test_resumed_run_matches_uninterrupted_run_and_is_not_repeated_if_killed_before_it_is_published(
    undisturbed, tmp_path, monkeypatch
):
    store = Store(tmp_path, "made")
    inputs = small_inputs(store)
    disturber = Disturber(signal.SIGTERM)
    with pytest.raises(TrainingInterruptedError):
        build(CONFIG, replace(inputs, watch=disturber), store)
    assert load_manifest(tmp_path / "training" / undisturbed.fingerprint) is None
    with pytest.raises(ProcessLookupError):
        os.kill(disturber.pid, 0)
    with monkeypatch.context() as patched:
        patched.setattr("minimind.store.publish", killed)
        with pytest.raises(KeyboardInterrupt):
            build(CONFIG, inputs, store)
    monkeypatch.setattr("minimind.training.build.run_training_process", killed)
    watched = []
    inputs = replace(inputs, watch=lambda folder, fingerprint: watched.append(fingerprint))
    check_resumed(build(CONFIG, inputs, store), undisturbed)
    assert watched == [undisturbed.fingerprint]  # who forwards the metrics gets the last of them


@pytest.mark.slow  # the parts: test_training_checkpoint
def test_killed_run_with_a_damaged_newest_checkpoint_matches_uninterrupted_run(undisturbed, tmp_path):
    store = Store(tmp_path, "made")
    inputs = small_inputs(store)
    with pytest.raises(OutOfMemoryError, match="was killed by signal 9"):
        build(CONFIG, replace(inputs, watch=Disturber(signal.SIGKILL, after_checkpoints=2)), store)
    newest = max((tmp_path / "training").glob(".building-*/checkpoints/*.json")).with_suffix(".safetensors")
    newest.write_bytes(newest.read_bytes()[:1000])
    check_resumed(build(CONFIG, inputs, store), undisturbed)


def check_resumed(resumed, undisturbed):
    assert resumed.counts["resumed"] == 1
    assert weights(resumed) == weights(undisturbed)
    assert metrics_without_clock(resumed) == metrics_without_clock(undisturbed)
    assert set(resumed.files) == set(undisturbed.files)


def test_interrupted_supervisor_stops_the_process_and_passes_the_interrupt_on(tmp_path):
    store = Store(tmp_path, "made")
    pids = []

    def interrupt(folder, fingerprint):
        if list((folder / "checkpoints").glob("*.json")):
            pids.append(json.loads((folder / "worker.json").read_text())["pid"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(training_config(budget="2M tokens"), replace(small_inputs(store), watch=interrupt), store)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    log = next((tmp_path / "training").glob(".building-*/training.log")).read_text()
    stopped = re.search(r"stopped at step (\d+) of (\d+), with a checkpoint", log)
    assert int(stopped[1]) < int(stopped[2])


def test_loss_that_explodes_is_said_with_the_learning_rate(tmp_path):
    store = Store(tmp_path, "made")
    optimizer = training_config().optimizer.model_copy(update={"learning_rate": 1e30, "max_gradient_norm": 1e30})
    with pytest.raises(
        DivergenceError, match=r"^training diverged at step \d+: .* lower training.optimizer.learning_rate"
    ):
        build(training_config().model_copy(update={"optimizer": optimizer}), small_inputs(store), store)


def test_time_budget_is_measured_by_the_process_that_trains(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(proposal, "MAX_MEASURED_SECONDS", 0.2)
    said = []
    store = Store(tmp_path, "made", lambda stage, done, total, text: said.append((stage, done, total, text)))
    shards = small_inputs(store).shards
    config = training_config(budget="1h", checkpoint_seconds=20)
    with caplog.at_level(logging.INFO):
        first, second = plan_training(config, shards, store), plan_training(config, shards, store)
    assert second == first
    assert "as planned before" in caplog.text
    assert ("training", 0, None, "measuring how fast this machine trains, for 1h") in said
    assert min(first.speed.step_seconds, first.speed.start_seconds) > 0
    assert 0.99 * 3600 < first.seconds <= 3600


def test_plan_is_said_before_training_and_its_expectations_stay_with_the_model(undisturbed, tmp_path, caplog):
    expected = undisturbed.details["expected"]
    assert expected == {"seconds": None, "bits_per_byte": None, "cost": None}  # too short to be measured
    store = Store(tmp_path, "made")
    with caplog.at_level(logging.INFO), pytest.raises(TrainingInterruptedError):
        build(CONFIG, replace(small_inputs(store), watch=Disturber(signal.SIGTERM)), store)
    table = next(record.getMessage() for record in caplog.records if "the plan" in record.getMessage())
    assert re.search(r"steps +390 of 128 tokens\n", table)
    assert re.search(r"expected bits per byte +outside what was measured", table)
