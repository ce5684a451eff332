"""Files on this machine, found by globs."""

import glob
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from minimind.config import CorpusConfig, LocalFilesSource
from minimind.corpus.files import FileOnDisk, printable, read_file, sha256_or_nothing, unread_suffix
from minimind.corpus.globs import MemberGlobs, fixed_part, has_wildcard
from minimind.corpus.records import Place
from minimind.corpus.sources.protocol import Item, Meter, Skipped
from minimind.digests import sha256_of_json
from minimind.errors import SourceError

MAX_PROBED_FILES = 500  # more are probed as one, so that a manifest stays small


class Found(NamedTuple):
    relative: str  # to the fixed part of the glob: the id of a text file
    path: str  # as the glob gives it


class LocalFiles:
    """A document's id is the path below the glob's fixed part, or the record's own id in JSON lines and Parquet."""

    def __init__(self, source: LocalFilesSource, section: CorpusConfig) -> None:
        self._source = source
        self._section = section
        self._meter = Meter()
        self._states: dict[str, str] = {}  # of the files, as they were probed

    def probe(self, refresh: bool) -> dict[str, str]:
        """Size and modification time of every file."""
        for found in self._found[0]:
            size, self._states[found.path] = size_and_state(found.path)
            self._meter.total += size
        if len(self._states) > MAX_PROBED_FILES:
            states = {os.fsencode(path).hex(): state for path, state in self._states.items()}
            return {f"{self._source.name}: {len(states)} files": sha256_of_json(states)}
        return {f"{self._source.name}: {printable(path)}": state for path, state in self._states.items()}

    def is_unchanged(self, recorded: Mapping[str, str]) -> bool:
        """Compares the bytes, which size and time may fail to tell apart."""
        return all(recorded.get(printable(path)) == sha256_or_nothing(Path(path)) for _, path in self._found[0])

    def read(self) -> Iterator[Item]:
        """Raises SourceError if a file is not what was probed any more: its documents may be half of one state."""
        files, skipped = self._found
        yield from skipped
        for found in files:
            path, relative = printable(found.path), printable(found.relative)
            yield from read_file(
                FileOnDisk(
                    path=Path(found.path),
                    place=Place(
                        source=self._source.name,
                        path=path,
                        whole=found.relative,
                        unit="file",
                        license=self._source.license,
                        metadata={"path": relative},
                    ),
                    member_prefix=f"{found.relative}/",
                    members=MemberGlobs(["**"]),
                    max_expanded_bytes=self._section.max_expanded_bytes,
                    meter=self._meter,
                )
            )
            if size_and_state(found.path)[1] != self._states[found.path]:
                raise SourceError(
                    f"{path} has changed while the corpus was read; run again when nobody writes to it, or give the "
                    "run a copy of it"
                )

    def progress(self) -> tuple[float, float | None]:
        return self._meter.progress()

    @cached_property
    def _found(self) -> tuple[list[Found], list[Skipped]]:
        return find_files(self._source.paths, self._source.name)


def size_and_state(path: str) -> tuple[int, str]:
    """Bytes, and what tells one state of a file from another; raises SourceError if it is gone."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise SourceError(f"{printable(path)} has just gone ({error.strerror}); run again") from None
    return status.st_size, f"{status.st_size} bytes, modified {status.st_mtime_ns}"


def find_files(patterns: list[str], source: str) -> tuple[list[Found], list[Skipped]]:
    """Each file once, by its path below the fixed part, whatever the order of the globs; and what is no text.

    A file that several globs match goes by its longest such path. Raises SourceError with all problems at once.
    """
    best: dict[str, Found] = {}
    matching: dict[str, list[str]] = {}
    problems = []
    for pattern in patterns:
        expanded = os.path.expanduser(pattern)
        paths = matches(expanded)
        if not paths:
            problems.append(nothing_found(pattern, expanded))
        for path in paths:
            key = os.path.abspath(path)
            found = Found(os.path.relpath(path, fixed_part(expanded) or "."), path)
            best[key] = max(best.get(key, found), found, key=lambda each: (len(each.relative), each))
            matching.setdefault(key, []).append(pattern)
    if problems:
        raise SourceError(f"source {source}:\n" + "\n".join(f"  - {problem}" for problem in problems))
    skipped = {key: skip for key, found in best.items() if (skip := unread_suffix(found.path, matching[key]))}
    return sorted(found for key, found in best.items() if key not in skipped), sorted(skipped.values())


def matches(pattern: str) -> list[str]:
    if os.path.isfile(pattern):  # also a name that holds *, ? or [
        return [pattern]
    return [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]


def nothing_found(pattern: str, expanded: str) -> str:
    if os.path.isdir(expanded):
        return f"{pattern} is a folder; write {pattern.rstrip('/')}/**/*.txt, or another suffix, for the files in it"
    if has_wildcard(expanded):
        return (
            f"no file matches {pattern} in {os.getcwd()}; correct the glob"
            if not os.path.isabs(expanded)
            else (f"no file matches {pattern}; correct the glob")
        )
    return f"there is no file {pattern}; correct the path (relative ones begin at {os.getcwd()})"
