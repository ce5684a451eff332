import shutil
from pathlib import Path

import pytest
import torch

from minimind.config import EvaluationConfig, SamplingConfig, ShardsConfig, TokenizerConfig
from minimind.model.hugging_face import export_model
from minimind.model.transformer import ModelConfig, Transformer
from minimind.shards import build as shards_stage
from minimind.store import Outcome, Recipe
from minimind.tokenizer import build as tokenizer_stage
from minimind.training.optimizer import OptimizerSettings
from minimind.training.plan import Plan

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
def shards(store, cleaning, tokenizer_manifest):
    section = ShardsConfig(tokens_per_shard=1_000_000, source_weights={}, old_documents_share=None)
    return shards_stage.build(section, shards_stage.ShardsInputs(cleaning, tokenizer_manifest), store)


@pytest.fixture
def plan() -> Plan:
    """Of three sequences of 32 tokens."""
    return Plan(
        model=ModelConfig(VOCABULARY_SIZE, 16, 2, 2, 1, 8, 32, 32), zero_output_projections=False, steps=3,
        sequence_length=32, micro_batch_sequences=1, accumulation=1, processes=1, document_mask=False, z_loss=0,
        optimizer=OptimizerSettings(
            learning_rate=1e-2, weight_decay=0, matrix_optimizer="adamw", matrix_learning_rate=1e-2,
            matrix_weight_decay=0, muon_momentum=0.9, reference_width=16, schedule="linear", warmup_ratio=0.1,
            min_learning_rate_ratio=0.1, decay_ratio=0.4, beta1=0.9, beta2=0.95, max_gradient_norm=1,
        ),
        evaluations=1, evaluation_windows=1, seed=1, device="cpu", hardware="none", threads=1, precision="fp32",
        max_gradient_growth=20, compiled=False, torch=torch.__version__, shards={},
    )  # fmt: skip


@pytest.fixture
def training(store, tokenizer_manifest, plan):
    """A model with random weights, published as a training build would."""
    torch.manual_seed(1)
    model = Transformer(plan.model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))

    def write(folder: Path) -> Outcome:
        export_model(model, folder / "model")
        for name in tokenizer_manifest.files:
            shutil.copy(tokenizer_manifest.file(name), folder / "model" / name)
        plan.write(folder / "plan.json")
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
