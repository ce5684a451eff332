"""An MLflow database (made once, then copied), a few trained models, and the six builds that the registry reads."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
import yaml
from metric_lines import lines
from tokenizers import Tokenizer

from minimind.config import Config, validate_config
from minimind.digests import sha256_of_file
from minimind.model.hugging_face import export_model
from minimind.model.transformer import ModelConfig, Transformer
from minimind.registry import tracking
from minimind.shards.writer import write_shard
from minimind.store import Manifest, Outcome, Recipe, Store
from minimind.tokenizer.bpe import save_tokenizer, train_bpe
from minimind.tokenizer.encoding import TokenizedDocument

Stages = dict[str, Manifest]
MakeStages = Callable[..., Stages]
PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """For models this small, torch's threads wait for each other most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mlflow")
    tracking.initialise(tracking.tracking_uri(folder, {}), folder)
    return folder / "mlflow.db"


@pytest.fixture
def uri(store: Store, empty_database: Path) -> str:
    """The address of a database in the store, set up."""
    store.root.mkdir(parents=True, exist_ok=True)
    shutil.copy(empty_database, store.root / "mlflow.db")
    return tracking.tracking_uri(store.root, {})


@pytest.fixture(scope="session")
def config() -> Config:
    tree: dict[str, Any] = yaml.safe_load((PROJECT / "configs" / "demo.yaml").read_text())
    tree["name"] = tree["registry"]["experiment"] = "tests"
    tree["registry"] |= {"min_improvement": 0.01, "seed_spread": 0.001, "max_figures": {}}
    tree["training"]["device"] = "cpu"
    return validate_config(tree, "tests")


@pytest.fixture(scope="session")
def texts(sentences: Callable[[int, int], str]) -> list[str]:
    return [sentences(seed, 60) for seed in range(20)]


@pytest.fixture(scope="session")
def bpe(texts: list[str]) -> Tokenizer:
    return train_bpe(texts, 300)


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory: pytest.TempPathFactory, texts: list[str], bpe: Tokenizer) -> dict[str, Path]:
    """Exported models by the number of steps that they were trained for: more is better."""
    root = tmp_path_factory.mktemp("models")
    sizes = ModelConfig(
        vocabulary_size=300, hidden_size=16, layers=1, heads=2, kv_heads=1, head_size=8, intermediate_size=32,
        max_positions=64,
    )  # fmt: skip
    model = Transformer(sizes)
    model.initialize(torch.Generator().manual_seed(1))
    tokens = torch.tensor([[0, *bpe.encode(text).ids[:63]] for text in texts])
    folders = {}
    for step in range(41):
        if step in (0, 20, 21, 40):
            folders[str(step)] = folder = root / str(step) / "model"
            export_model(model, folder)
            save_tokenizer(bpe, folder)
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter -= 5e-3 * gradient.sign()  # enough here; importing torch's optimizers takes seconds
    return folders


@pytest.fixture
def make_stages(
    store: Store, config: Config, make_cleaning: Any, texts: list[str], model_folders: dict[str, Path], bpe: Tokenizer
) -> MakeStages:
    """Builds of the six stages before the registry; the model is the one trained for that many steps.

    Measured on the cleaning's holdout, if one is given, and on the questions of a file `bar`.
    """
    from minimind.config import TaskConfig
    from minimind.evaluation.scoring import score_folder
    from minimind.evaluation.tasks import read_task, run_task
    from minimind.model.hugging_face import load_model

    usual = make_cleaning(
        {f"texts/{number:02}": text for number, text in enumerate(texts[:12])},
        {f"texts/{number:02}": text for number, text in enumerate(texts[12:], 12)},
    )

    def write_training(folder: Path, steps: str) -> Outcome:
        shutil.copytree(model_folders[steps], folder / "model")
        (folder / "plan.json").write_text(json.dumps({"steps": 30}) + "\n")
        (folder / "metrics.jsonl").write_text(lines(1, 30))
        counts = {"steps": 30, "tokens": 15360, "parameters": 6000, "loss": 2.0, "holdout_loss": 2.1, "resumed": 0}
        counts |= {"epochs": 1.0, "tokens_per_second": 1000.0, "training_seconds": 15.0}
        return Outcome(counts, {"section": {"price_per_hour": 7.2}})

    def write_evaluation(folder: Path, training: Manifest, cleaning: Manifest, questions: Path | None) -> Outcome:
        scores = score_folder(training.path / "model", cleaning.file("holdout.parquet"), "cpu", config.evaluation)
        (folder / "samples.json").write_text("[]\n")
        columns = ("document_id", scores.document_ids), ("source", scores.sources), ("text_bytes", scores.text_bytes)
        columns += ("tokens", scores.tokens), ("nats", scores.nats)
        pq.write_table(pa.table(dict(columns)), folder / "documents.parquet")
        counts = {"documents": len(scores.nats), "bits_per_byte": scores.bits_per_byte, "loss": 2.2}
        if questions:
            task = read_task(TaskConfig(name="bar", path=str(questions)))
            found = run_task(load_model(training.path / "model"), bpe, task)
            counts |= {f"tasks/bar/{figure}": value for figure, value in found.items()}
        (folder / "evaluation.json").write_text(json.dumps(counts) + "\n")
        return Outcome(counts | {"tokens": 900, "xz_bits_per_byte": 4.0})

    def small(stage: str) -> Manifest:
        details = {"sources": {"texts": {"documents": 20, "bytes": 1, "licenses": {"CC0-1.0": 20}}}}
        return store.build(Recipe(stage, {}, {}, {}, {}), lambda folder: Outcome({"files": 1}, details))

    def shards_of(cleaning: Manifest) -> Manifest:
        ids = pq.read_table(cleaning.file("train.parquet"))["document_id"].to_pylist()

        def write(folder: Path) -> Outcome:
            rows = [TokenizedDocument(document_id, "texts", 1, np.zeros(1, np.uint16)) for document_id in ids]
            write_shard(folder / "train-00000.arrow", rows, vocabulary_size=300)
            return Outcome({"files": 1})

        return store.build(Recipe("shards", {}, {"train.parquet": cleaning.fingerprint}, {}, {}), write)

    def make(steps: str, cleaning: Manifest = usual, questions: Path | None = None) -> Stages:
        training = store.build(
            Recipe("training", {"trained": steps}, {}, {}, {}), lambda folder: write_training(folder, steps)
        )
        asked = {"task bar": sha256_of_file(questions)} if questions else {}
        evaluation = store.build(
            Recipe("evaluation", {"trained": steps, "holdout": cleaning.fingerprint}, asked, {}, {}),
            lambda folder: write_evaluation(folder, training, cleaning, questions),
        )
        earlier = {stage: small(stage) for stage in ("corpus", "tokenizer")} | {"shards": shards_of(cleaning)}
        return {"cleaning": cleaning, "training": training, "evaluation": evaluation, **earlier}

    return make
