"""The champion beside a new version: found, seen to load, and scored on the documents of this run's holdout."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from minimind.errors import ModelNotFoundError, NotComparableError, OutOfMemoryError
from minimind.evaluation import overlap
from minimind.evaluation.compare import Difference, compare, compare_by_source, paired, read_scores
from minimind.evaluation.scoring import DocumentScores, score_folder
from minimind.evaluation.seed_spread import Known
from minimind.model.hugging_face import load_model
from minimind.registry.gate import Measured
from minimind.registry.packaged_model import download
from minimind.registry.promotion import is_taken_out
from minimind.registry.required import champions_figures
from minimind.registry.tracking import run_of
from minimind.store import Store
from minimind.tokenizer.bpe import load_tokenizer
from minimind.training.device import is_out_of_memory

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from minimind.registry.build import RegistryInputs


class ChampionUnreadableError(Exception):
    """The champion cannot be measured; the message says why."""


def measure(
    client: "MlflowClient", inputs: "RegistryInputs", store: Store, spread: Known, version: str, champion: str | None
) -> Measured:
    """The new version beside the champion, on the documents that both are scored on. A champion's score is never taken
    from before: the holdout may be another one."""
    name, evaluation = inputs.config.name, inputs.stages["evaluation"]
    mine = read_scores(evaluation.file("documents.parquet"))
    unreadable, incomparable, whole, unchecked = None, None, None, 0
    champion_figures: Mapping[str, float] = {}
    sources: dict[str, Difference | None] = {}
    if champion is not None and champion != version:
        try:
            with lack_of_memory_said(champion):
                folder = folder_of_champion(client, inputs, store, champion)
                before, now = paired(score_champion(folder, inputs), mine)
                champion_figures = figures_of_champion(client, inputs, champion, folder)
        except ChampionUnreadableError as error:
            unreadable = str(error)
        except NotComparableError as error:
            incomparable = str(error)
        else:
            whole = compare(before, now, spread.spread)
            unchecked = 0 if overlap.has_filter(folder) else whole.documents
            sources = dict.fromkeys(sorted(set(mine.sources))) | compare_by_source(before, now, spread.spread)
    return Measured(
        version=version,
        bits_per_byte=evaluation.counts["bits_per_byte"],
        figures=evaluation.counts,
        taken_out=is_taken_out(client, name, version),
        champion=champion,
        unreadable=unreadable,
        incomparable=incomparable,
        documents=len(mine.document_ids),
        whole=whole,
        sources=sources,
        champion_figures=champion_figures,
        spread=spread,
        unchecked_documents=unchecked,
    )


def score_champion(folder: Path, inputs: "RegistryInputs") -> DocumentScores:
    """A registered version's scores on this run's holdout, by its own tokenizer.

    Raises ChampionUnreadableError where they are no numbers; NotComparableError where it was trained on all of the
    holdout.
    """
    holdout = inputs.stages["cleaning"].file("holdout.parquet")
    scores = score_folder(folder, holdout, inputs.config.training.device, inputs.config.evaluation)
    if not math.isfinite(scores.bits_per_byte):
        raise ChampionUnreadableError(f"it scores {scores.bits_per_byte} bits per byte")
    return scores


def figures_of_champion(
    client: "MlflowClient", inputs: "RegistryInputs", version: str, folder: Path
) -> Mapping[str, float]:
    """Of the champion's own evaluation; of files that have changed since, anew."""
    run = run_of(client, client.get_model_version(inputs.config.name, version))
    figures, tags = (run.data.metrics, run.data.tags) if run else ({}, {})
    return champions_figures(
        inputs.config.registry.required_tasks, inputs.stages["evaluation"], figures, tags, folder,
        inputs.config.training.device, inputs.config.evaluation,
    )  # fmt: skip


def folder_of_champion(client: "MlflowClient", inputs: "RegistryInputs", store: Store, version: str) -> Path:
    """The champion's exported folder, once it has been seen to load.

    Raises ChampionUnreadableError where its files are gone or broken, not where MLflow does not answer.
    """
    registered = client.get_model_version(inputs.config.name, version)
    try:
        folder = download(client, registered, inputs.tracking_uri, store.root)
    except Exception as error:
        client.get_model_version(inputs.config.name, version)  # fails where it is MLflow that is away
        if not says_that_files_are_gone(error):
            raise
        raise ChampionUnreadableError(" ".join(str(error).split())) from error
    try:
        load_model(folder)
        load_tokenizer(folder)
        if overlap.has_filter(folder):
            overlap.read_filter(folder / overlap.FILE_NAME)
    except Exception as error:  # tokenizers raises no narrower one
        if says_nothing_of_the_model(error):
            raise
        raise ChampionUnreadableError(" ".join(str(error).split())) from error
    return folder


def says_that_files_are_gone(error: Exception) -> bool:
    """Whether a download failed because the files are not there; a store in trouble says nothing of the model."""
    from mlflow.exceptions import MlflowException
    from requests import HTTPError

    if isinstance(error, HTTPError):
        return error.response is not None and error.response.status_code == 404
    if isinstance(error, MlflowException):
        # of several files MLflow gives the errors as one text, without their codes
        statuses = set(re.findall(r"\b([45]\d\d) (?:Client|Server) Error\b", str(error)))
        gone = error.error_code == "RESOURCE_DOES_NOT_EXIST" or "No such file or directory" in str(error)
        return statuses == {"404"} or (not statuses and gone)
    return isinstance(error, (ModelNotFoundError, FileNotFoundError))


def says_nothing_of_the_model(error: BaseException) -> bool:
    """True for memory, disk and rights: the champion may be as good as ever."""
    return any(
        is_out_of_memory(one) or (isinstance(one, OSError) and not isinstance(one, FileNotFoundError))
        for one in with_causes(error)
    )


def with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__


@contextmanager
def lack_of_memory_said(champion: str) -> Iterator[None]:
    """Within, memory that runs out is an OutOfMemoryError of one sentence: nothing is decided without a measurement."""
    try:
        yield
    except Exception as error:
        if not any(is_out_of_memory(one) for one in with_causes(error)):
            raise
        raise OutOfMemoryError(
            f"memory ran out while the champion, version {champion}, was measured, so that nothing was decided and no "
            "alias moved; free some memory, or set training.device to cpu, and run again: finished stages are kept"
        ) from error
