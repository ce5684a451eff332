"""The chunked loss against the plain one, and masks of documents against documents by themselves."""

import pytest
import torch
import torch.nn.functional as F

from minimind.model.transformer import ModelConfig, Transformer
from minimind.training import objective
from minimind.training.attention import document_mask
from minimind.training.compilation import compile_blocks
from minimind.training.objective import (
    Objective,
    compiled_gradient,
    gradient_by_comparing,
    gradient_in_place,
    vocabulary_loss,
)
from minimind.training.precision import autocast


def made_loss_inputs():
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(2, 7, 16, generator=generator, requires_grad=True)
    matrix = torch.randn(50, 16, generator=generator, requires_grad=True)
    targets = torch.randint(0, 50, (2, 7), generator=generator)
    targets[0, 3:5] = -100
    return states, matrix, targets


def plain_loss(states, matrix, targets, z_loss):
    logits = F.linear(states, matrix).flatten(0, 1).float()
    nats = F.cross_entropy(logits, targets.flatten(), reduction="sum")
    counted = logits[targets.flatten() != -100]
    return nats, nats + z_loss * counted.logsumexp(1).square().sum()


@pytest.mark.parametrize("rows", [1, 4, 100])
@pytest.mark.parametrize("z_loss", [0.0, 0.1])
@pytest.mark.parametrize("into_gradient", [gradient_in_place, gradient_by_comparing])
def test_loss_and_gradients_equal_the_plain_ones(monkeypatch, rows, z_loss, into_gradient):
    monkeypatch.setitem(objective.CHUNK_LOGITS, "cpu", rows * 50)
    found = []
    for loss, arguments in ((vocabulary_loss, [into_gradient]), (plain_loss, [])):
        states, matrix, targets = made_loss_inputs()
        nats, minimised = loss(states, matrix, targets, z_loss, *arguments)
        (minimised / 12 * 3).backward()
        found.append((nats, minimised, states.grad, matrix.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
def test_compiled_gradient_equals_the_one_in_place():
    generator = torch.Generator("cuda").manual_seed(1)
    logits = 3 * torch.randn(512, 6400, generator=generator, device="cuda")
    targets = torch.randint(-1, 6400, (512,), generator=generator, device="cuda")
    targets[targets < 0] = -100
    ours = compiled_gradient()(logits, targets, 1e-4, 2.0)
    for our, their in zip(ours, gradient_in_place(logits.clone(), targets, 1e-4, 2.0), strict=True):
        torch.testing.assert_close(our, their, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("into_gradient", [gradient_in_place, gradient_by_comparing])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_loss_under_autocast_is_near_the_exact_one_and_rare_gradients_survive(dtype, into_gradient):
    found = []
    for enabled in (True, False):
        states, matrix, targets = made_loss_inputs()
        with torch.autocast("cpu", dtype=dtype, enabled=enabled):
            nats, minimised = vocabulary_loss(states, matrix, targets, 1e-4, into_gradient)
        minimised.backward()
        found.append((nats, states.grad, matrix.grad))
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_a_full_chunk_in_fp16_has_finite_gradients():
    """Of the most frequent token, whose gradient all rows add to."""
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(1, 8192, 16, generator=generator) + 3
    states.requires_grad_()
    matrix = (0.02 * torch.randn(2048, 16, generator=generator)).requires_grad_()
    targets = torch.zeros(1, 8192, dtype=torch.int64)
    with torch.autocast("cpu", torch.float16):
        _, minimised = vocabulary_loss(states, matrix, targets, 0.0, gradient_in_place)
    (minimised / 8192).backward()
    assert matrix.grad is not None
    exact = torch.autograd.grad(F.cross_entropy((states @ matrix.T)[0], targets[0]), matrix)[0]
    torch.testing.assert_close(matrix.grad, exact, rtol=0.02, atol=1e-4)


def test_residual_stream_goes_with_bfloat16_products_and_with_no_others(small_model_config):
    model = Transformer(small_model_config)
    model.initialize(torch.Generator().manual_seed(1))
    tokens = torch.randint(1, 97, (2, 25), generator=torch.Generator().manual_seed(2))
    exact = model.hidden_states(tokens)
    found = {}
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            found[dtype] = model.hidden_states(tokens)
    assert {dtype: states.dtype for dtype, states in found.items()} == {
        torch.bfloat16: torch.bfloat16,
        torch.float16: torch.float32,  # whose greatest number a residual stream may pass
    }
    assert (found[torch.bfloat16] - exact).norm() < 0.02 * exact.norm()


def test_objective_is_the_models_own_loss(small_model_config):
    model = Transformer(small_model_config)
    model.initialize(torch.Generator().manual_seed(1))
    tokens = torch.randint(1, 97, (2, 25), generator=torch.Generator().manual_seed(2))
    nats, minimised = Objective(model, z_loss=0.0)(tokens[:, :-1], tokens[:, 1:])
    expected = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum")
    torch.testing.assert_close(nats, expected)
    torch.testing.assert_close(minimised, expected)


@pytest.fixture
def small_model_config():
    return ModelConfig(97, 32, 2, 4, 2, 16, 40, 32, residual_scalars=True)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("by_blocks", [False, True])
def test_masked_documents_are_as_if_each_stood_alone(small_model_config, by_blocks):
    model = Transformer(small_model_config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.3, generator=generator)
    documents = [torch.cat([torch.zeros(1, dtype=torch.int64), torch.randint(1, 97, (n,), generator=generator)])
                 for n in (6, 11, 12)]  # fmt: skip
    packed = torch.cat(documents)[None]  # 32 tokens
    with torch.no_grad():
        masked = model.hidden_states(packed, mask=document_mask(packed, by_blocks=by_blocks))[0]
        unmasked = model.hidden_states(packed)[0]
        alone = torch.cat([model.hidden_states(document[None])[0] for document in documents])
    torch.testing.assert_close(masked, alone, atol=1e-4, rtol=1e-4)
    assert (unmasked - alone).abs().max() > 0.01


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_losses_and_on_a_gpu_gradients_through_both_masks_are_equal(small_model_config, device, precision):
    tokens = torch.randint(0, 5, (2, 32), generator=torch.Generator().manual_seed(5)).to(device)
    losses, gradients, on_gpu = [], [], device == "cuda"
    for by_blocks in (False, True):
        model = Transformer(small_model_config)
        model.initialize(torch.Generator().manual_seed(1))
        model.to(device)
        if by_blocks and on_gpu:
            compile_blocks(model)
        with torch.set_grad_enabled(on_gpu), autocast(precision, model.device):  # FlexAttention goes back on GPUs alone
            mask = document_mask(tokens, by_blocks=by_blocks)
            _, minimised = Objective(model, 0.0)(tokens, tokens, mask)
        losses.append(minimised.item())
        if on_gpu:
            minimised.backward()
            gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5 if precision == "fp32" else 1e-2)
    if on_gpu:
        ours, theirs = gradients
        assert (ours - theirs).norm() < (1e-3 if precision == "fp32" else 5e-2) * theirs.norm()
