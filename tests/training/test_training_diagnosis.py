"""A made series that trips each rule, and one beside it that does not."""

import math

import pytest

from minimind.training.diagnosis import diagnose


def made(steps=200, **series):
    """Lines of a healthy training; `series` gives functions of the step's share of all steps, None for no value."""
    values = {
        "loss": lambda share: 8 - 4 * share,
        "skipped_steps": lambda share: 0,
        "data_stall": lambda share: 0.002,
        "contribution/layer_00": lambda share: 0.3,
        "contribution/layer_01": lambda share: 0.2 * min(1, 10 * share),  # begins at nothing, as ours do
        "holdout_loss": lambda share: 8.2 - 4 * share if round(100 * share) % 10 == 0 else None,
    } | series
    lines = []
    for step in range(1, steps + 1):
        line = {"step": step, "tokens": 4096 * step}
        line |= {name: value(step / steps) for name, value in values.items()}
        lines.append({name: value for name, value in line.items() if value is not None or name == "loss"})
    return lines


def patterns(lines, epochs=3.0):
    return [finding.pattern for finding in diagnose(lines, epochs)]


def test_healthy_training_is_left_without_a_finding():
    assert patterns(made()) == []


@pytest.mark.parametrize("steps", [1, 2, 4, 9])
def test_few_steps_are_no_trouble(steps):
    assert patterns(made(steps)) == []


def test_lines_of_before_there_were_dynamics_are_read():
    lines = [{"step": step, "tokens": step, "loss": 3.0, "learning_rate": 1.0} for step in range(1, 30)]
    assert patterns(lines) == []
    assert patterns([]) == []


def test_loss_that_rises_for_good_is_called_diverged():
    def rising(share):
        return 8 - 4 * share if share < 0.5 else 4 + 6 * share

    def measured(share):  # the holdout rises with it
        return rising(share) if round(100 * share) % 10 == 0 else None

    (finding,) = diagnose(made(loss=rising, holdout_loss=measured), 1.0)
    assert finding.pattern == "diverged"
    assert "from 6.11 at step 99 to 9.86" in finding.sentence
    assert "Lower training.optimizer.learning_rate" in finding.sentence


def test_noise_and_a_spike_that_heals_are_not_called_diverged():
    assert patterns(made(loss=lambda share: 8 - 4 * share + 0.5 * math.sin(900 * share))) == []
    assert patterns(made(loss=lambda share: 12 if 0.5 < share < 0.55 else 8 - 4 * share)) == []
    assert patterns(made(loss=lambda share: None if 0.5 < share < 0.55 else 8 - 4 * share)) == []


def test_many_skipped_steps_are_counted_and_a_few_are_not_trouble():
    (finding,) = diagnose(made(skipped_steps=lambda share: int(5 * share)), 1.0)
    assert finding.sentence.startswith("5 of 200 steps were skipped")
    assert patterns(made(skipped_steps=lambda share: int(2 * share))) == []


def test_layer_that_adds_nothing_is_called_dead():
    (finding,) = diagnose(made(**{"contribution/layer_01": lambda share: 0.2 * math.exp(-20 * share)}), 1.0)
    assert finding.pattern == "dead layers"
    assert finding.sentence.startswith("Layer 01 of 2 (counted from 0) added less than 0.1%")


def test_layer_that_begins_at_nothing_or_adds_little_is_alive():
    assert patterns(made(**{"contribution/layer_01": lambda share: 0 if share < 0.5 else 0.01})) == []


def test_waiting_for_data_is_said_with_its_share():
    (finding,) = diagnose(made(data_stall=lambda share: 0.12), 1.0)
    assert finding.sentence.startswith("12% of the time went into waiting for data")


def test_waiting_at_the_start_alone_is_no_stall():
    assert patterns(made(data_stall=lambda share: 0.9 if share < 0.2 else 0.01)) == []


def rising_holdout(share):
    return 5 + abs(share - 0.4) if round(100 * share) % 10 == 0 else None


def test_holdout_that_rises_over_repeated_epochs_is_called_overfitted():
    (finding,) = diagnose(made(holdout_loss=rising_holdout), 5.0)
    assert finding.pattern == "overfitted"
    assert "lowest, 5.000, after 2.0 epochs and rose to 5.600 by the end of 5.0" in finding.sentence


def test_holdout_that_rises_within_the_first_epoch_or_with_the_training_loss_is_not():
    assert patterns(made(holdout_loss=rising_holdout), epochs=0.9) == []
    assert patterns(made(holdout_loss=rising_holdout, loss=lambda share: 6.0), epochs=5.0) == []


def test_a_look_that_was_no_number_is_passed_over():
    lines = [{"step": n, "loss": 2.0, "contribution/layer_00": value} for n, value in enumerate([0.5, None, 0.5], 1)]
    assert diagnose(lines, 1.0) == []


def test_noise_between_batches_is_no_divergence_while_the_holdout_falls():
    losses = [3.0] * 130 + [2.6] * 7 + [3.0] * 7
    lines = [{"step": n, "tokens": n, "loss": loss} for n, loss in enumerate(losses, 1)]
    assert [found.pattern for found in diagnose(lines, 0.6)] == ["diverged"]
    for step, score in ((50, 3.4), (100, 3.2), (144, 3.18)):
        lines[step - 1]["holdout_loss"] = score
    assert diagnose(lines, 0.6) == []
    lines[143]["holdout_loss"] = 3.3
    assert [found.pattern for found in diagnose(lines, 0.6)] == ["diverged"]
