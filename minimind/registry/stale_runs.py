"""Ends in MLflow the runs of trainings that have no process any more: one that was killed could not do it itself."""

import argparse
import json
import logging
import os
from pathlib import Path

from minimind.masking import masked
from minimind.registry.tracking import FINGERPRINT_TAG, connect, outages, problem_in_words, quick_requests, tracking_uri
from minimind.store import Store

logger = logging.getLogger(__name__)


def end_stale_runs(store: Store, uri: str, own: str | None = None) -> list[str]:
    """The ids of the runs that were ended: as FINISHED where the model lies in the store, else as KILLED.

    Only those of this store whose training has no process now; with its model there, a run may be at its evaluation, so
    that none is ended while flow runs other than `own` work. A later run that continues the training opens its run
    again. A server that is away is left alone, with a line in the log.
    """
    try:
        with quick_requests():
            return _end_stale_runs(store, uri, own)
    except outages() as error:
        logger.warning("MLflow at %s was not asked for runs to end: %s", masked(uri), problem_in_words(error))
        return []


def _end_stale_runs(store: Store, uri: str, own: str | None) -> list[str]:
    known = _training_of_run(store)
    if not known:
        return []
    client = connect(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    filtered = "attributes.status = 'RUNNING'"
    ended = []
    for run in client.search_runs(experiments, filtered, max_results=1000):
        fingerprint = run.data.tags.get(FINGERPRINT_TAG)
        if fingerprint is None or known.get(run.info.run_id) != fingerprint:
            continue
        if store.is_locked(f"training-{fingerprint}"):
            continue
        is_done = store.find("training", fingerprint) is not None
        if is_done and store.working_runs() - {own}:
            continue
        client.set_terminated(run.info.run_id, "FINISHED" if is_done else "KILLED")
        logger.info("MLflow: ended the run %s, whose training has no process any more", run.info.run_name)
        ended.append(str(run.info.run_id))
    return ended


def _training_of_run(store: Store) -> dict[str, str]:
    """Run id -> training fingerprint of what this store has forwarded."""
    found = {}
    for path in (store.root / "tracking").glob("[!.]*.json"):
        try:
            fingerprint, _, _ = path.stem.partition("-")  # behind it, the domain
            found[str(json.loads(path.read_text())["run_id"])] = fingerprint
        except (OSError, ValueError, KeyError, TypeError):
            continue  # half written by a full disk; the forwarder says so
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Ends runs in MLflow whose training was killed.")
    parser.add_argument("--store", type=Path, required=True)
    root = parser.parse_args().store
    end_stale_runs(Store(root, ""), tracking_uri(root, os.environ))
