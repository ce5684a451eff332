import pytest
import torch
from small import training_config

from minimind.model.transformer import ModelConfig, Transformer
from minimind.training.optimizer import OptimizerSettings, make_optimizer, set_learning_rates


def settings(**changes):
    return OptimizerSettings(**training_config().optimizer.model_dump() | changes)


def small_model(width=16):
    model = Transformer(ModelConfig(300, width, 2, 2, 1, 8, 24, 32, residual_scalars=True))
    model.initialize(torch.Generator().manual_seed(1))
    return model


def take_steps(model, optimizer, steps=3):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.arange(32)[None]).square().mean().backward()
        optimizer.step()


def rates_by_name(model, optimizer):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


@pytest.mark.parametrize("matrix_optimizer", ["muon", "adamw"])
def test_each_kind_of_parameter_has_its_rate_and_decay(matrix_optimizer):
    model = small_model()
    chosen = settings(
        matrix_optimizer=matrix_optimizer, matrix_learning_rate=0.02, matrix_weight_decay=0.3, learning_rate=0.01,
        weight_decay=0.1,
    )  # fmt: skip
    found = rates_by_name(model, make_optimizer(model, chosen))
    assert found.keys() == dict(model.named_parameters()).keys()
    for name, (rate, decay) in found.items():
        if "norm" in name or name.endswith("_scale"):
            assert (rate, decay) == (0.01, 0.0)
        else:
            assert (rate, decay) == ((0.01, 0.1) if name.startswith("embed_tokens") else (0.02, 0.3))


def test_adamw_updates_equal_those_of_plain_adamw():
    ours, reference = small_model(), small_model()
    plain = torch.optim.AdamW(
        [
            {"params": list(reference.matrices()), "lr": 2e-2},
            {"params": list(reference.embeddings())},
            {"params": list(reference.vectors()), "weight_decay": 0.0},
        ],
        lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=False, foreach=False,
    )  # fmt: skip
    take_steps(ours, make_optimizer(ours, settings(matrix_optimizer="adamw")))
    take_steps(reference, plain)
    for a, b in zip(ours.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_muon_moves_the_matrices_and_adamw_the_rest_as_torchs_own_do():
    ours, reference = small_model(), small_model()
    muon = torch.optim.Muon(reference.matrices(), lr=2e-2, weight_decay=0.1, momentum=0.95)
    adamw = torch.optim.AdamW(
        [{"params": list(reference.embeddings())}, {"params": list(reference.vectors()), "weight_decay": 0.0}],
        lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1,
    )  # fmt: skip
    take_steps(ours, make_optimizer(ours, settings()))
    for _ in range(3):
        reference.zero_grad()
        reference(torch.arange(32)[None]).square().mean().backward()
        muon.step()
        adamw.step()
    for a, b, start in zip(ours.parameters(), reference.parameters(), small_model().parameters(), strict=True):
        assert (a - b).norm() < 0.05 * (b - start).norm()  # the reference's Muon computes in bfloat16


def test_state_can_be_read_and_set_by_parameter():
    model, restored = small_model(), small_model()
    optimizer, other = make_optimizer(model, settings()), make_optimizer(restored, settings())
    take_steps(model, optimizer)
    restored.load_state_dict(model.state_dict())
    for a, b in zip(model.parameters(), restored.parameters(), strict=True):
        other.state[b].update({key: value.clone() for key, value in optimizer.state[a].items()})
    take_steps(model, optimizer)
    take_steps(restored, other)
    keys = {name: set(optimizer.state[parameter]) for name, parameter in model.named_parameters()}
    assert keys["layers.0.mlp.up_proj.weight"] == {"momentum_buffer"}
    assert keys["embed_tokens.weight"] == keys["norm.weight"] == {"step", "exp_avg", "exp_avg_sq"}
    for a, b in zip(model.parameters(), restored.parameters(), strict=True):
        assert torch.equal(a, b)


def test_found_inf_skips_both_parts():
    model, kept = small_model(), small_model()
    optimizer = make_optimizer(model, settings())
    model(torch.arange(32)[None]).square().mean().backward()
    optimizer.found_inf = torch.ones(())
    optimizer.step()
    for a, b in zip(model.parameters(), kept.parameters(), strict=True):
        assert torch.equal(a, b)


def test_scaled_loss_is_unscaled_and_a_step_that_overflows_is_skipped():
    scaled, plain = small_model(), small_model()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaled_optimizer, plain_optimizer = make_optimizer(scaled, settings()), make_optimizer(plain, settings())
    for overflows in (False, True):
        loss = scaled(torch.arange(32)[None]).square().mean() * (float("inf") if overflows else 1.0)
        scaler.scale(loss).backward()
        scaler.unscale_(scaled_optimizer)
        scaler.step(scaled_optimizer)
        scaler.update()
        scaled_optimizer.zero_grad()
    take_steps(plain, plain_optimizer, steps=1)
    assert scaler.get_scale() == 512.0
    for a, b in zip(scaled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_rates_are_carried_to_another_width():
    wide = small_model(width=64)
    for kind, matrix_factor in (("muon", 1.0), ("adamw", 1 / 4)):
        found = rates_by_name(wide, make_optimizer(wide, settings(matrix_optimizer=kind, reference_width=16)))
        assert found["layers.0.mlp.up_proj.weight"][0] == pytest.approx(2e-2 * matrix_factor)
        assert found["embed_tokens.weight"][0] == pytest.approx(1e-2 / 2)
        assert found["norm.weight"][0] == pytest.approx(1e-2)


def test_schedule_multiplies_every_groups_highest_rate():
    model = small_model()
    optimizer = make_optimizer(model, settings())
    set_learning_rates(optimizer, 0.5)
    set_learning_rates(optimizer, 0.25)
    found = rates_by_name(model, optimizer)
    assert found["layers.0.mlp.up_proj.weight"][0] == pytest.approx(0.25 * 2e-2)
    assert found["embed_tokens.weight"][0] == pytest.approx(0.25 * 1e-2)
