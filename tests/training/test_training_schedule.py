import pytest
from small import training_config

from minimind.training.optimizer import OptimizerSettings
from minimind.training.schedule import learning_rate


def settings(**changes):
    return OptimizerSettings(**training_config().optimizer.model_dump() | changes)


def test_rate_warms_up_stays_and_decays_to_its_least():
    rates = [
        learning_rate(step, 20, settings(learning_rate=1.0, warmup_ratio=0.2, decay_ratio=0.4)) for step in range(20)
    ]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4:12] == [1.0] * 8
    assert rates[12:] == pytest.approx([1 - 0.9 * step / 8 for step in range(1, 9)])
    assert rates[-1] == pytest.approx(0.1)


def test_rate_is_constant_without_phases():
    assert {learning_rate(step, 7, settings(warmup_ratio=0, decay_ratio=0)) for step in range(7)} == {1e-2}


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_few_steps_have_rates_above_zero_and_none_above_the_peak(steps):
    changes = {"warmup_ratio": 0.3, "decay_ratio": 0.7, "min_learning_rate_ratio": 0.05}
    assert all(0 < learning_rate(step, steps, settings(**changes)) <= 1e-2 for step in range(steps))
