import os
from dataclasses import replace

import pytest
import torch
from small import make_documents, small_inputs, training_config, training_inputs

from minimind.errors import ConfigError, CorpusTooSmallError, DeviceError, OutOfMemoryError
from minimind.store import Store
from minimind.training import calibration, proposal
from minimind.training.budget import make_plan, plan_again, plan_training
from minimind.training.calibration import with_steps
from minimind.training.device import physical_cores
from minimind.training.flops import flops_per_token
from minimind.training.forecast import plan_rows
from minimind.training.process import RunFolder


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store", "made")


@pytest.fixture
def shards(store):
    return small_inputs(store).shards


def test_budgets_of_tokens_and_epochs_become_steps(store, shards):
    tokens = shards.counts["train_tokens"]
    for text, steps in (("2k tokens", 2000 // 128), ("768 tokens", 6), ("3 epochs", 3 * tokens // 128)):
        plan = make_plan(training_config(budget=text), shards, store)
        assert (plan.steps, plan.accumulation, plan.batch_tokens) == (steps, 2, 128)
        assert plan.tokens == steps * 128
    assert not (store.root / "plans").exists()


def test_plan_changes_with_all_that_moves_a_sum_and_with_nothing_else(store, shards):
    plan = make_plan(training_config(), shards, store)
    assert make_plan(training_config(checkpoint_seconds=99, budget="2.0k tokens"), shards, store) == plan
    for change in ({"threads": 2}, {"seed": 2}, {"budget": "3k tokens"}, {"micro_batch_sequences": 4}):
        assert make_plan(training_config(**change), shards, store).sha256 != plan.sha256
    other = training_inputs(store, make_documents(5, 60, 120), make_documents(2, 8, 100)).shards
    assert make_plan(training_config(), other, store).sha256 != plan.sha256


def test_plan_names_threads_instruction_set_and_torch(store, shards):
    plan = make_plan(training_config(threads="auto"), shards, store)
    assert plan.threads == physical_cores() <= len(os.sched_getaffinity(0))
    assert (plan.device, plan.precision) == ("cpu", "fp32")
    assert plan.hardware == torch.backends.cpu.get_cpu_capability()
    assert plan.torch == torch.__version__


def test_plan_survives_its_file(store, shards, tmp_path):
    plan = make_plan(training_config(), shards, store)
    plan.write(tmp_path / "plan.json")
    read = type(plan).read(tmp_path / "plan.json")
    assert read == plan
    assert read.sha256 == plan.sha256


def test_recorded_plan_is_said_to_be_repeated(store, shards):
    said = dict(plan_rows(plan_again(make_plan(training_config(), shards, store), shards), None))
    assert said["expected minutes"] == said["expected bits per byte"] == "not foreseen: a recorded plan is repeated"


def test_large_holdout_is_scored_in_part_during_training(store, shards):
    plan = make_plan(training_config(), shards, store)
    few = with_steps(plan, 2, windows=100_000)
    many = with_steps(plan, 100_000, windows=100_000)
    assert few.evaluation_windows == few.micro_batch_sequences
    evaluated = many.evaluation_windows * 32 * many.evaluations
    assert evaluated == pytest.approx(calibration.EVALUATED_SHARE * many.tokens, rel=1e-3)


class MeasuredOnce:
    """Stands in for the measuring process: writes figures, and counts how often it was asked."""

    asked = 0

    def __init__(self, **figures):
        self.figures = figures

    def __call__(self, folder: RunFolder, plan, watch, arguments):
        self.asked += 1
        figures = ", ".join(f'"{name}": {value}' for name, value in self.figures.items())
        folder.summary.write_text(f"{{{figures}}}")


def test_time_budget_is_measured_once_and_then_kept(store, shards, monkeypatch):
    process = MeasuredOnce(step_seconds=0.1, window_seconds=0.01, checkpoint_seconds=0.2, start_seconds=3.0)
    monkeypatch.setattr(calibration, "run_training_process", process)
    config = training_config(budget="100s", checkpoint_seconds=20)
    plan = make_plan(config, shards, store)
    evaluating = plan.evaluations * plan.evaluation_windows * 0.01
    assert 0.99 * 100 < 3 + (plan.steps * 0.1 + evaluating) * (1 + 0.2 / 20) <= 100
    assert make_plan(config, shards, store) == plan
    others = {"max_skipped_steps": 3, "warm_start": {"peak_ratio": 0.25, "warmup_ratio": 0.1, "decay_ratio": 0.5}}
    assert make_plan(training_config(budget="100s", checkpoint_seconds=20, **others), shards, store) == plan
    assert process.asked == 1
    assert [path.suffix for path in (store.root / "plans").iterdir()] == [".json"]
    make_plan(training_config(budget="100s", checkpoint_seconds=20, seed=2), shards, store)
    assert process.asked == 2


def test_kept_plan_is_of_its_checkpoints(store, shards, monkeypatch):
    process = MeasuredOnce(step_seconds=0.1, window_seconds=0.01, checkpoint_seconds=2.0, start_seconds=3.0)
    monkeypatch.setattr(calibration, "run_training_process", process)
    rarely = make_plan(training_config(budget="100s", checkpoint_seconds=100), shards, store)
    often = make_plan(training_config(budget="100s", checkpoint_seconds=2), shards, store)
    assert often.steps < 0.6 * rarely.steps


def test_unreadable_kept_plan_is_made_anew(store, shards, monkeypatch):
    process = MeasuredOnce(step_seconds=0.1, window_seconds=0.01, checkpoint_seconds=0.2, start_seconds=3.0)
    monkeypatch.setattr(calibration, "run_training_process", process)
    plan = make_plan(training_config(budget="100s"), shards, store)
    next((store.root / "plans").iterdir()).write_text("{}")
    assert make_plan(training_config(budget="100s"), shards, store) == plan
    assert process.asked == 2


def test_budget_below_one_step_is_refused(store, shards, monkeypatch):
    with pytest.raises(ConfigError, match=r"'100 tokens' is less than one step of 128 tokens"):
        make_plan(training_config(budget="100 tokens"), shards, store)
    process = MeasuredOnce(step_seconds=3.0, window_seconds=0.01, checkpoint_seconds=0.2, start_seconds=0.0)
    monkeypatch.setattr(calibration, "run_training_process", process)
    with pytest.raises(ConfigError, match=r"'2s' is less than one step"):
        make_plan(training_config(budget="2s"), shards, store)


def test_corpus_below_one_batch_is_refused(store):
    shards = training_inputs(store, make_documents(1, 4, 10), make_documents(2, 8, 100)).shards
    with pytest.raises(CorpusTooSmallError, match=r"tokens, fewer than one batch of 128; add documents, or lower"):
        make_plan(training_config(), shards, store)


def test_holdout_without_a_token_to_score_is_refused(store):
    shards = training_inputs(store, make_documents(1, 60, 100), [make_documents(2, 1, 5)[0][:1]] * 3).shards
    with pytest.raises(CorpusTooSmallError, match="3 holdout documents have no token to score"):
        make_plan(training_config(), shards, store)


def test_gpu_that_is_not_there_is_refused(store, shards, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"training.device is cuda, but .* set training.device to auto or cpu"):
        make_plan(training_config(device="cuda"), shards, store)


def test_fp16_on_a_cpu_is_refused(store, shards):
    with pytest.raises(DeviceError, match=r"training.precision is fp16, .* but training runs on the CPU"):
        make_plan(training_config(precision="fp16"), shards, store)


def test_budget_too_short_to_finish_warm_up_is_refused(store, shards):
    make_plan(training_config(budget="768 tokens"), shards, store)
    with pytest.raises(
        ConfigError, match=r"'640 tokens' is 5 steps .* too short to finish warm-up .* need 6, 768 tokens; raise it"
    ):
        make_plan(training_config(budget="640 tokens"), shards, store)
    with pytest.raises(ConfigError, match=r"'640 tokens' is 5 steps"):
        proposal.check_budget(training_config(budget="640 tokens"))  # before anything is built
    for budget in ("768 tokens", "0.1 epochs", "10s"):
        proposal.check_budget(training_config(budget=budget))
    optimizer = training_config().optimizer.model_copy(update={"warmup_ratio": 0.0})
    assert make_plan(training_config(budget="640 tokens", optimizer=optimizer.model_dump()), shards, store).steps == 5


AUTO = {"preset": "auto", "sizes": None, "micro_batch_sequences": 4}


class Machine(MeasuredOnce):
    """A machine on which a step takes as long as its arithmetic at this share of the peak, which is 1e12 a second."""

    def __init__(self, share, monkeypatch):
        super().__init__(step_seconds=0, window_seconds=0, checkpoint_seconds=0, start_seconds=0)
        self.share, self.measured = share, []
        monkeypatch.setattr(calibration, "run_training_process", self)
        monkeypatch.setattr(proposal, "peak_flops", lambda device, precision: 1e12)

    def __call__(self, folder, plan, watch, arguments):
        self.measured.append(plan.model.hidden_size)
        self.figures["step_seconds"] = plan.batch_tokens * flops_per_token(plan.model) / (self.share * 1e12)
        super().__call__(folder, plan, watch, arguments)


def test_preset_auto_takes_the_small_model_in_a_short_time_and_measures_no_other(store, shards, monkeypatch):
    machine = Machine(0.3, monkeypatch)
    planned = plan_training(training_config(**AUTO, budget="1s"), shards, store)
    assert (planned.preset, planned.plan.model.hidden_size, machine.measured) == ("tiny", 128, [128])
    assert planned.seconds <= 1
    assert any("could not win at the device's peak: 26m, 64m, 124m" in reason for reason in planned.reasons)
    assert plan_training(training_config(**AUTO, budget="1s", price_per_hour=9.0), shards, store) == planned
    assert machine.measured == [128]
    law = replace(proposal.LADDER.law, token_term=1.0)  # a ladder that was measured anew
    monkeypatch.setattr("minimind.training.budget.LADDER", replace(proposal.LADDER, law=law))
    plan_training(training_config(**AUTO, budget="1s"), shards, store)
    assert machine.measured == [128, 128]


def test_preset_auto_ends_a_small_corpus_after_forty_epochs_and_says_so(store, shards, monkeypatch):
    Machine(0.3, monkeypatch)
    planned = plan_training(training_config(**AUTO, budget="1000h"), shards, store)
    assert 39 < planned.epochs <= 40
    assert any("the corpus is too small for 1000h: training ends after 40 epochs" in one for one in planned.reasons)
    assert (
        plan_training(training_config(budget="1h"), shards, store).epochs > 40
    )  # who names a model gets what was asked for


def test_preset_auto_in_too_short_a_time_is_refused(store, shards, monkeypatch):
    Machine(0.3, monkeypatch)
    with pytest.raises(ConfigError, match=r"too short to finish warm-up|less than one step"):
        make_plan(training_config(**AUTO, budget="0.001s"), shards, store)


def test_preset_auto_passes_over_what_does_not_fit_into_memory(store, shards, monkeypatch):
    Machine(0.3, monkeypatch)

    def only_small(plan, shards, folder):
        if plan.model.hidden_size > 128:
            raise OutOfMemoryError("it does not fit")
        return 2

    monkeypatch.setattr(proposal, "find_micro_batch", only_small)
    auto = AUTO | {"micro_batch_sequences": "auto"}
    planned = plan_training(training_config(**auto, budget="5h"), shards, store)
    assert (planned.preset, planned.plan.micro_batch_sequences) == ("tiny", 2)


def test_preset_auto_works_with_tokens_and_epochs(store, shards, monkeypatch):
    for budget in ("2k tokens", "3 epochs"):
        planned = plan_training(training_config(**AUTO, budget=budget), shards, store)
        assert (planned.preset, planned.speed, planned.seconds) == ("tiny", None, None)
        assert "nearest" in planned.reasons[0]


def test_long_budget_of_tokens_is_measured_for_its_minutes_and_cost(store, shards, monkeypatch):
    monkeypatch.setattr(proposal, "UNMEASURED_SECONDS", 0.0)
    process = MeasuredOnce(step_seconds=2.0, window_seconds=0.5, checkpoint_seconds=0.0, start_seconds=10.0)
    monkeypatch.setattr(calibration, "run_training_process", process)
    planned = plan_training(training_config(budget="2k tokens"), shards, store)
    evaluated = planned.plan.evaluations * planned.plan.evaluation_windows
    assert planned.seconds == pytest.approx(10 + 15 * 2.0 + evaluated * 0.5)
    assert planned.cost(3.6) == pytest.approx(planned.seconds / 1000)
    assert planned.cost(None) is None
    assert plan_training(training_config(budget="2k tokens"), shards, store) == planned
    assert process.asked == 1


def test_compiled_code_is_made_before_it_is_measured(store, shards, monkeypatch):
    asked = []

    def process(folder, plan, watch, arguments):
        asked.append(arguments)
        MeasuredOnce(step_seconds=1, window_seconds=0, checkpoint_seconds=0, start_seconds=0)(folder, plan, watch, ())

    monkeypatch.setattr(calibration, "run_training_process", process)
    make_plan(training_config(budget="100s", compile=True), shards, store)
    assert asked == [("--measure", "0.0"), ("--measure", "6.0")]
