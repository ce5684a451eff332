"""Which registered version a retraining goes on from, where its config says `champion`."""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from minimind.digests import sha256_of_file
from minimind.errors import ModelNotFoundError
from minimind.registry import lineage
from minimind.registry.packaged_model import download
from minimind.registry.promotion import champion_of
from minimind.registry.tracking import FINGERPRINT_TAG, connect, if_there, refusals_said
from minimind.store import Store
from minimind.training.start import Start

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ancestor:
    name: str
    version: str
    run_id: str
    corpus: str | None  # digest of the raw documents; None: unknown
    ledger: str | None  # sha256 of the split ledger that its cleaning left
    training: str | None  # fingerprint of the build


def line_of_champions(uri: str, name: str) -> tuple[Ancestor, ...]:
    """The champion, the version that it started from, and so on back to one from scratch; empty without a champion."""
    with refusals_said(uri):
        client = connect(uri)
        line: list[Ancestor] = []
        number = if_there(lambda: champion_of(client, name))
        while number and number not in [ancestor.version for ancestor in line]:
            version = if_there(partial(client.get_model_version, name, number))
            if version is None:  # somebody deleted it
                break
            tags = version.tags
            known = (tags.get(tag) for tag in (lineage.CORPUS_TAG, lineage.LEDGER_TAG, FINGERPRINT_TAG))
            line.append(Ancestor(name, number, str(version.run_id), *known))
            number = tags.get(lineage.PARENT_TAG)
    return tuple(line)


def parent_for(line: tuple[Ancestor, ...], corpus: str, key: str) -> Ancestor | None:
    """The newest of the line that was made from another corpus; None if there is none. The log says which, and why.

    As with the split's ledger, repeating a run goes on from the same version and so changes nothing: a champion that
    was made from this very corpus would else be trained on it once more with every run.
    """
    found = next((ancestor for ancestor in line if ancestor.corpus != corpus), None)
    if found:
        logger.info("%s is champion: version %s of %s", key, found.version, found.name)
    elif line:
        logger.info(
            "%s is champion, which was made from this very corpus and from scratch: this run begins as it did", key
        )
    else:
        logger.info("%s is champion, and there is none yet: this run begins from scratch", key)
    return found


def start_at(ancestor: Ancestor, uri: str, store: Store) -> Start:
    """Raises ModelNotFoundError if the version's files are gone."""
    with refusals_said(uri):
        client = connect(uri)
        try:
            folder = download(client, client.get_model_version(ancestor.name, ancestor.version), uri, store.root)
        except ModelNotFoundError as error:
            raise ModelNotFoundError(
                f"version {ancestor.version} of {ancestor.name}, from which this run would go on, cannot be read: "
                f"{error}; make another version champion, or set training.start_from to scratch and tokenizer.keep and "
                "shards.old_documents_share to null"
            ) from error
    return Start(folder, {"name": ancestor.name, "version": ancestor.version}, ancestor.training)


def ledger_of(ancestor: Ancestor, uri: str, store: Store) -> Path:
    """Every document that had been assigned to a split when the version was made: the store's copy, or MLflow's.

    Raises ModelNotFoundError if it is gone or damaged in both places.
    """
    kept = store.root / "ledgers" / f"{ancestor.ledger}.parquet"
    if kept.is_file() and sha256_of_file(kept) == ancestor.ledger:
        return kept
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    kept.parent.mkdir(parents=True, exist_ok=True)
    with refusals_said(uri), store.scratch() as temporary:
        try:
            got = Path(
                download_artifacts(
                    run_id=ancestor.run_id,
                    artifact_path="lineage/ledger.parquet",
                    dst_path=str(temporary),
                    tracking_uri=uri,
                )
            )
            if sha256_of_file(got) == ancestor.ledger:
                return got.replace(kept)
            problem = f"is not the one of its tag {lineage.LEDGER_TAG}"
        except (MlflowException, OSError) as error:
            problem = f"cannot be read: {' '.join(str(error).split())}"
    raise ModelNotFoundError(
        f"the ledger of version {ancestor.version} of {ancestor.name}, which tells old documents from new ones, "
        f"{problem}; set shards.old_documents_share to null"
    )
