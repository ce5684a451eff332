"""A dataset of the Hugging Face hub, streamed up to a limit. No code of a dataset is run."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from minimind.config import HuggingFaceSource
from minimind.corpus.formats import words_of
from minimind.corpus.records import Place, UnfitError, make_document
from minimind.corpus.sources.protocol import FileRead, Item, Unreadable
from minimind.errors import SourceError

COMMIT = re.compile(r"[0-9a-f]{40}")


class HuggingFace:
    """A document's id is the row's id_column, or without one, its position: stable within a revision only."""

    def __init__(self, source: HuggingFaceSource) -> None:
        self._source = source
        self._commit = ""
        self._documents = 0
        self._bytes = 0

    def probe(self, refresh: bool) -> dict[str, str]:
        """The commit that the revision stands for now; a revision that is a commit is not asked for."""
        if os.path.exists(self._source.dataset):
            raise SourceError(
                f"source {self._source.name}: {self._source.dataset} is also a folder here, which would be read "
                "instead of the hub's; run elsewhere, or read the folder with kind: local_files"
            )
        revision = self._source.revision
        self._commit = revision if COMMIT.fullmatch(revision) else self._ask_commit()
        return {f"{self._source.name}: {self._source.dataset}": f"commit {self._commit}"}

    def _ask_commit(self) -> str:
        from huggingface_hub import HfApi

        try:
            info = HfApi().dataset_info(self._source.dataset, revision=self._source.revision)
        except hub_errors() as error:
            raise self._unreachable(error) from None
        return str(info.sha)

    def is_unchanged(self, recorded: Mapping[str, str]) -> bool:
        return True

    def read(self) -> Iterator[Item]:
        """The rows in the dataset's order, until the next would exceed a limit."""
        shown = f"hf://datasets/{self._source.dataset}@{self._commit}"
        place = Place(
            source=self._source.name,
            path=shown,
            whole="",
            unit="file",
            license=self._source.license,
            metadata={"origin": shown},
        )
        digest = hashlib.sha256()
        for position, row in enumerate(self._rows()):
            if self._documents == self._source.max_documents:
                break
            try:
                document = make_document(self._record(row, position), place)
            except UnfitError as problem:
                yield Unreadable(shown, position + 1, str(problem), "line")
                continue
            text = document.text.encode()
            if self._source.max_bytes is not None and self._bytes + len(text) > self._source.max_bytes:
                break
            self._documents += 1
            self._bytes += len(text)
            digest.update(text)
            yield document
        yield FileRead(shown, self._bytes, digest.hexdigest(), 0)  # of the texts: there is no file of exactly these

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        from datasets import load_dataset

        columns = [self._source.text_column, self._source.id_column, self._source.license_column]
        try:
            rows = load_dataset(
                self._source.dataset,
                self._source.subset,
                split=self._source.split,
                revision=self._commit,
                streaming=True,
            )
            for number, row in enumerate(rows):
                missing = [column for column in columns if column is not None and column not in row]
                if number == 0 and missing:
                    raise SourceError(
                        f"source {self._source.name}: {self._source.dataset} has no column {', '.join(missing)}; "
                        f"it has {', '.join(row)}. Correct the columns in corpus.sources"
                    )
                yield row
        except hub_errors() as error:
            raise self._unreachable(error) from None

    def _record(self, row: Mapping[str, Any], position: int) -> dict[str, Any]:
        source = self._source
        return {
            "id": row.get(source.id_column) if source.id_column else f"{position:09}",
            "text": row.get(source.text_column),
            "license": row.get(source.license_column) if source.license_column else None,
        }

    def _unreachable(self, error: Exception) -> SourceError:
        return SourceError(
            f"source {self._source.name}: the dataset {self._source.dataset} (revision {self._source.revision}, subset "
            f"{self._source.subset}, split {self._source.split}) cannot be read from the Hugging Face hub: "
            f"{words_of(error)}. Check the network, the names, and that you may read it"
        )

    def progress(self) -> tuple[float, float | None]:
        """Texts in bytes where max_bytes is set, else documents."""
        if self._source.max_bytes is not None:
            return self._bytes, self._source.max_bytes
        return self._documents, self._source.max_documents


def hub_errors() -> tuple[type[Exception], ...]:
    """What the hub's libraries raise for a network, a name, a file or a permission that is not there."""
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # whichever HTTP library the hub has chosen

    dataset_with_a_script = RuntimeError
    return HfHubHTTPError, HFValidationError, DatasetsError, httpx.HTTPError, OSError, ValueError, dataset_with_a_script
