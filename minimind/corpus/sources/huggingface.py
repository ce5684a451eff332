"""A dataset of the Hugging Face hub, streamed or sampled up to a limit. No code of a dataset is run."""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

from minimind.config import HuggingFaceSource
from minimind.corpus.document import Document
from minimind.corpus.formats import words_of
from minimind.corpus.parallel import quiet_libraries
from minimind.corpus.progress import Progress
from minimind.corpus.records import Place, UnfitError, make_document
from minimind.corpus.sampling import SmallestRanks, choose, rank_of
from minimind.corpus.sources.protocol import FileRead, Item, Skipped, Unreadable
from minimind.errors import SourceError, SourceUnreachableError
from minimind.store import Store

COMMIT = re.compile(r"[0-9a-f]{40}")
READ_FOR_ONE_KEPT = 4  # bytes on the hub: rows of a sample are one in about so many of those read
Row = Document | Unreadable | Skipped
TOLD_BY: tuple[tuple[str, type[Row]], ...] = (("problem", Unreadable), ("reason", Skipped), ("document_id", Document))
MIN_FILES = 64  # chosen for a sample, where there are so many; of Parquet files only some row groups are read


class HuggingFace:
    """A document's id is the row's id_column, or without one, its position: stable within a revision only."""

    def __init__(self, source: HuggingFaceSource, store: Store) -> None:
        self._source = source
        self._store = store
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

        with self._errors_said():
            return str(HfApi().dataset_info(self._source.dataset, revision=self._source.revision).sha)

    def is_unchanged(self, recorded: Mapping[str, str]) -> bool:
        return True

    def read(self) -> Iterator[Item]:
        """The first rows in the dataset's order, or a sample of all, until the next would exceed a limit."""
        digest = hashlib.sha256()
        version = {"commit": self._commit}
        for item in self._first_rows() if self._source.sample_seed is None else self._sample(version):
            if self._documents == self._source.max_documents:
                break
            if isinstance(item, Document):
                text = item.text.encode()
                if self._source.max_bytes is not None and self._bytes + len(text) > self._source.max_bytes:
                    break
                self._documents += 1
                self._bytes += len(text)
                digest.update(text)
            yield item
        yield FileRead(self._shown, self._bytes, digest.hexdigest(), 0, version)  # of the texts: no file has just these

    def _first_rows(self) -> Iterator[Row]:
        for position, row in enumerate(self._checked(self._opened())):
            yield self._document(self._record(row, f"{position:09}"), self._shown, position + 1)

    def _sample(self, version: dict[str, str]) -> Iterator[Row]:
        """The rows of smallest rank among those of some shards, which hold several times what the limits permit.

        A shard is a row group of a Parquet file, or any other file. `version` is told how many were read.
        """
        seed = self._source.sample_seed
        assert seed is not None, "without a seed, the first rows are read"
        progress = Progress(partial(self._store.report, "corpus"))
        self._store.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._store.root) as spool:
            sample = SmallestRanks(self._source.max_documents, self._source.max_bytes, spool)
            shards, version["sampled"] = self._shards(seed)
            for done, (shard, rows) in enumerate(shards):
                for number, row in enumerate(self._checked(rows), start=1):
                    record = self._record(row, f"{shard}-{number:09}")
                    item = self._document(record, f"{self._shown}#{shard}", number)
                    size = len(item.text.encode()) if isinstance(item, Document) else 0
                    sample.add(rank_of(seed, str(record["id"])), size, as_fields(item))
                    if progress.due():
                        progress.report(done, len(shards), f"{self._source.name}: reading {version['sampled']}")
            for fields in sample.rows():
                kind = next(kind for name, kind in TOLD_BY if name in fields)
                yield kind(**fields)

    def _shards(self, seed: int) -> tuple[list[tuple[str, Any]], str]:
        """The shards to sample from, each with its name, and how many they are, in words.

        Files are chosen first, so that not all of a large dataset are opened, then the row groups of these.
        """
        rows = self._opened()
        with self._errors_said():
            sizes, share = self._sizes_and_share(rows.num_shards)
            enough = READ_FOR_ONE_KEPT * share * sum(sizes)
            files = [(f"{position:05}", size) for position, size in enumerate(sizes)]
            opened: dict[str, tuple[float, Any]] = {}
            chosen = choose(files, seed, enough, MIN_FILES)
            for position in chosen:
                file = rows.shard(num_shards=len(files), index=position)
                if enough < sum(sizes):
                    file = file.reshard()
                for group in range(file.num_shards):
                    name = f"{position:05}-{group:05}"
                    opened[name] = sizes[position] / file.num_shards, file.shard(file.num_shards, group)
        shards = [(name, size) for name, (size, _) in opened.items()]
        names = [shards[position][0] for position in choose(shards, seed, enough)]
        in_words = f"{len(names):,} of {len(shards):,} shards in {len(chosen):,} of {len(files):,} files"
        return [(name, opened[name][1]) for name in names], in_words

    def _sizes_and_share(self, files: int) -> tuple[list[float], float]:
        """Bytes of each file on the hub, and which share of the split the limits permit; 1 where that is not known."""
        from datasets import load_dataset_builder
        from huggingface_hub import HfApi

        source = self._source
        builder = load_dataset_builder(source.dataset, source.subset, revision=self._commit)
        paths = [str(path).removeprefix(f"{self._shown}/") for path in (builder.config.data_files or {})[source.split]]
        listed = HfApi().dataset_info(source.dataset, revision=self._commit, files_metadata=True).siblings or []
        bytes_of = {sibling.rfilename: sibling.size for sibling in listed}
        sizes = [bytes_of.get(path) or 0 for path in paths]
        if len(sizes) != files or not all(sizes):
            return [1.0] * files, 1.0
        split = (builder.info.splits or {}).get(source.split)
        shares = [1.0]
        if source.max_bytes is not None:
            shares.append(source.max_bytes / (split.num_bytes if split and split.num_bytes else sum(sizes)))
        if source.max_documents is not None and split and split.num_examples:
            shares.append(source.max_documents / split.num_examples)
        return [float(size) for size in sizes], min(shares)

    def _opened(self) -> Any:
        from datasets import load_dataset

        source = self._source
        with self._errors_said():
            return load_dataset(
                source.dataset, source.subset, split=source.split, revision=self._commit, streaming=True
            )

    def _checked(self, rows: Any) -> Iterator[Mapping[str, Any]]:
        """The rows; raises SourceError if they do not have the columns."""
        columns = [self._source.text_column, self._source.id_column, self._source.license_column]
        with self._errors_said():
            for number, row in enumerate(rows):
                missing = [column for column in columns if column is not None and column not in row]
                if number == 0 and missing:
                    raise SourceError(
                        f"source {self._source.name}: {self._source.dataset} has no column {', '.join(missing)}; "
                        f"it has {', '.join(row)}. Correct the columns in corpus.sources"
                    )
                yield row

    def _document(self, record: dict[str, Any], path: str, number: int) -> Row:
        place = Place(
            source=self._source.name,
            path=self._shown,
            whole="",
            unit="file",
            license=self._source.license,
            metadata={"origin": self._shown},
        )
        try:
            return make_document(record, place)
        except UnfitError as problem:
            return Unreadable(path, number, str(problem), "line")

    def _record(self, row: Mapping[str, Any], position: str) -> dict[str, Any]:
        source = self._source
        return {
            "id": row.get(source.id_column) if source.id_column else position,
            "text": row.get(source.text_column),
            "license": row.get(source.license_column) if source.license_column else None,
        }

    @property
    def _shown(self) -> str:
        return f"hf://datasets/{self._source.dataset}@{self._commit}"

    @contextmanager
    def _errors_said(self) -> Iterator[None]:
        try:
            with quiet_libraries():
                yield
        except hub_errors() as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> SourceError:
        kind = SourceUnreachableError if is_passing(error) else SourceError
        return kind(
            f"source {self._source.name}: the dataset {self._source.dataset} (revision {self._source.revision}, subset "
            f"{self._source.subset}, split {self._source.split}) cannot be read from the Hugging Face hub: "
            f"{words_of(error)}. Check the network, the names, and that you may read it"
        )

    def progress(self) -> tuple[float, float | None]:
        """Texts in bytes where max_bytes is set, else documents."""
        if self._source.max_bytes is not None:
            return self._bytes, self._source.max_bytes
        return self._documents, self._source.max_documents


def as_fields(item: Row) -> dict[str, Any]:
    return asdict(item) if isinstance(item, Document) else item._asdict()


def is_passing(error: Exception) -> bool:
    """Whether no answer came, or one that says `later`; a refusal is an answer."""
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    status = getattr(getattr(error, "response", None), "status_code", None)
    return isinstance(error, httpx.TransportError | ConnectionError | TimeoutError) or status in (
        429,
        500,
        502,
        503,
        504,
    )


def hub_errors() -> tuple[type[Exception], ...]:
    """What the hub's libraries raise for a network, a name, a file or a permission that is not there."""
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # whichever HTTP library the hub has chosen

    dataset_with_a_script = RuntimeError
    return HfHubHTTPError, HFValidationError, DatasetsError, httpx.HTTPError, OSError, ValueError, dataset_with_a_script
