import math

import pytest
from small import training_config

from minimind.training.optimizer import OptimizerSettings
from minimind.training.schedule import rate_factor


def factors(steps, **changes):
    settings = OptimizerSettings(**training_config().optimizer.model_dump() | changes)
    return [rate_factor(step, steps, settings) for step in range(steps)]


def test_rate_warms_up_stays_and_decays_to_its_least():
    rates = factors(20, warmup_ratio=0.2, decay_ratio=0.4)
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4:12] == [1.0] * 8
    assert rates[12:] == pytest.approx([1 - 0.9 * step / 8 for step in range(1, 9)])
    assert rates[-1] == pytest.approx(0.1)


def test_cosine_without_warmup_falls_to_a_tenth_over_the_whole_run():
    rates = factors(50, schedule="cosine", warmup_ratio=0.0, decay_ratio=1.0, min_learning_rate_ratio=0.1)
    assert rates == pytest.approx([0.1 + 0.9 * (1 + math.cos(math.pi * step / 50)) / 2 for step in range(1, 51)])


def test_rate_is_constant_without_phases():
    assert set(factors(7, warmup_ratio=0, decay_ratio=0)) == {1.0}


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_few_steps_have_rates_above_zero_and_none_above_the_peak(steps, schedule):
    rates = factors(steps, schedule=schedule, warmup_ratio=0.3, decay_ratio=0.7, min_learning_rate_ratio=0.05)
    assert all(0 < rate <= 1 for rate in rates)
