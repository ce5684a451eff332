from dataclasses import replace

import pytest
import torch

from minimind.model.transformer import KeyValueCache, ModelConfig, Transformer


def test_token_never_sees_later_tokens(small_model):
    tokens = torch.randint(0, 97, (1, 20), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[0, 12:] = 5
    with torch.inference_mode():
        torch.testing.assert_close(small_model(tokens)[:, :12], small_model(changed)[:, :12], atol=1e-5, rtol=0)


@pytest.mark.parametrize("pieces", [[24], [1] * 24, [7, 1, 9, 7]])
def test_cached_logits_equal_full_recomputation(small_model, pieces):
    tokens = torch.randint(0, 97, (2, 24), generator=torch.Generator().manual_seed(2))
    cache = KeyValueCache(small_model.config, 2, torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        cached = torch.cat([small_model(piece, cache) for piece in tokens.split(pieces, dim=1)], dim=1)
        torch.testing.assert_close(cached, small_model(tokens), atol=2e-5, rtol=0)
    assert cache.lengths == [24, 24]


def test_more_tokens_than_positions_are_refused(small_model):
    with pytest.raises(ValueError, match="25 tokens are more than the model's 24 positions"):
        small_model(torch.zeros(1, 25, dtype=torch.int64))


def test_initial_weights_depend_on_the_seed_alone():
    config = ModelConfig(300, 16, 2, 2, 1, 8, 24, 16)
    first, again, other = Transformer(config), Transformer(config), Transformer(config)
    for model, seed in ((first, 1), (again, 1), (other, 2)):
        model.initialize(torch.Generator().manual_seed(seed))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.embed_tokens.weight, other.embed_tokens.weight)
    loss = torch.nn.functional.cross_entropy(first(torch.arange(16)[None]).flatten(0, 1), torch.arange(1, 17))
    assert loss.item() == pytest.approx(torch.log(torch.tensor(300.0)).item(), rel=0.02)  # knows nothing yet


@pytest.mark.parametrize(
    "change", [{}, {"tied_embeddings": False}, {"embedding_norm": True}, {"residual_scalars": True}]
)
def test_parameters_are_reckoned_as_the_model_has_them(small_model, change):
    config = replace(small_model.config, **change)
    assert config.parameters == sum(parameter.numel() for parameter in Transformer(config).parameters())


def test_zero_output_projections_make_each_block_the_identity_and_leave_other_weights_alone():
    config = ModelConfig(300, 16, 2, 2, 1, 8, 24, 16)
    zeroed, plain = Transformer(config), Transformer(config)
    zeroed.initialize(torch.Generator().manual_seed(1), zero_output_projections=True)
    plain.initialize(torch.Generator().manual_seed(1))
    tokens = torch.arange(16)[None]
    torch.testing.assert_close(zeroed.hidden_states(tokens), zeroed.norm(zeroed.embed_tokens(tokens)))
    for (name, a), b in zip(zeroed.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, torch.zeros_like(a) if name.endswith(("o_proj.weight", "down_proj.weight")) else b)
