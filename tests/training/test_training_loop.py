"""Steps taken in the test's own process; the process around them is tested in test_training_build.py."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from small import make_documents, training_config

from minimind.errors import DivergenceError, TrainingError, UserError
from minimind.model.bits_per_byte import document_nats
from minimind.model.hugging_face import load_model
from minimind.model.transformer import ModelConfig
from minimind.shards.reader import ShardReader
from minimind.training.__main__ import run
from minimind.training.checkpoint import CheckpointFolder, CheckpointWriter, gather_tensors
from minimind.training.device import choose_kernels
from minimind.training.dynamics import Meter
from minimind.training.holdout import Holdout, holdout_windows
from minimind.training.loop import Trainer, train
from minimind.training.metrics import CLOCKED, MetricsFile, StepMetrics, UnwrittenMetrics, read_metrics
from minimind.training.muon import compiled_update
from minimind.training.optimizer import OptimizerSettings
from minimind.training.plan import Options, Plan
from minimind.training.precision import choose_precision
from minimind.training.process import ExitCode, RunFolder, StopRequest, StopRequestedError


class NeverStop(StopRequest):
    def __init__(self):
        super().__init__(supervisor=0)

    def check(self):
        """Goes on."""


def small_plan(**changes):
    values = {
        "model": ModelConfig(300, 16, 2, 2, 1, 8, 24, 32), "steps": 20, "sequence_length": 32,
        "micro_batch_sequences": 2, "accumulation": 2, "processes": 1,
        "optimizer": OptimizerSettings(**training_config().optimizer.model_dump()),
        "evaluations": 3, "evaluation_windows": 5, "seed": 1, "device": "cpu", "hardware": "any", "threads": 1,
        "precision": "fp32", "compiled": False, "zero_output_projections": True, "document_mask": False, "z_loss": 0.0,
        "max_gradient_growth": 20, "torch": torch.__version__, "shards": {},
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


@pytest.mark.parametrize(
    ("device", "precision"),
    [
        ("cpu", "fp32"),
        pytest.param("cpu", "fp16", marks=pytest.mark.slow),
        pytest.param("cuda", "fp16", marks=pytest.mark.gpu),
        pytest.param("cuda", "bf16", marks=pytest.mark.gpu),
    ],
)
def test_trainer_restored_from_a_checkpoint_goes_on_bit_by_bit(shards, tmp_path, device, precision):
    plan = small_plan(device=device, precision=precision)
    undisturbed, interrupted, resumed = (Trainer(plan, shards) for _ in range(3))
    run_steps(interrupted, 3)
    interrupted.progress.scaler = interrupted.scaler.state_dict()
    checkpoints = CheckpointFolder(tmp_path / "checkpoints", {})
    writer = CheckpointWriter(checkpoints)
    writer.save(interrupted.tensors(), interrupted.progress, lambda: None)
    writer.wait()
    writer.close()
    found = checkpoints.load_newest()
    resumed.restore(found.tensors, found.progress)
    saved = interrupted.tensors()
    for name, tensor in resumed.tensors().items():
        assert torch.equal(tensor, saved[name]), name
        assert tensor.device == saved[name].device, name
    losses = run_steps(undisturbed, 6)
    if device == "cuda":  # which adds up in any order
        assert run_steps(resumed, 3) == pytest.approx(losses[3:], rel=0.01)
        return
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


@pytest.fixture
def torch_settings():
    """`train` sets threads and determinism for its whole process; here they are put back."""
    fill = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = fill


def test_kernels_repeat_their_bytes_on_a_cpu_and_are_chosen_by_speed_on_a_gpu(torch_settings):
    for device, repeatable in (("cpu", True), ("cuda", False), ("cpu", True)):
        choose_kernels(torch.device(device))
        assert torch.are_deterministic_algorithms_enabled() == repeatable
        assert not torch.is_deterministic_algorithms_warn_only_enabled()


class StopAt(NeverStop):
    """Asks to stop at one check; each micro-batch and each batch of an evaluation has one."""

    def __init__(self, check):
        super().__init__()
        self.left = check

    def check(self):
        self.left -= 1
        if self.left == 0:
            raise StopRequestedError


def made_options(shards, **changes):
    values = {"checkpoint_seconds": 1e-6, "permanent_checkpoint_steps": None, "max_skipped_steps": 10}
    return Options(shards=shards, **values | changes)


def run_folder(path, plan, shards):
    path.mkdir()
    folder = RunFolder(path)
    plan.write(folder.plan)
    made_options(shards).write(folder.options)
    return folder


def results(folder):
    lines = [
        {name: value for name, value in line.items() if name not in CLOCKED} for line in read_metrics(folder.metrics)
    ]
    return lines, (folder.model / "model.safetensors").read_bytes()


def test_stop_at_any_moment_and_resumption_change_nothing(shards, tmp_path, torch_settings):
    hardware = torch.backends.cpu.get_cpu_capability()
    plan = small_plan(steps=4, evaluations=2, evaluation_windows=5, hardware=hardware)
    undisturbed = run_folder(tmp_path / "undisturbed", plan, shards)
    train(undisturbed, NeverStop())
    checks = 4 * 2 + 2 * 3  # two micro-batches a step, three batches an evaluation
    for check in range(1, checks + 1):
        folder = run_folder(tmp_path / str(check), plan, shards)
        with pytest.raises(StopRequestedError):
            train(folder, StopAt(check))
        train(folder, StopAt(checks + 1))
        assert results(folder) == results(undisturbed)


def poison_gradients(trainer):
    return trainer.model.norm.weight.register_hook(lambda gradient: gradient * float("nan"))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_step_whose_gradient_is_no_number_leaves_weights_and_optimizer_as_they_were(shards, precision, device):
    trainer = Trainer(small_plan(precision=precision, device=device), shards)
    run_steps(trainer, 2)
    before = {name: tensor.clone() for name, tensor in trainer.tensors().items() if name != "guard"}
    poison = poison_gradients(trainer)
    metrics = trainer.train_step(NeverStop())
    poison.remove()
    assert metrics.guard.tolist()[2:] == [1, 1]
    assert all(torch.equal(trainer.tensors()[name], tensor) for name, tensor in before.items())
    after = trainer.train_step(NeverStop())
    assert after.guard.tolist()[1:] == [3, 1, 0]
    assert not torch.equal(trainer.model.norm.weight, before["model.norm.weight"])
    scale = {"fp32": {}, "fp16": {"scale": 2.0**15}}[precision]
    assert trainer.scaler.state_dict().items() >= scale.items()  # half of what it began with


def test_stop_with_skipped_steps_and_resumption_change_nothing(shards, tmp_path, torch_settings):
    """The guard's memory is kept: here it skips steps that are hardly steeper than usual."""
    hardware = torch.backends.cpu.get_cpu_capability()
    plan = small_plan(steps=40, evaluations=1, hardware=hardware, max_gradient_growth=1.02)
    undisturbed, resumed = (run_folder(tmp_path / name, plan, shards) for name in ("undisturbed", "resumed"))
    for folder in (undisturbed, resumed):
        made_options(shards, max_skipped_steps=100).write(folder.options)
    train(undisturbed, NeverStop())
    assert 0 < results(undisturbed)[0][-1]["skipped_steps"] < 20
    for check in (55, 20):
        with pytest.raises(StopRequestedError):
            train(resumed, StopAt(check))
    train(resumed, NeverStop())
    assert results(resumed) == results(undisturbed)


def test_checkpoint_of_other_data_is_refused_and_kept(shards, tmp_path, torch_settings, caplog):
    plan = small_plan(steps=4, evaluations=1, hardware=torch.backends.cpu.get_cpu_capability())
    folder = run_folder(tmp_path / "run", plan, shards)
    with pytest.raises(StopRequestedError):
        train(folder, StopAt(4))
    name = "train-00000.arrow"
    other = {name: hashlib.sha256((shards / name).read_bytes()).hexdigest()}
    plan.model_copy(update={"shards": other}).write(folder.plan)
    assert run(folder, NeverStop(), None) == ExitCode.REFUSED
    assert "under another plan (it differs in shards); move" in caplog.text
    plan.write(folder.plan)
    train(folder, NeverStop())
    assert json.loads(folder.summary.read_text())["resumed"] == 1


def damaged(content):
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("damage", [damaged, lambda content: content[:-8], None], ids=["flipped", "truncated", "gone"])
def test_shards_that_are_not_the_plan_s_are_refused_and_what_was_saved_stays(
    shards,
    tmp_path,
    torch_settings,
    caplog,
    damage,
):
    path = shards / "train-00000.arrow"
    content = path.read_bytes()
    hardware = torch.backends.cpu.get_cpu_capability()
    files = {path.name: hashlib.sha256(content).hexdigest()}
    folder = run_folder(tmp_path / "run", small_plan(steps=4, evaluations=1, hardware=hardware, shards=files), shards)
    with pytest.raises(StopRequestedError):
        train(folder, StopAt(4))
    saved = {path.name: path.read_bytes() for path in folder.checkpoints.iterdir()}
    path.unlink()
    if damage:
        path.write_bytes(damage(content))
    assert run(folder, NeverStop(), None) == ExitCode.REFUSED
    said = "is not the file that the plan was made for" if damage else "is missing, and the plan was made for it"
    assert f"train-00000.arrow {said}" in caplog.text
    assert {path.name: path.read_bytes() for path in folder.checkpoints.iterdir()} == saved
    path.write_bytes(content)
    train(folder, NeverStop())
    assert json.loads(folder.summary.read_text())["resumed"] == 1


def test_shards_of_a_larger_vocabulary_than_the_model_s_are_refused(shards, tmp_path, torch_settings):
    few = small_plan().model
    plan = small_plan(model=replace(few, vocabulary_size=200), hardware=torch.backends.cpu.get_cpu_capability())
    folder = run_folder(tmp_path / "run", plan, shards)
    with pytest.raises(
        UserError, match=r"train shards .* have the token id 299, and the model's vocabulary 200 tokens"
    ):
        train(folder, NeverStop())


def test_holdout_smaller_than_a_sequence_is_scored_whole(shards_folder, tmp_path, torch_settings):
    shards = shards_folder(make_documents(1, 40, 100), holdout=[np.array([0, 7, 9])])
    hardware = torch.backends.cpu.get_cpu_capability()
    folder = run_folder(
        tmp_path / "run", small_plan(steps=2, evaluations=1, evaluation_windows=1, hardware=hardware), shards
    )
    train(folder, NeverStop())
    nats = document_nats(load_model(folder.model), [np.array([0, 7, 9])], window_tokens=32, batch_tokens=64).sum()
    assert list(read_metrics(folder.metrics))[-1]["holdout_loss"] == pytest.approx(nats / 2, rel=1e-5)


def test_disk_that_fills_up_during_training_is_said_and_the_next_run_goes_on(shards, tmp_path, torch_settings):
    plan = small_plan(steps=6, evaluations=1, hardware=torch.backends.cpu.get_cpu_capability())
    undisturbed, full = (run_folder(tmp_path / name, plan, shards) for name in ("undisturbed", "full"))
    train(undisturbed, NeverStop())
    with pytest.raises(StopRequestedError):
        train(full, StopAt(6))
    (full.checkpoints / "progress.tmp").symlink_to("/dev/full")
    assert run(full, NeverStop(), None) == ExitCode.DISK_FULL
    (full.path / ".summary.json.tmp").symlink_to("/dev/full")
    assert run(full, NeverStop(), None) == ExitCode.DISK_FULL
    assert not full.summary.exists()  # it would say that training is done
    (full.path / ".summary.json.tmp").unlink()
    train(full, NeverStop())
    assert results(full) == results(undisturbed)
    assert json.loads(full.summary.read_text())["resumed"] == 2  # of the runs between, the first wrote no checkpoint


def test_permanent_checkpoints_are_those_of_the_plan_s_steps(shards, tmp_path, torch_settings):
    plan = small_plan(steps=6, evaluations=1, hardware=torch.backends.cpu.get_cpu_capability())
    folder = run_folder(tmp_path / "run", plan, shards)
    made_options(shards, checkpoint_seconds=1e6, permanent_checkpoint_steps=2).write(folder.options)
    train(folder, NeverStop())
    assert sorted(path.name for path in folder.checkpoints.glob("*.json")) == [
        f"step-{step:09}.json" for step in (2, 4, 6)
    ]


def test_plan_of_another_machine_is_refused(shards, tmp_path):
    folder = run_folder(tmp_path / "run", small_plan(hardware="Z80"), shards)
    with pytest.raises(TrainingError, match=r"the plan was made for .*Z80"):
        train(folder, NeverStop())


@pytest.mark.gpu
def test_gpu_learns_as_the_cpu_does(shards):
    precision = choose_precision("auto", torch.device("cuda"))
    gpu, cpu = Trainer(small_plan(device="cuda", precision=precision), shards), Trainer(small_plan(), shards)
    assert run_steps(gpu, 5) == pytest.approx(run_steps(cpu, 5), rel=0.05)
    assert {parameter.dtype for parameter in gpu.model.parameters()} == {torch.float32}


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_recorded_micro_batches_train_as_those_that_are_launched_one_by_one(shards, precision):
    plan = small_plan(device="cuda", precision=precision, compiled=True)
    recorded, launched = Trainer(plan, shards), Trainer(plan, shards)
    launched.recording = None
    ours, theirs = ([trainer.train_step(NeverStop()) for _ in range(6)] for trainer in (recorded, launched))
    assert recorded.recording.graph is not None
    # the optimizers would hide a gradient that is twice too large, its norm does not
    for value in ("loss", "gradient_norm"):
        found, expected = ([getattr(step, value).item() for step in steps] for steps in (ours, theirs))
        assert found == pytest.approx(expected, rel=1e-2)
    for mine, other in zip(recorded.model.parameters(), launched.model.parameters(), strict=True):
        assert (mine - other).norm() < 0.02 * other.norm()


@pytest.mark.gpu
def test_recorded_step_that_is_no_number_is_left_out_and_the_next_one_is_whole(shards):
    trainer = Trainer(small_plan(device="cuda", precision="bf16", compiled=True), shards)
    run_steps(trainer, 2)
    before = {name: tensor.clone() for name, tensor in trainer.tensors().items() if name != "guard"}
    gain = trainer.model.norm.weight
    kept = gain.detach().clone()
    with torch.no_grad():
        gain.fill_(float("nan"))  # in its place: the recording reads it there
    assert trainer.train_step(NeverStop()).guard.tolist()[2:] == [1, 1]
    with torch.no_grad():
        gain.copy_(kept)
    assert all(torch.equal(trainer.tensors()[name], tensor) for name, tensor in before.items())
    after = trainer.train_step(NeverStop())
    assert after.guard.tolist()[1:] == [3, 1, 0]
    assert after.gradient_norm.isfinite()


@pytest.mark.gpu
def test_what_is_computed_between_two_replays_changes_nothing(shards):
    plan = small_plan(device="cuda", precision="bf16", compiled=True)
    looked_at, left_alone = Trainer(plan, shards), Trainer(plan, shards)
    holdout = Holdout(shards, 32, 10, batch_sequences=2)
    losses = []
    for _ in range(4):
        losses += run_steps(looked_at, 1)
        looked_at.evaluate(holdout, NeverStop())
    assert losses == pytest.approx(run_steps(left_alone, 4), rel=1e-3)


@pytest.mark.gpu
def test_recording_goes_on_from_weights_that_were_put_in_its_place(shards):
    plan = small_plan(device="cuda", precision="bf16", compiled=True)
    trainer, other = Trainer(plan, shards), Trainer(plan, shards)
    run_steps(trainer, 3)
    tensors = {name: tensor.clone() for name, tensor in trainer.tensors().items()}
    progress = replace(trainer.progress)
    expected = run_steps(trainer, 3)
    run_steps(other, 1)  # has its recording
    other.restore(tensors, progress)
    assert run_steps(other, 3) == pytest.approx(expected, rel=1e-3)


def step_metrics(step, loss=1.0, norm=1.0, skipped=(0, 0)):
    return StepMetrics(step, torch.tensor(loss), torch.tensor(norm), 0.25, torch.tensor([1.0, 2.0, *skipped]))


def metrics_file(path, kind=MetricsFile):
    return kind(path / "metrics.jsonl", 64, 2, Meter(small_plan(), torch.device("cpu"), lambda: 0.0))


def test_one_skipped_step_too_many_in_a_row_stops_and_names_the_learning_rate(tmp_path):
    metrics = metrics_file(tmp_path)
    metrics.add(step_metrics(1))
    metrics.add(step_metrics(2, float("nan"), float("inf"), skipped=(4, 2)))
    metrics.add(step_metrics(3, float("nan"), float("inf"), skipped=(5, 3)))
    with pytest.raises(
        DivergenceError,
        match=r"at step 3: loss no number, gradient norm no number, and more than 2 steps in a row had to be skipped"
        r".*lower training.optimizer.learning_rate \(it was 0.25",
    ):
        metrics.flush()
    rows = [
        (row["step"], row["loss"], row["gradient_norm"], row["skipped_steps"]) for row in read_metrics(metrics.path)
    ]
    assert rows == [(1, 1.0, 1.0, 0), (2, None, None, 4)]


def test_process_that_writes_no_metrics_leaves_the_end_of_a_diverged_training_to_the_one_that_does(tmp_path):
    metrics = metrics_file(tmp_path, UnwrittenMetrics)
    for step in range(1, 9):
        metrics.add(step_metrics(step, norm=float("inf"), skipped=(step, step)))
    assert metrics.flush(hold_last=True)["step"] == 8  # an evaluation is due, in which it takes its part
    assert not metrics.path.exists()


def test_skipped_steps_with_taken_ones_between_them_stop_nothing(tmp_path):
    metrics = metrics_file(tmp_path)
    for step in range(1, 9):
        metrics.add(step_metrics(step, norm=float("inf"), skipped=(step // 2, step % 2)))
    metrics.flush()
    assert [row["skipped_steps"] for row in read_metrics(metrics.path)] == [0, 1, 1, 2, 2, 3, 3, 4]


def test_metrics_are_cut_back_to_the_checkpoint_and_whole_lines(tmp_path):
    metrics = metrics_file(tmp_path)
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


@pytest.mark.parametrize(
    "changes",
    [{"document_mask": True}, {"z_loss": 1e-3}, {"zero_output_projections": False}],
    ids=lambda c: next(iter(c)),
)
def test_ingredients_of_the_plan_reach_the_weights_and_the_loss_stays_cross_entropy(shards, changes):
    plain, changed = Trainer(small_plan(), shards), Trainer(small_plan(**changes), shards)
    losses = [run_steps(trainer, 2) for trainer in (plain, changed)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)  # a z-loss is no part of what is reported
    pairs = zip(plain.model.parameters(), changed.model.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


MASKED = {"document_mask": True, "model": ModelConfig(300, 32, 2, 2, 1, 16, 24, 32)}  # FlexAttention: 16 or more a head


@pytest.mark.parametrize(
    ("device", "precision", "tolerance", "changes"),
    [
        pytest.param("cpu", "fp32", 1e-4, {}, marks=pytest.mark.slow),  # needs a C++ compiler
        pytest.param("cpu", "bf16", 0.02, {}, marks=pytest.mark.slow),
        pytest.param("cuda", "fp32", 0.02, {}, marks=pytest.mark.gpu),  # whose Muon computes in bf16
        pytest.param("cuda", "bf16", 0.02, {}, marks=pytest.mark.gpu),
        pytest.param("cuda", "fp16", 0.02, {}, marks=pytest.mark.gpu),
        pytest.param("cuda", "bf16", 0.02, MASKED, marks=pytest.mark.gpu),
    ],
    ids=["fp32", "bf16", "gpu-fp32", "gpu-bf16", "gpu-fp16", "gpu-masked"],
)
def test_compiled_blocks_train_as_eager_ones_do_and_score_windows_of_any_length(
    shards, tmp_path, monkeypatch, device, precision, tolerance, changes
):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    torch._dynamo.reset()
    plan = small_plan(device=device, precision=precision, **changes)
    eager, compiled = Trainer(plan, shards), Trainer(plan.model_copy(update={"compiled": True}), shards)
    losses = run_steps(compiled, 4)
    assert losses == pytest.approx(run_steps(eager, 4), rel=tolerance)
    assert compiled.model.state_dict().keys() == eager.model.state_dict().keys()
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    holdout = Holdout(shards, 32, 10, batch_sequences=2)
    scores = [trainer.evaluate(holdout, NeverStop()) for trainer in (compiled, eager)]
    assert scores[0] == pytest.approx(scores[1], rel=max(1e-3, tolerance))
    run_steps(compiled, 1)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs > 0

    compiled_update.cache_clear()
    torch._dynamo.reset()  # as a second process begins
    counts = torch._dynamo.utils.counters["inductor"]
    counts.clear()
    again = run_steps(Trainer(compiled.plan, shards), 4)
    assert again == pytest.approx(losses, rel=tolerance)
    assert (counts["fxgraph_cache_miss"], counts["fxgraph_cache_hit"] > 0) == (0, True)
