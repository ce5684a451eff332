"""What a retraining goes on from: `champion` and folders in the config, as what the stages are given."""

from pathlib import Path

from minimind.cleaning.split import corpus_digest, ledger_path
from minimind.config import CHAMPION, SCRATCH, Config
from minimind.digests import sha256_of_file
from minimind.evaluation import overlap
from minimind.registry.parent import Ancestor, ledger_of, parent_for, start_at
from minimind.tokenizer.kept import FILE, check_kept
from minimind.training.start import Start, check_fits, check_tokenizer
from tasks.run import Run


def goes_on(config: Config) -> bool:
    """Whether the registry has to be asked for a champion."""
    return CHAMPION in (config.training.start_from, config.tokenizer.keep)


def check_folders(config: Config) -> None:
    """Raises ConfigError or ModelNotFoundError for a folder to go on from that does not fit."""
    start, kept = config.training.start_from, config.tokenizer.keep
    if start not in (SCRATCH, CHAMPION):
        check_fits(config.training, Path(start))
    if kept not in (None, CHAMPION):
        check_kept(Path(kept), config.tokenizer.vocabulary_size)
        if start not in (SCRATCH, CHAMPION):
            check_tokenizer(Start(Path(start)), sha256_of_file(Path(kept) / FILE), config.tokenizer.vocabulary_size)


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


def parent_text(run: Run) -> Path | None:
    """13-grams of all that the model of training.start_from has seen, which lie beside it where it was made here."""
    start = starting_model(run)
    path = start.folder / overlap.FILE_NAME if start else None
    return path if path and path.is_file() else None


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
