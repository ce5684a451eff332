"""Steps taken in the test's own process; the process around them is tested in test_training_build.py."""

import json

import pytest
import torch
from conftest import make_documents, training_config

from minimind.errors import DivergenceError
from minimind.model.bits_per_byte import document_nats
from minimind.model.transformer import ModelConfig
from minimind.shards.reader import ShardReader
from minimind.training.checkpoint import CheckpointFolder, gather_tensors
from minimind.training.holdout import Holdout, holdout_windows
from minimind.training.loop import Trainer
from minimind.training.metrics import MetricsFile, StepMetrics, read_metrics
from minimind.training.optimizer import OptimizerSettings
from minimind.training.plan import Plan
from minimind.training.process import StopRequest, StopRequestedError


class NeverStop(StopRequest):
    def __init__(self):
        super().__init__(supervisor=0)

    def check(self):
        """Goes on."""


def small_plan(**changes):
    values = {
        "model": ModelConfig(300, 16, 2, 2, 1, 8, 24, 32), "steps": 20, "sequence_length": 32,
        "micro_batch_sequences": 2, "accumulation": 2,
        "optimizer": OptimizerSettings(**training_config().optimizer.model_dump()),
        "evaluations": 3, "evaluation_windows": 5, "seed": 1, "device": "cpu", "hardware": "any", "threads": 1,
        "precision": "fp32", "torch": torch.__version__, "shards": {},
    }  # fmt: skip
    return Plan(**values | changes)


@pytest.fixture
def shards(shards_folder):
    return shards_folder(make_documents(1, 40, 100), holdout=make_documents(2, 10, 90))


def run_steps(trainer, steps):
    return [trainer.train_step(NeverStop()).loss.item() for _ in range(steps)]


def test_accumulated_micro_batches_equal_one_big_batch(shards):
    small, big = (Trainer(small_plan(micro_batch_sequences=size, accumulation=8 // size), shards) for size in (1, 8))
    assert run_steps(small, 4) == pytest.approx(run_steps(big, 4), rel=1e-4)
    for a, b in zip(small.model.parameters(), big.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)


def test_loss_falls_on_text_that_can_be_learnt(shards):
    losses = run_steps(Trainer(small_plan(steps=60, accumulation=4), shards), 60)
    assert sum(losses[-5:]) < 0.75 * sum(losses[:5])


def test_trainer_restored_from_a_checkpoint_goes_on_bit_by_bit(shards, tmp_path):
    undisturbed, interrupted, resumed = (Trainer(small_plan(), shards) for _ in range(3))
    run_steps(interrupted, 3)
    checkpoints = CheckpointFolder(tmp_path / "checkpoints", "plan")
    checkpoints.save(gather_tensors(interrupted.model, interrupted.optimizer), interrupted.progress)
    found = checkpoints.load_newest()
    resumed.restore(found.tensors, found.progress)
    losses = run_steps(undisturbed, 6)
    assert run_steps(resumed, 3) == losses[3:]
    for a, b in zip(resumed.model.parameters(), undisturbed.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_stop_between_micro_batches_leaves_the_weights_of_the_last_whole_step(shards):
    class StopAtThirdCheck(NeverStop):
        checks = 0

        def check(self):
            self.checks += 1
            if self.checks == 4:  # the second micro-batch of the second step
                raise StopRequestedError

    stopped, whole = Trainer(small_plan(), shards), Trainer(small_plan(), shards)
    stop = StopAtThirdCheck()
    stopped.train_step(stop)
    with pytest.raises(StopRequestedError):
        stopped.train_step(stop)
    run_steps(whole, 1)
    assert stopped.progress.step == 1
    for a, b in zip(stopped.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_bf16_keeps_weights_and_optimizer_state_in_fp32(shards):
    trainer, exact = Trainer(small_plan(precision="bf16"), shards), Trainer(small_plan(), shards)
    assert run_steps(trainer, 3) == pytest.approx(run_steps(exact, 3), rel=0.02)
    tensors = gather_tensors(trainer.model, trainer.optimizer)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


def test_holdout_score_over_all_windows_equals_that_of_the_whole_documents(shards):
    trainer = Trainer(small_plan(), shards)
    reader = ShardReader(shards, "holdout")
    documents = [reader.document(number) for number in range(reader.documents)]
    nats = document_nats(trainer.model, documents, window_tokens=32, batch_tokens=64).sum()
    windows = len(holdout_windows(reader, 32))
    score = trainer.evaluate(Holdout(shards, 32, windows, batch_sequences=2), NeverStop())
    assert score["holdout_loss"] == pytest.approx(nats / (reader.tokens - reader.documents), rel=1e-6)
    assert score["holdout_bits_per_byte"] == pytest.approx(nats / reader.text_bytes.sum() / 0.6931471805599453)


def test_part_of_the_holdout_is_spread_over_all_of_it(shards):
    reader = ShardReader(shards, "holdout")
    windows = Holdout(shards, 32, 4, batch_sequences=2).windows
    assert len(windows) == 4
    found = {
        number
        for number in range(reader.documents)
        for window in windows
        if window.tobytes() in reader.document(number).tobytes()
    }
    assert max(found) - min(found) >= reader.documents // 2


def step_metrics(step, loss=1.0, norm=1.0):
    return StepMetrics(step, torch.tensor(loss), torch.tensor(norm), 0.25)


@pytest.mark.parametrize(("loss", "norm"), [(float("nan"), 1.0), (2.0, float("inf"))])
def test_loss_or_gradient_that_is_no_number_stops_and_names_the_learning_rate(tmp_path, loss, norm):
    metrics = MetricsFile(tmp_path / "metrics.jsonl", batch_tokens=64, norm_may_overflow=False)
    metrics.add(step_metrics(1))
    metrics.add(step_metrics(2, loss, norm))
    with pytest.raises(DivergenceError, match=r"at step 2: .*lower training.optimizer.learning_rate \(it was 0.25"):
        metrics.flush()


def test_gradient_that_overflows_fp16_is_the_scalers_affair(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl", batch_tokens=64, norm_may_overflow=True)
    metrics.add(step_metrics(1, norm=float("inf")))
    metrics.flush()
    assert next(read_metrics(metrics.path))["gradient_norm"] is None


def test_metrics_are_cut_back_to_the_checkpoint_and_whole_lines(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl", batch_tokens=64, norm_may_overflow=False)
    for step in range(1, 6):
        metrics.add(step_metrics(step))
    metrics.flush()
    with metrics.path.open("a") as handle:
        handle.write('{"step": 6, "lo')
    metrics.cut_back(4, held=False)
    assert [row["step"] for row in read_metrics(metrics.path)] == [1, 2, 3, 4]
    metrics.cut_back(4, held=True)  # the line of step 4 waits for its evaluation
    assert [json.loads(line)["tokens"] for line in metrics.path.read_text().splitlines()] == [64, 128, 192]


def test_evaluations_are_spread_evenly_and_the_last_step_is_one():
    assert small_plan(steps=20, evaluations=3).evaluation_steps == {7, 14, 20}
    assert small_plan(steps=2, evaluations=5).evaluation_steps == {1, 2}
