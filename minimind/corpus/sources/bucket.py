"""Objects of an S3-compatible bucket, or files by another protocol of fsspec; read like local files once fetched."""

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from minimind.config import BucketSource, CorpusConfig
from minimind.corpus.answers import key_of
from minimind.corpus.files import FileOnDisk, printable, read_file, unread_suffix
from minimind.corpus.formats import words_of
from minimind.corpus.globs import MemberGlobs, fixed_part, glob_regex, has_wildcard
from minimind.corpus.kept import DownloadFolder, Kept, read_record, write_record
from minimind.corpus.parallel import DownloadPart, Pace, Transfers, download, in_parallel, quiet_libraries
from minimind.corpus.records import Place
from minimind.corpus.sources.http import checked_and_noted
from minimind.corpus.sources.local_files import MAX_PROBED_FILES
from minimind.corpus.sources.protocol import Item, Meter, Skipped
from minimind.digests import sha256_of_json
from minimind.errors import SourceError, SourceUnreachableError
from minimind.masking import masked
from minimind.parts import IN_TURN, Report, Workers
from minimind.store import Store

BLOCK_BYTES = 8 << 20
TIMEOUT_SECONDS = 30


class Listed(NamedTuple):
    """An object that a glob matches."""

    relative: str  # below the fixed part of the glob
    path: str  # bucket and key
    version: dict[str, str]  # etag and length, or what else tells versions apart
    patterns: list[str]


class Bucket:
    """A document's id is the key below the glob's fixed part, or the record's own id in JSON lines and Parquet."""

    def __init__(self, source: BucketSource, section: CorpusConfig, store: Store, workers: Workers = IN_TURN) -> None:
        self._source = source
        self._section = section
        self._store = store
        self._workers = workers
        self._pace = Pace(section.requests_per_second)
        self._objects: list[Listed] = []
        self._skipped: list[Skipped] = []
        self._meter = Meter()

    def probe(self, refresh: bool) -> dict[str, str]:
        """ETag and size of every object, from listings alone."""
        with quiet_libraries(), errors_said(self._source):
            listed = find_objects(open_file_system(self._source), self._source)
        refused = {each.path: unread_suffix(each.path, each.patterns) for each in listed}
        self._skipped = [skipped for skipped in refused.values() if skipped]
        self._objects = [each for each in listed if not refused[each.path]]
        states = {shown(self._source, each): in_words(each.version) for each in self._objects}
        if len(states) > MAX_PROBED_FILES:
            return {f"{self._source.name}: {len(states)} objects": sha256_of_json(states)}
        return {f"{self._source.name}: {origin}": state for origin, state in states.items()}

    def is_unchanged(self, recorded: Mapping[str, str]) -> bool:
        return True

    def read(self) -> Iterator[Item]:
        yield from self._skipped
        for each, kept in zip(self._objects, self._fetch(), strict=True):
            origin = shown(self._source, each)
            place = Place(
                source=self._source.name,
                path=origin,
                whole=each.relative,
                unit="file",
                license=self._source.license,
                metadata={"path": printable(each.relative), "origin": origin},
            )
            items = read_file(
                FileOnDisk(
                    path=kept.path,
                    place=place,
                    member_prefix=f"{each.relative}/",
                    members=MemberGlobs(self._source.members),
                    max_expanded_bytes=self._section.max_expanded_bytes,
                    meter=self._meter,
                )
            )
            yield from checked_and_noted(items, origin, kept)

    def _fetch(self) -> list[Kept]:
        """Every object on disk, in the version that was probed."""
        self._meter.total = sum(int(each.version["length"]) for each in self._objects)
        workers = self._workers if any(map(self._is_new, self._objects)) else IN_TURN
        fetch = partial(fetch_part, self._source)
        return download(fetch, self._objects, self._section, self._pace, self._store, workers)

    def _is_new(self, wanted: Listed) -> bool:
        kept = DownloadFolder(self._store).find(key_of(url_of(self._source, wanted)))
        return kept is None or kept.version != wanted.version

    def progress(self) -> tuple[float, float | None]:
        return self._meter.progress()


# --- fetching ---------------------------------------------------------------------------------------------------------


def fetch_part(source: BucketSource, part: DownloadPart[Listed], report: Report) -> list[Kept]:
    with quiet_libraries(), errors_said(source):
        files = open_file_system(source)
        return in_parallel([partial(fetch_one, source, part, files, each) for each in part.files], part.threads, report)


def fetch_one(
    source: BucketSource, part: DownloadPart[Listed], files: Any, wanted: Listed, transfers: Transfers
) -> Kept:
    key, folder = key_of(url_of(source, wanted)), DownloadFolder(part.store)
    with part.store.lock(f"download-{key}"):
        kept = folder.find(key)
        if kept is not None and kept.version == wanted.version and kept.is_whole():
            return kept
        if int(wanted.version["length"]) > part.max_bytes:
            raise SourceError(
                f"{shown(source, wanted)} has {int(wanted.version['length']):,} bytes, and corpus.max_download_bytes "
                f"permits {part.max_bytes:,}; raise it if you want this object"
            )
        part.pace.wait(wanted.path.partition("/")[0], transfers)
        half = folder.part(key)
        transfer(source, files, wanted, half, transfers)
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", wanted.path.rpartition("/")[2]).lstrip(".")[-100:]
        return folder.keep(key, half, f"{key}-{plain}", shown(source, wanted), wanted.version)


def transfer(source: BucketSource, files: Any, wanted: Listed, part: Path, transfers: Transfers) -> None:
    """Writes the object to `part`, from where an earlier run has left off if that was this version."""
    begun = part.with_suffix(".part.json")
    if read_record(begun) != wanted.version:
        part.unlink(missing_ok=True)
        write_record(begun, wanted.version)
    with files.open(wanted.path, "rb", block_size=BLOCK_BYTES) as remote, part.open("ab") as handle:
        remote.seek(handle.tell())
        transfers.announce(int(wanted.version["length"]) - handle.tell())
        while handle.tell() <= int(wanted.version["length"]) and (block := remote.read(BLOCK_BYTES)):
            handle.write(block)
            transfers.add(len(block))
    size = part.stat().st_size
    if size != int(wanted.version["length"]) or version_of(files.info(wanted.path)) != wanted.version:
        part.unlink()
        begun.unlink()
        raise SourceError(
            f"{shown(source, wanted)} has changed since it was listed ({in_words(wanted.version)}; {size:,} bytes "
            "came); run again"
        )
    begun.unlink()


def url_of(source: BucketSource, each: Listed) -> str:
    """By which the download folder tells objects apart."""
    return f"{source.endpoint_url or ''}#{shown(source, each)}"


def shown(source: BucketSource, each: Listed) -> str:
    return f"{source.paths[0].partition('://')[0]}://{printable(each.path)}"


# --- listing ----------------------------------------------------------------------------------------------------------


def open_file_system(source: BucketSource) -> Any:
    """The fsspec file system of the source; credentials are those of the environment, as boto finds them."""
    import fsspec

    scheme = source.paths[0].partition("://")[0]
    options: dict[str, Any] = {}
    if scheme == "s3":
        patience = {
            "connect_timeout": TIMEOUT_SECONDS, "read_timeout": TIMEOUT_SECONDS,
            "retries": {"total_max_attempts": 1},  # s3fs tries five times itself
        }  # fmt: skip
        options = {"anon": source.anonymous, "endpoint_url": source.endpoint_url, "config_kwargs": patience}
    return fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False, **options)


def find_objects(files: Any, source: BucketSource) -> list[Listed]:
    """Each object once, sorted by its id; one that several globs match goes by its longest path below one."""
    found: dict[str, Listed] = {}
    for pattern in source.paths:
        matching = list(matches(files, pattern))
        if not matching:
            below = "" if has_wildcard(pattern) else f", or write {pattern.rstrip('/')}/** for what lies below it"
            raise SourceError(f"source {source.name}: no object matches {pattern}; correct the glob{below}")
        for each in matching:
            other = found.get(each.path, each)
            longest = max(each, other, key=lambda listed: len(listed.relative))
            found[each.path] = longest._replace(patterns=sorted({*each.patterns, *other.patterns}))
    return sorted(found.values())


def matches(files: Any, pattern: str) -> Iterator[Listed]:
    stripped = files._strip_protocol(pattern)
    folder = fixed_part(stripped)
    regex = re.compile(glob_regex(stripped.removeprefix(folder)))
    for path, info in files.find(folder, detail=True).items():
        relative = path.removeprefix(folder).lstrip("/")
        if regex.fullmatch(relative):
            yield Listed(relative, path, version_of(info if "ETag" in info else files.info(path)), [pattern])


def version_of(info: Mapping[str, Any]) -> dict[str, str]:
    """The ETag and the length in bytes; without an ETag, the time of the last change too."""
    length = {"length": str(info["size"])}
    if etag := info.get("ETag"):
        return {"etag": str(etag), **length}
    changed = info.get("LastModified") or info.get("mtime") or info.get("created")
    return {"last_modified": str(changed), **length}


def in_words(version: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in version.items())


@contextmanager
def errors_said(source: BucketSource) -> Iterator[None]:
    """Raises SourceError for what fsspec and the libraries below it raise; a full disk stays one."""
    try:
        yield
    except transport_errors() as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" at {source.endpoint_url}" if source.endpoint_url else ""
        kind = SourceUnreachableError if isinstance(error, passing_errors()) else SourceError
        raise kind(
            f"source {source.name}: {', '.join(source.paths)}{where} cannot be read: {masked(words_of(error))}. Check "
            "the paths, the network, and that the credentials in the environment may read them (or set anonymous: true)"
        ) from None


def passing_errors() -> tuple[type[Exception], ...]:
    """Of those, what says that no answer came; a refusal is one."""
    from aiohttp import ClientError
    from botocore.exceptions import HTTPClientError

    return ClientError, HTTPClientError, ConnectionError, TimeoutError


def transport_errors() -> tuple[type[Exception], ...]:
    from aiohttp import ClientError
    from botocore.exceptions import BotoCoreError
    from botocore.exceptions import ClientError as AnswerError

    return OSError, ValueError, ClientError, BotoCoreError, AnswerError
