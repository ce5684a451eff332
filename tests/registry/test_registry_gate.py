"""The gate's rules, with made-up scores: what is promoted, what is refused, and what is said of it."""

import math
from dataclasses import replace
from typing import Any

import pytest

from minimind.config import RegistryConfig
from minimind.evaluation.compare import Difference
from minimind.evaluation.intervals import Interval
from minimind.evaluation.seed_spread import Known, SeedSpread
from minimind.registry.gate import Decision, Measured, decide

SECTION: dict[str, Any] = {
    "experiment": "tests", "promote_when": "better", "min_improvement": 0.01, "max_regression": 0.03,
    "seed_spread": "measured", "max_figures": {}, "required_tasks": {},
}  # fmt: skip
MEASURED = Known(SeedSpread(0.005, {}, 3), "0.50% between seeds, measured with 3")
UNMEASURED = Known(None, "the spread between seeds is not measured")


def difference(percent: float, half_width: float, knows_seeds: bool = True) -> Difference:
    """Against a champion of 2 bits per byte."""
    effect = 0.02 * percent
    reach = 0.02 * half_width
    return Difference(50, 100_000, 2.0, 2 + effect, Interval(effect, effect - reach, effect + reach), knows_seeds)


def measured(percent: float = -5, half_width: float = 2, spread: Known = MEASURED, **more: Any) -> Measured:
    whole = difference(percent, half_width, spread.spread is not None)
    values = {
        "version": "4", "bits_per_byte": whole.candidate, "figures": {}, "taken_out": False, "champion": "3",
        "unreadable": None, "incomparable": None, "documents": 60,
        "whole": whole, "sources": {"law": whole}, "champion_figures": {}, "spread": spread,
    }  # fmt: skip
    return Measured(**values | more)


def decided(found: Measured, **section: Any) -> Decision:
    return decide(RegistryConfig(**SECTION | section), found)


def verdicts(decision: Decision) -> dict[str, str]:
    return {rule["rule"]: rule["verdict"] for rule in decision.rules}


@pytest.mark.parametrize(
    ("percent", "half_width", "outcome"),
    [
        (-5, 2, "promoted"),
        (-5, 5.1, "kept_champion"),  # within the noise
        (-0.9, 0.1, "kept_champion"),  # beyond the noise, and less than was asked for
        (0, 1, "kept_champion"),
        (4, 1, "kept_champion"),
    ],
    ids=["clearly better", "better by luck, perhaps", "too little", "equal", "worse"],
)
def test_better_promotes_what_is_better_by_enough_and_by_more_than_noise(percent, half_width, outcome):
    decision = decided(measured(percent, half_width))
    assert decision.outcome == outcome
    assert decision.champion == ("4" if outcome == "promoted" else "3")
    assert len(decision.rules) == 4
    assert (set(verdicts(decision).values()) == {"passed"}) == (outcome == "promoted")


@pytest.mark.parametrize(
    ("percent", "half_width", "outcome"),
    [
        (-5, 2, "promoted"),
        (0, 2.9, "promoted"),
        (1, 0.5, "promoted"),  # surely worse, and surely by less than the margin
        (0, 3.1, "kept_champion"),
        (2.5, 1, "kept_champion"),  # within the margin, and perhaps not
        (3.5, 9, "kept_champion"),
    ],
    ids=["better", "equal", "a little worse", "equal, perhaps", "worse, perhaps by too much", "far worse"],
)
def test_not_worse_promotes_what_is_surely_within_the_margin(percent, half_width, outcome):
    decision = decided(measured(percent, half_width), promote_when="not_worse")
    assert decision.outcome == outcome
    assert (set(verdicts(decision).values()) == {"passed"}) == (outcome == "promoted")


@pytest.mark.parametrize("percent", [-4, 0, 1, 2.9, 4])
@pytest.mark.parametrize("promote_when", ["better", "not_worse"])
def test_noise_makes_no_rule_easier(percent, promote_when):
    widths = [0.05, 0.5, 1, 2, 4, 8, 16]
    passed = [decided(measured(percent, width), promote_when=promote_when).promoted for width in widths]
    assert passed == sorted(passed, reverse=True)
    assert not passed[-1]


def test_better_without_a_known_spread_is_refused_and_said():
    decision = decided(measured(-50, 1, UNMEASURED))
    assert decision.outcome == "kept_champion"
    assert verdicts(decision)["of that, beyond the noise of documents and seeds"] == "not measured"
    assert any("the spread between seeds is not measured" in reason for reason in decision.reasons)


def test_not_worse_without_a_known_spread_is_refused_and_said():
    decision = decided(measured(-5, 1, UNMEASURED), promote_when="not_worse")
    assert decision.outcome == "kept_champion"
    assert verdicts(decision)["the same, with the noise of documents and seeds against it"] == "not measured"
    assert decision.seed_spread == "the spread between seeds is not measured"


def test_too_few_documents_for_an_interval_are_refused():
    whole = Difference(3, 100, 2.0, 1.5, Interval(-0.5, math.nan, math.nan), True)
    for rule in ("better", "not_worse"):
        decision = decided(measured(whole=whole), promote_when=rule)
        assert decision.outcome == "kept_champion"
        assert decision.change == [-0.25, None, None]
        assert "not measured" in verdicts(decision).values()


def test_source_that_got_worse_is_named():
    decision = decided(measured(sources={"law": difference(-6, 1), "tax": difference(3.2, 4)}))
    assert decision.outcome == "kept_champion"
    assert "more bits per byte than the champion on tax: 3.20%, at most 3.00% was asked for (50 documents of both)" in (
        decision.reasons
    )


def test_source_without_a_document_of_both_is_not_measured():
    decision = decided(measured(sources={"law": difference(-6, 1), "tax": None}))
    assert decision.outcome == "kept_champion"
    assert verdicts(decision)["more bits per byte than the champion on tax"] == "not measured"


def test_bits_per_byte_are_those_of_the_compared_documents_which_are_counted():
    decision = decided(measured(bits_per_byte=9.0))
    assert (decision.bits_per_byte, decision.documents, decision.compared_documents) == (1.9, 60, 50)
    assert "10 of 60 holdout documents stand in the champion's training text" in decision.reasons[0]


@pytest.mark.parametrize("promote_when", ["better", "not_worse"])
def test_champion_whose_training_text_is_not_known_is_said_in_the_table_and_counted(promote_when):
    decision = decided(measured(unchecked_documents=50), promote_when=promote_when)
    assert "of version 3 there is no file of the training text's 13-grams: 50 documents" in decision.reasons[0]
    assert decision.rules[1]["remark"] == "50 documents not checked for leaks into the champion's training text"
    assert decision.unchecked_documents == 50
    assert (decided(measured()).rules[1]["remark"], decided(measured()).unchecked_documents) == ("", 0)


def test_champion_with_which_no_document_is_shared_is_kept_and_said():
    decision = decided(measured(whole=None, sources={}, incomparable="every one stands in its training text"))
    assert decision.outcome == "kept_champion"
    assert decision.reasons[0] == (
        "the champion, version 3, could not be compared: every one stands in its training text"
    )
    assert verdicts(decision)["documents compared with the champion"] == "refused"


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        ({"memorisation/training_share": 0.02}, "passed"),
        ({"memorisation/training_share": 0.021}, "refused"),
        ({}, "not measured"),
    ],
)
def test_figure_has_to_be_measured_and_below_its_limit(figures, verdict):
    limits = {"max_figures": {"memorisation/training_share": 0.02}}
    decision = decided(measured(figures=figures), **limits)
    assert verdicts(decision)["memorisation: training share"] == verdict
    assert decision.promoted == (verdict == "passed")


def test_first_version_is_promoted_without_a_spread_and_not_above_a_limit():
    first = measured(
        spread=UNMEASURED, champion=None, whole=None, sources={}, figures={"memorisation/training_share": 0.5}
    )
    assert decided(first).outcome == "first"
    refused = decided(first, max_figures={"memorisation/training_share": 0.02})
    assert (refused.outcome, refused.champion) == ("not_promoted", None)


@pytest.mark.parametrize(
    ("mine", "champions", "verdict"),
    [(0.6, 0.61, "passed"), (0.55, 0.61, "refused"), (None, 0.61, "not measured"), (0.6, None, "not measured")],
)
def test_required_task_may_not_be_worse(mine, champions, verdict):
    figures = [{} if value is None else {"accuracy": value} for value in (mine, champions)]
    decision = decided(measured(figures=figures[0], champion_figures=figures[1]), required_tasks={"accuracy": 0.02})
    assert verdicts(decision)["accuracy below the champion's"] == verdict
    assert decision.promoted == (verdict == "passed")


def test_champion_that_cannot_be_loaded_does_not_block_and_limits_still_hold():
    found = measured(whole=None, sources={}, unreadable="no such file")
    decision = decided(found)
    assert decision.outcome == "promoted"
    assert decision.reasons == ["the champion, version 3, could not be measured and does not block: no such file"]
    assert decided(found, max_figures={"memorisation/training_share": 0.02}).outcome == "kept_champion"


def test_version_that_a_person_took_out_of_use_is_not_promoted_again():
    decision = decided(replace(measured(), taken_out=True))
    assert decision.outcome == "kept_champion"
    assert verdicts(decision)["taken out of use by hand"] == "refused"


def test_champion_itself_is_not_judged():
    decision = decided(measured(champion="4"))
    assert (decision.outcome, decision.rules) == ("already_champion", [])
