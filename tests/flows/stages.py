"""Runs the stages before the registry in order, without Prefect; the body of the processes that the kill test kills.

Imported once by the server that forks them, so that a kill meets the work of a stage and not its imports.
"""

from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from minimind.cleaning.build import CleaningInputs
from minimind.cleaning.build import build as cleaning
from minimind.config import Config, load_config
from minimind.corpus.build import CorpusInputs
from minimind.corpus.build import build as corpus
from minimind.evaluation.build import EvaluationInputs
from minimind.evaluation.build import build as evaluation
from minimind.shards.build import ShardsInputs
from minimind.shards.build import build as shards
from minimind.store import Manifest, Store
from minimind.tokenizer.build import TokenizerInputs
from minimind.tokenizer.build import build as tokenizer
from minimind.training.build import TrainingInputs
from minimind.training.build import build as training

Built = Mapping[str, Manifest]
DOORS: Mapping[str, Callable[[Config, Store, Built], Manifest]] = {
    "corpus": lambda config, store, built: corpus(config.corpus, CorpusInputs(), store),
    "cleaning": lambda config, store, built: cleaning(config.cleaning, CleaningInputs(built["corpus"]), store),
    "tokenizer": lambda config, store, built: tokenizer(config.tokenizer, TokenizerInputs(built["cleaning"]), store),
    "shards": lambda config, store, built: shards(
        config.shards, ShardsInputs(built["cleaning"], built["tokenizer"]), store
    ),
    "training": lambda config, store, built: training(
        config.training, TrainingInputs(built["shards"], built["tokenizer"]), store
    ),
    "evaluation": lambda config, store, built: evaluation(
        config.evaluation, EvaluationInputs(built["training"], built["shards"], built["cleaning"]), store
    ),
}


def run_stages(config_path: Path, root: Path, say: Connection) -> None:
    """Says each stage's name when it begins."""
    config = load_config(config_path)
    store = Store(root, config.name)
    built: dict[str, Manifest] = {}
    for stage, door in DOORS.items():
        say.send(stage)
        built[stage] = door(config, store, built)
    say.send("done")
