import torch
from small import training_config

from minimind.model.transformer import ModelConfig, Transformer
from minimind.training.optimizer import OptimizerSettings, make_optimizer

SETTINGS = OptimizerSettings(**training_config().optimizer.model_dump())


def small_model():
    model = Transformer(ModelConfig(300, 16, 2, 2, 1, 8, 24, 32))
    model.initialize(torch.Generator().manual_seed(1))
    return model


def test_matrices_decay_and_gains_of_norms_do_not():
    model = small_model()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, kept = (
        {names[id(parameter)] for parameter in group["params"]}
        for group in make_optimizer(model, SETTINGS).param_groups
    )
    assert [group["weight_decay"] for group in make_optimizer(model, SETTINGS).param_groups] == [0.1, 0.0]
    assert all(name.endswith(("norm.weight", "layernorm.weight")) for name in kept)
    assert not any("norm" in name for name in decayed)
    assert "embed_tokens.weight" in decayed
    assert decayed | kept == set(names.values())


def test_updates_equal_those_of_plain_adamw():
    ours, reference = small_model(), small_model()
    optimizers = [
        make_optimizer(ours, SETTINGS),
        torch.optim.AdamW(
            [{"params": list(reference.matrices())}, {"params": list(reference.vectors()), "weight_decay": 0.0}],
            lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=False, foreach=False,
        ),
    ]  # fmt: skip
    tokens = torch.arange(32)[None]
    for _ in range(3):
        for model, optimizer in zip((ours, reference), optimizers, strict=True):
            optimizer.zero_grad()
            model(tokens).square().mean().backward()
            optimizer.step()
    for a, b in zip(ours.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
