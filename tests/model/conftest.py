import pytest
import torch

from minimind.model.transformer import ModelConfig, Transformer


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small products are not worth a second thread, and on a busy machine it makes them wait."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_model() -> Transformer:
    """Grouped queries, heads that do not add up to the hidden size, norms that are not one."""
    config = ModelConfig(
        vocabulary_size=97, hidden_size=32, layers=2, heads=4, kv_heads=2, head_size=12, intermediate_size=40,
        max_positions=24, rope_theta=10_000.0, norm_epsilon=1e-6,
    )  # fmt: skip
    model = Transformer(config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.3, generator=generator)
    return model.eval()
