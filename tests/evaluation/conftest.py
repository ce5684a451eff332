import shutil
from pathlib import Path

import pytest
import torch

from minimind.config import EvaluationConfig, SamplingConfig, TokenizerConfig
from minimind.model.hugging_face import export_model
from minimind.model.transformer import ModelConfig, Transformer
from minimind.store import Outcome, Recipe
from minimind.tokenizer import build as tokenizer_stage

VOCABULARY_SIZE = 400


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small products are not worth a second thread, and on a busy machine it makes them wait."""
    torch.set_num_threads(1)


@pytest.fixture
def cleaning(make_cleaning, sentences):
    """Two sources; holdout documents of very different lengths, the odd one without a single ASCII letter."""
    train = {f"{'law' if n % 3 else 'tax'}/{n:03}": sentences(n, 300) for n in range(40)}
    holdout = {f"law/h{n}": sentences(100 + n, 1 + 20 * n) for n in range(6)}
    holdout |= {"tax/odd": "漢字 👩‍👩‍👧‍👦\n", "tax/one": "x", "tax/long": sentences(200, 150)}
    return make_cleaning(train, holdout)


@pytest.fixture
def tokenizer_manifest(cleaning, store):
    inputs = tokenizer_stage.TokenizerInputs(cleaning)
    return tokenizer_stage.build(
        TokenizerConfig(keep=None, vocabulary_size=VOCABULARY_SIZE, sample_bytes=1_000_000), inputs, store
    )


@pytest.fixture
def training(store, tokenizer_manifest):
    """A model with random weights, published as a training build would."""
    config = ModelConfig(
        vocabulary_size=VOCABULARY_SIZE,
        hidden_size=16,
        layers=2,
        heads=2,
        kv_heads=1,
        head_size=8,
        intermediate_size=32,
        max_positions=32,
    )
    torch.manual_seed(1)
    model = Transformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))

    def write(folder: Path) -> Outcome:
        export_model(model, folder / "model")
        for name in tokenizer_manifest.files:
            shutil.copy(tokenizer_manifest.file(name), folder / "model" / name)
        return Outcome({"steps": 0})

    return store.build(Recipe("training", {"device": "cpu"}, {}, {}, {}), write)


@pytest.fixture
def sampling() -> SamplingConfig:
    return SamplingConfig(
        prompts=["bada ", "Ä"], holdout_prompts=2, max_new_tokens=12, temperature=0.8, top_p=0.95, seed=7
    )


@pytest.fixture
def section(sampling) -> EvaluationConfig:
    """Scores, samples and the search for leaks; other parts are asked for where they are tested."""
    return EvaluationConfig(
        max_bytes=4_000_000, stride_ratio=1.0, max_overlap=0.5, questions=0, memorisation_passages=0, generations=0,
        generation_tokens=8, speed_tokens=4, tasks=[], harness_tasks=[], seed=1, sampling=sampling,
    )  # fmt: skip
