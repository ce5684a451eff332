"""The warm start benchmark: how documents are shared out, and its table on made-up rows."""

import pytest

from benchmarks.warm_start import ARMS, KEY, age_of
from benchmarks.warm_start_table import crossing, render

CURVE = [{"tokens": 100, "bits_per_byte": 3.0}, {"tokens": 200, "bits_per_byte": 2.0}]


def row(arm, seed, score, curve=CURVE):
    values = {"corpus": "law", "every": 1, "old": "random", "preset": "micro", "vocabulary_size": 300, "tokens": "200"}
    values |= {"seed": seed, "arm": arm, "bits_per_byte": score, "old_bits_per_byte": score, "new_bits_per_byte": 4.0}
    values |= {"old_share": 0.5, "epochs": 0.25, "cpu_seconds": None, "parameters": 3e5, "curve": curve}
    values |= {"holdout_documents": 9, "holdout_bytes": 5000, "machine": {"processor": "a CPU"}}
    assert values.keys() >= set(KEY)
    return values


def test_documents_have_one_age_each_and_a_random_half_is_about_a_half():
    ages = [age_of(f"ca-acts-{number}", "random") for number in range(1000)]
    assert ages == [age_of(f"ca-acts-{number}", "random") for number in range(1000)]
    assert 450 < ages.count("old") < 550
    assert (age_of("ca-acts-1", "law"), age_of("cuad-1", "law")) == ("old", "new")


@pytest.mark.parametrize(("score", "share"), [(3.5, 0.5), (3.0, 0.5), (2.5, 0.75), (2.0, 1.0), (1.9, None)])
def test_curve_crosses_a_score_between_two_evaluations(score, share):
    assert crossing(CURVE, score) == share


def test_table_compares_runs_of_one_seed_with_each_other():
    fast = [{"tokens": 100, "bits_per_byte": 2.0}, {"tokens": 200, "bits_per_byte": 1.5}]
    rows = [
        row("scratch", 1, 2.0),
        row("scratch", 2, 2.2),
        row("warm-0.5", 1, 1.5, fast),
        row("warm-0.5", 2, 1.6, fast),
    ]
    page = render(rows, {arm.name: arm.says for arm in ARMS})
    [line] = [line for line in page.splitlines() if line.startswith("| warm-0.5 ")]
    assert "| 2 | 1.5500 | 1.5500 | 4.0000 | -0.5500 ± 0.0500 | 0.50 | 50% | 0.25 |" in line
    assert [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| ") and "what" not in line] == [
        "| scratch", "| warm-0.5",
    ]  # fmt: skip


def test_seed_without_a_run_from_scratch_has_no_difference():
    line = render([row("warm-1", 1, 2.0)], {arm.name: arm.says for arm in ARMS}).splitlines()[-1]
    assert "| 4.0000 |  |  | 50%" in line
