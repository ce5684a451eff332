"""Runs the stages before the registry in order, without Prefect: `python stages.py CONFIG STORE`.

Says each stage's name when it begins. The body of the processes that the kill test kills.
"""

import sys
from pathlib import Path

from minimind.config import load_config
from minimind.store import Manifest, Store


def main(config_path: str, root: str) -> None:
    config = load_config(Path(config_path))
    store = Store(Path(root), config.name)
    built: dict[str, Manifest] = {}
    for stage in ("corpus", "cleaning", "tokenizer", "shards", "training", "evaluation"):
        door = load_door(stage)
        print(stage, flush=True)
        built[stage] = door(config, store, built)
    print("done", flush=True)


def load_door(stage: str):
    """Imports only what the stage needs, as a worker of its own would."""
    if stage == "corpus":
        from minimind.corpus.build import CorpusInputs
        from minimind.corpus.build import build as corpus

        return lambda config, store, built: corpus(config.corpus, CorpusInputs(), store)
    if stage == "cleaning":
        from minimind.cleaning.build import CleaningInputs
        from minimind.cleaning.build import build as cleaning

        return lambda config, store, built: cleaning(config.cleaning, CleaningInputs(built["corpus"]), store)
    if stage == "tokenizer":
        from minimind.tokenizer.build import TokenizerInputs
        from minimind.tokenizer.build import build as tokenizer

        return lambda config, store, built: tokenizer(config.tokenizer, TokenizerInputs(built["cleaning"]), store)
    if stage == "shards":
        from minimind.shards.build import ShardsInputs
        from minimind.shards.build import build as shards

        return lambda config, store, built: shards(
            config.shards, ShardsInputs(built["cleaning"], built["tokenizer"]), store
        )
    if stage == "training":
        from minimind.training.build import TrainingInputs
        from minimind.training.build import build as training

        return lambda config, store, built: training(
            config.training, TrainingInputs(built["shards"], built["tokenizer"]), store
        )
    from minimind.evaluation.build import EvaluationInputs
    from minimind.evaluation.build import build as evaluation

    return lambda config, store, built: evaluation(
        config.evaluation, EvaluationInputs(built["training"], built["cleaning"]), store
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
