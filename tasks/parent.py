"""What a retraining goes on from: `champion` and folders in the config, as what the stages are given."""

from pathlib import Path

from minimind.cleaning.split import corpus_digest, ledger_path
from minimind.config import CHAMPION, SCRATCH
from minimind.registry.parent import Ancestor, ledger_of, parent_for, start_at
from minimind.training.start import Start
from tasks.stage import Run


def starting_model(run: Run) -> Start | None:
    """The model of training.start_from; None from scratch, and where there is no champion to go on from."""
    named = run.config.training.start_from
    if named == SCRATCH:
        return None
    if named != CHAMPION:
        return Start(Path(named), {"folder": named})
    parent = parent_of(run, "training.start_from")
    return start_at(parent, run.tracking_uri, run.store) if parent else None


def kept_tokenizer(run: Run) -> Path | None:
    """The folder of tokenizer.keep; None where a tokenizer is learned."""
    named = run.config.tokenizer.keep
    if named != CHAMPION:
        return Path(named) if named else None
    parent = parent_of(run, "tokenizer.keep")
    return start_at(parent, run.tracking_uri, run.store).folder if parent else None


def old_documents(run: Run) -> Path | None:
    """The ledger of what the model to start from has seen: a champion's own; else that of the last other corpus."""
    named = run.config.training.start_from
    if named == SCRATCH or run.config.shards.old_documents_share is None:
        return None
    if named == CHAMPION:
        parent = parent_of(run, "shards.old_documents_share")
        return ledger_of(parent, run.tracking_uri, run.store) if parent else None
    ledger = run.built["cleaning"].inputs.get("previous_ledger")
    return ledger_path(run.store, ledger) if ledger else None


def parent_of(run: Run, key: str) -> Ancestor | None:
    corpus = corpus_digest(run.built["corpus"].matching("documents-", ".parquet"))
    return parent_for(run.champions, corpus, key)
