"""Carries `metrics.jsonl` of a training to MLflow, each step once, with the time at which it was measured.

What arrived is known in three places: the progress of this object, `tracking/<fingerprint>.json` in the store, and
MLflow itself. A batch arrives as a whole or not at all, and steps go out in order; so whenever the first is lost or in
doubt (a new process, a failed request), the last step that MLflow has is where to go on, whatever the other two say.
"""

import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from minimind.errors import DiskFullError
from minimind.masking import masked
from minimind.registry.tracking import (
    as_user_error,
    connect,
    find_or_create_run,
    outages,
    problem_in_words,
    quick_requests,
)
from minimind.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

logger = logging.getLogger(__name__)

SERIES = "training/"  # before the name of a value over steps, so that `loss` can be the evaluation's
ORDER_KEY = f"{SERIES}tokens"  # every step has one; a loss may be no number
MAX_BATCH_METRICS = 1000  # MLflow's limit
PAUSE_SECONDS = 10.0  # between attempts while the server is away
NOT_WAITED_FOR = {"INVALID_PARAMETER_VALUE", "PERMISSION_DENIED", "UNAUTHENTICATED", "BAD_REQUEST"}


@dataclass(frozen=True)
class Progress:
    """Up to where a training's metrics have arrived."""

    run_id: str
    step: int  # the last one; -1: none
    offset: int  # bytes of metrics.jsonl behind its line
    line: str  # that line: tells whether the file was cut back and has grown again


class MetricForwarder:
    """Forwards for one store to one MLflow; `experiment` is the section's."""

    def __init__(self, store: Store, experiment: str, uri: str) -> None:
        self.store, self.experiment, self.uri = store, experiment, uri
        self._progress: dict[str, Progress] = {}  # by training fingerprint; only what is certain
        self._away_since: float | None = None
        self._retry_at = 0.0

    def forward(self, folder: Path, training_fingerprint: str) -> int:
        """Sends the steps that are new in `folder/metrics.jsonl`; returns how many.

        Never raises for a server that is away, and blocks for seconds at most: it says so once, and keeps trying.
        """
        if time.monotonic() < self._retry_at:
            return 0
        try:
            with quick_requests():
                sent = self._send_new(folder, training_fingerprint)
        except outages() as error:
            self._note_outage(training_fingerprint, error)
            return 0
        self._note_return()
        return sent

    def finish(self, folder: Path, training_fingerprint: str, timeout_seconds: float = 600.0) -> str:
        """Sends what is left, waiting for a server that is away; returns the run's id. Raises ServerError at last."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                with quick_requests():
                    self._send_new(folder, training_fingerprint)
            except outages() as error:
                self._note_outage(training_fingerprint, error)
                left = deadline - time.monotonic()
                said = as_user_error(self.uri, error)
                hopeless = isinstance(said, DiskFullError) or getattr(error, "error_code", None) in NOT_WAITED_FOR
                if left <= 0 or hopeless:
                    raise type(said)(f"{said}. The training is kept: run again, and it is forwarded") from error
                self.store.report("registry", 0, None, f"waiting for MLflow at {masked(self.uri)}")
                time.sleep(min(PAUSE_SECONDS / 5, left))
            else:
                self._note_return()
                return self._progress[training_fingerprint].run_id

    def _send_new(self, folder: Path, training_fingerprint: str) -> int:
        client = connect(self.uri)
        progress = self._progress.get(training_fingerprint)
        if progress is None:
            progress = self._take_up(client, training_fingerprint)
        path, sent = folder / "metrics.jsonl", 0
        if not _still_ends_at(path, progress):
            progress = Progress(progress.run_id, progress.step, 0, "")
        for batch in _batches(_new_lines(path, progress)):
            if sent == 0 and client.get_run(progress.run_id).info.status != "RUNNING":
                client.update_run(progress.run_id, status="RUNNING")
            client.log_batch(progress.run_id, metrics=[metric for line in batch for metric in _metrics(line)])
            progress, sent = Progress(progress.run_id, batch[-1].step, batch[-1].end, batch[-1].text), sent + len(batch)
            self._save(training_fingerprint, progress)
        self._progress[training_fingerprint] = progress
        return sent

    def _take_up(self, client: "MlflowClient", training_fingerprint: str) -> Progress:
        """The progress as MLflow has it; the stored offset spares reading from the beginning where it still fits."""
        run_id = find_or_create_run(client, self.store, self.experiment, self.uri, training_fingerprint)
        step = max((metric.step for metric in client.get_metric_history(run_id, ORDER_KEY)), default=-1)
        saved = self._load(training_fingerprint)
        if saved and saved.run_id == run_id and saved.step <= step:
            return Progress(run_id, step, saved.offset, saved.line)
        return Progress(run_id, step, 0, "")

    def _note_outage(self, training_fingerprint: str, error: Exception) -> None:
        self._progress.pop(training_fingerprint, None)  # the last request may have arrived or not: ask again
        self._retry_at = time.monotonic() + PAUSE_SECONDS
        if self._away_since is None:
            self._away_since = time.monotonic()
            logger.warning(
                "MLflow at %s is away: %s; metrics are kept in the store and sent when it is back",
                masked(self.uri), problem_in_words(error),
            )  # fmt: skip

    def _note_return(self) -> None:
        self._retry_at = 0.0
        if self._away_since is not None:
            logger.info("MLflow is back after %.0f s", time.monotonic() - self._away_since)
            self._away_since = None

    def _file(self, training_fingerprint: str) -> Path:
        return self.store.root / "tracking" / f"{training_fingerprint}-{self.store.domain}.json"

    def _load(self, training_fingerprint: str) -> Progress | None:
        try:
            return Progress(**json.loads(self._file(training_fingerprint).read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            logger.warning("%s is unreadable (%s); MLflow is asked instead", self._file(training_fingerprint), error)
            return None

    def _save(self, training_fingerprint: str, progress: Progress) -> None:
        path = self._file(training_fingerprint)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}-{os.getpid()}")
        beside.write_text(json.dumps(asdict(progress)))
        beside.replace(path)


# --- the file ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    step: int
    values: dict[str, float]
    milliseconds: int
    end: int  # bytes from the beginning of the file
    text: str


def _still_ends_at(path: Path, progress: Progress) -> bool:
    """Whether the file still has the line behind which reading would go on; a resumed training cuts the file back."""
    if progress.offset == 0:
        return True
    expected = progress.line.encode()
    try:
        with path.open("rb") as file:
            file.seek(progress.offset - len(expected))
            return file.read(len(expected)) == expected
    except FileNotFoundError:
        return False


def _new_lines(path: Path, progress: Progress) -> Iterator[Line]:
    """The whole lines behind the progress; a step that has arrived is passed over, though it was computed anew."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(progress.offset)
        end = progress.offset
        for raw in takewhile(lambda raw: raw.endswith(b"\n"), file):
            end += len(raw)
            line = _parse(raw, end)
            if line.step > progress.step:
                yield line


def _parse(raw: bytes, end: int) -> Line:
    values = json.loads(raw)
    step, seconds = int(values.pop("step")), float(values.pop("time"))
    numbers = {name: float(value) for name, value in values.items() if value is not None}
    return Line(step, numbers, round(seconds * 1000), end, raw.decode())


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """Lines in order, whole ones, as many as one request may carry."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        if batch and size + len(line.values) > MAX_BATCH_METRICS:
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.values)
    if batch:
        yield batch


def _metrics(line: Line) -> list["Metric"]:
    from mlflow.entities import Metric

    return [Metric(SERIES + name, value, line.milliseconds, line.step) for name, value in line.values.items()]
