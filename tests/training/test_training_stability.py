import math

import pytest
import torch
from torch import nn

from minimind.training.stability import SETTLED_STEPS, StepGuard, guarded_step


def judged(guard, *norms):
    return [bool(guard.judge(torch.tensor(float(norm)))) for norm in norms]


def test_steps_without_a_number_are_skipped_and_counted():
    guard = StepGuard(20, torch.device("cpu"))
    assert judged(guard, 1, math.nan, math.inf, 3) == [False, True, True, False]
    usual, taken, skipped, in_a_row = guard.state.tolist()
    assert (usual, taken, skipped, in_a_row) == (2, 2, 2, 0)


def test_step_is_skipped_that_grows_beyond_the_usual_norm():
    guard = StepGuard(20, torch.device("cpu"))
    assert not any(judged(guard, *[1] * SETTLED_STEPS, 19))
    usual = guard.state[0].item()
    assert judged(guard, 21 * usual, 19 * usual) == [True, False]


def test_early_steps_are_not_compared():
    assert not any(judged(StepGuard(20, torch.device("cpu")), 1e-6, *[1] * (SETTLED_STEPS - 1)))


def test_norm_that_was_skipped_does_not_become_usual():
    guard = StepGuard(20, torch.device("cpu"))
    judged(guard, *[1] * SETTLED_STEPS)
    assert judged(guard, *[30] * 9) == [True] * 9
    assert guard.state.tolist() == [1, SETTLED_STEPS, 9, 9]


def stepped(parameter, optimizer, gradients):
    for gradient, found_inf in gradients:
        parameter.grad = gradient.clone()
        guarded_step(optimizer, torch.tensor(found_inf, device=parameter.device))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("fused", [True, False])
def test_skipped_step_changes_nothing_and_the_others_are_bit_identical(fused, device):
    torch.manual_seed(1)
    guarded, plain = (nn.Parameter(torch.ones(7, device=device)) for _ in range(2))
    optimizers = [torch.optim.AdamW([one], fused=fused, weight_decay=0.1) for one in (guarded, plain)]
    gradients = [torch.randn(7).to(device) for _ in range(4)]
    poisoned = (torch.full((7,), math.nan, device=device), 1.0)
    stepped(guarded, optimizers[0], [(gradients[0], 0.0), poisoned, *((one, 0.0) for one in gradients[1:]), poisoned])
    for gradient in gradients:
        plain.grad = gradient.clone()
        optimizers[1].step()
    assert torch.equal(guarded, plain)
    states = [optimizer.state[one] for optimizer, one in zip(optimizers, (guarded, plain), strict=True)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
