"""`minimind plan`: the stages up to the shards, the plan, and nothing trained."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from domain import Domain

from minimind.training import calibration, proposal

SPEED = {"step_seconds": 0.5, "window_seconds": 0.01, "checkpoint_seconds": 0.1, "start_seconds": 4.0}


@pytest.fixture(scope="module")
def domain(make_domain: Callable[..., Domain]) -> Domain:
    return make_domain("planned")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The plans that were measured, as if on a machine of a known speed."""
    plans: list[Any] = []

    def measure(folder: Any, plan: Any, watch: Callable[[], None], arguments: tuple[str, ...]) -> None:
        plans.append(plan)
        folder.summary.write_text(json.dumps(SPEED))

    monkeypatch.setattr(calibration, "run_training_process", measure)
    monkeypatch.setattr(proposal, "peak_flops", lambda device, precision: 1e12)  # however busy this machine is
    return plans


def test_plan_says_what_a_run_would_train_and_trains_nothing(domain: Domain, measured: list[Any]) -> None:
    plan = domain.plan("--set", "training.budget=20m", "--set", "training.price_per_hour=3")
    assert plan["preset"] is None
    assert plan["tokens"] == plan["steps"] * 512
    assert 0.97 * 1200 < plan["expected"]["seconds"] <= 1200
    assert plan["expected"]["cost"] == pytest.approx(plan["expected"]["seconds"] / 3600 * 3)
    assert plan["expected"]["bits_per_byte"] is None
    assert any("the last time is worth" in reason for reason in plan["reasons"])
    assert not (domain.store / "training").exists()
    assert (domain.store / "shards").exists()


def test_second_plan_measures_nothing_whatever_the_price(domain: Domain, measured: list[Any]) -> None:
    first = domain.plan("--set", "training.budget=21m")
    again = domain.plan("--set", "training.budget=21m", "--set", "training.price_per_hour=3")
    assert len(measured) == 1
    assert again["plan_sha256"] == first["plan_sha256"]
    assert (first["expected"]["cost"], again["price_per_hour"]) == (None, 3)


def test_preset_auto_takes_a_small_model_for_a_small_budget(domain: Domain, measured: list[Any]) -> None:
    for budget in ("30k tokens", "2 epochs", "10m"):
        plan = domain.plan("--set", "training.preset=auto", "--set", f"training.budget={budget}")
        assert plan["preset"] == "tiny"
        assert 800_000 < plan["parameters"] < 900_000  # a vocabulary of 400
        assert plan["reasons"]
        assert (plan["speed"] is None) == (budget != "10m")


def test_plan_for_people_is_a_table(domain: Domain, capsys: pytest.CaptureFixture[str]) -> None:
    from flows.plan import plan

    plan(domain.config, ["training.price_per_hour=3", "name=planned"], [str(domain.corpus)], False, domain.store, False)
    said = capsys.readouterr().out
    for part in ("sizes of the config", "512 tokens", "not measured", "outside what was measured", "8 sequences of 32"):
        assert part in said
    given = f"--set training.price_per_hour=3 --set name=planned --source {domain.corpus}"
    assert f"run {domain.config} {given} --store {domain.store}" in said.replace("\n", "")


@pytest.mark.parametrize(
    ("budget", "expected"),
    [("2k tokens", "'2k tokens' is 3 steps of 512 tokens, too short to finish warm-up"), ("10s", "too short")],
)
def test_budget_too_short_to_finish_warm_up_is_one_sentence(
    domain: Domain, measured: list[Any], budget: str, expected: str
) -> None:
    changes = ["--set", f"training.budget={budget}", "--set", "training.optimizer.warmup_ratio=0.02"]
    said = domain.plan(*changes, expect=2)
    assert expected in said["stderr"]
    assert "need 26" in said["stderr"]
    assert "Traceback" not in said["stderr"]
    assert not list(Path(domain.store / "training").glob("*"))
