import pytest
import torch
from torch import nn

from minimind.training.muon import COEFFICIENTS, Muon, orthogonalize

SHAPES = [(24, 16), (16, 16), (24, 16), (8, 40), (16, 16), (8, 40)]


def made_matrices(device="cpu"):
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator).to(device)) for shape in SHAPES]


def give_gradients(matrices, seed):
    generator = torch.Generator().manual_seed(seed)
    for matrix in matrices:
        matrix.grad = torch.randn(matrix.shape, generator=generator).to(matrix.device)


@pytest.mark.parametrize(
    ("device", "compiled"),
    [
        ("cpu", False),
        pytest.param("cpu", True, marks=pytest.mark.slow),  # needs a C++ compiler
        pytest.param("cuda", False, marks=pytest.mark.gpu),
        pytest.param("cuda", True, marks=pytest.mark.gpu),
    ],
)
def test_updates_equal_those_of_torchs_muon(device, compiled):
    ours, theirs = made_matrices(device), made_matrices(device)
    optimizer = Muon(ours, lr=0.02, weight_decay=0.1, momentum=0.9, compiled=compiled)
    reference = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, momentum=0.9)
    before = [matrix.detach().clone() for matrix in ours]
    for step in range(4):
        for matrices, stepped in ((ours, optimizer), (theirs, reference)):
            give_gradients(matrices, step)
            stepped.step()
    for a, b, start in zip(ours, theirs, before, strict=True):
        moved = (b - start).norm()
        assert (a - b).norm() < (0.02 if device == "cpu" else 0.05) * moved  # bfloat16: the reference, ours on a GPU
        torch.testing.assert_close(
            optimizer.state[a]["momentum_buffer"], reference.state[b]["momentum_buffer"], atol=1e-6, rtol=1e-5
        )


def test_batched_iteration_equals_one_matrix_at_a_time_in_double_precision():
    a, b, c = COEFFICIENTS
    stacked = torch.randn(3, 20, 12, generator=torch.Generator().manual_seed(1))
    for matrix, ours in zip(stacked.double(), orthogonalize(stacked, torch.float32), strict=True):
        x = matrix / matrix.norm()
        for _ in range(5):
            gram = x @ x.T
            x = a * x + b * gram @ x + c * gram @ gram @ x
        torch.testing.assert_close(ours.double(), x, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(2, 16, 16), (2, 8, 40), (2, 40, 8)])
def test_singular_values_come_near_one(shape, dtype):
    made = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    values = torch.linalg.svdvals(orthogonalize(1e-4 * made, dtype).float())
    assert values.min() > 0.3
    assert values.max() < 1.3
    assert torch.linalg.svdvals(made).amax() > 2  # something to do


def test_step_with_infinite_gradients_changes_nothing():
    matrices = made_matrices()
    optimizer = Muon(matrices, lr=0.02, weight_decay=0.1, momentum=0.9)
    give_gradients(matrices, 1)
    optimizer.step()
    kept = [(matrix.detach().clone(), optimizer.state[matrix]["momentum_buffer"].clone()) for matrix in matrices]
    matrices[0].grad[0, 0] = float("nan")
    optimizer.found_inf = torch.ones(())
    optimizer.step()
    for matrix, (weight, buffer) in zip(matrices, kept, strict=True):
        assert torch.equal(matrix, weight)
        assert torch.equal(optimizer.state[matrix]["momentum_buffer"], buffer)


def test_vectors_are_refused():
    with pytest.raises(ValueError, match="not for a parameter of 1 dimensions"):
        Muon([nn.Parameter(torch.ones(3))], lr=0.02, weight_decay=0.0, momentum=0.9)
