"""Documents out of one file on disk, whatever its format, or an archive of such files."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from minimind.corpus.archives import Member, list_archive, open_members
from minimind.corpus.expanding import Budget
from minimind.corpus.formats import needs_file, read_stream, unreadable_if_damaged
from minimind.corpus.formats.error_pages import refuse_error_page
from minimind.corpus.globs import MemberGlobs, names_suffix
from minimind.corpus.records import Place, UnfitError
from minimind.corpus.sources.protocol import FileRead, Item, Meter, Skipped, Unreadable
from minimind.corpus.suffixes import ARCHIVES, FORMATS, FORMATS_IN_WORDS, SUFFIXES, SUFFIXES_IN_WORDS, suffix_of
from minimind.digests import sha256_of_file
from minimind.errors import SourceError

COPIED_BYTES = 1 << 20


@dataclass(frozen=True)
class FileOnDisk:
    """A file to read, with what its documents take over: see Place."""

    path: Path
    place: Place
    member_prefix: str  # stands before a member's path in document ids
    members: MemberGlobs
    max_expanded_bytes: int
    meter: Meter
    left_out: Callable[[BinaryIO], str | None] = lambda stream: None  # why a member, at its start, is no text to read


def read_file(file: FileOnDisk) -> Iterator[Item]:
    """The file's documents, what of it cannot be read, and at the end one FileRead."""
    counts: Counter[str] = Counter()
    yield from unreadable_if_damaged(read_by_suffix(file, counts), file.place)
    size = file.path.stat().st_size if file.path.exists() else 0
    file.meter.finish(size)
    yield FileRead(file.place.path, size, sha256_or_nothing(file.path), counts["members"])


def sha256_or_nothing(path: Path) -> str:
    """The hash of the file's bytes; empty if they cannot be read, which reading the file has said already."""
    try:
        return sha256_of_file(path)
    except OSError:
        return ""


def read_by_suffix(file: FileOnDisk, counts: Counter[str]) -> Iterator[Item]:
    suffix = suffix_of(file.path.name)
    if suffix in ARCHIVES:
        yield from read_archive(file, counts)
        return
    with file.path.open("rb") as stream:
        file.meter.watch(stream)
        yield from read_stream(stream, suffix, file.place, Budget(file.max_expanded_bytes))


def read_archive(file: FileOnDisk, counts: Counter[str]) -> Iterator[Item]:
    shown = file.place.path
    try:
        with file.path.open("rb") as stream:
            refuse_error_page(stream, suffix_of(file.path.name))
    except UnfitError as problem:
        yield Unreadable(shown, None, str(problem), "file")
        return
    listing = list_archive(file.path, shown, file.max_expanded_bytes)
    yield from (Skipped(f"{shown}: {link}", "link inside an archive") for link in listing.links)
    wanted = []
    for member in listing.members:
        patterns = file.members.match(member.path)
        if patterns and (refused := unread_suffix(member.path, patterns, shown)):
            yield refused
        elif patterns:
            wanted.append(member)
    budget = Budget(file.max_expanded_bytes)  # of what is packed inside members, all together
    for member, member_stream in open_wanted(file, wanted):
        counts["members"] += 1
        yield from read_member(file, member, member_stream, budget)


def open_wanted(file: FileOnDisk, wanted: list[Member]) -> Iterator[tuple[Member, BinaryIO | None]]:
    """Each wanted member and its stream; an encrypted one has none."""
    yield from ((member, None) for member in wanted if member.encrypted)
    readable = [member for member in wanted if not member.encrypted]
    yield from open_members(file.path, readable, file.max_expanded_bytes)


def read_member(file: FileOnDisk, member: Member, stream: BinaryIO | None, budget: Budget) -> Iterator[Item]:
    shown = printable(member.path)
    inner = f"{file.place.metadata['path']}/{shown}" if file.member_prefix else shown
    place = replace(
        file.place,
        path=f"{file.place.path}: {shown}",
        whole=file.member_prefix + member.path,
        unit="member",
        metadata={**file.place.metadata, "path": inner},
    )
    if stream is None:
        yield Unreadable(place.path, None, "it is encrypted; decrypt it", "member")
    elif reason := file.left_out(stream):
        yield Skipped(place.path, reason)
    else:
        yield from unreadable_if_damaged(read_forwards(stream, suffix_of(member.path), place, budget), place)


def read_forwards(stream: BinaryIO, suffix: str, place: Place, budget: Budget) -> Iterator[Item]:
    """The documents of a member, which is copied where its format is not read from its start to its end."""
    if not needs_file(suffix):
        yield from read_stream(stream, suffix, place, budget)
        return
    with tempfile.NamedTemporaryFile() as copy:
        while block := stream.read(COPIED_BYTES):
            copy.write(block)
        copy.flush()
        with open(copy.name, "rb") as whole:
            yield from read_stream(whole, suffix, place, budget)


def unread_suffix(path: str, patterns: list[str], archive: str | None = None) -> Skipped | None:
    """None if the path can be read; Skipped if open patterns such as `**` took it up along with others.

    Raises SourceError if a pattern asks for this very suffix.
    """
    suffix = suffix_of(path)
    if suffix in (FORMATS if archive else SUFFIXES):
        return None
    shown = f"{archive}: {printable(path)}" if archive else printable(path)
    asking = [pattern for pattern in patterns if names_suffix(pattern, suffix)]
    if asking:
        known = FORMATS_IN_WORDS if archive else SUFFIXES_IN_WORDS
        raise SourceError(
            f"{shown} matches {asking[0]!r} but {suffix or 'a file without a suffix'} cannot be read; "
            f"these can: {known}. Convert the file or change the pattern"
        )
    return Skipped(shown, f"suffix {suffix}" if suffix else "no suffix")


def printable(path: str) -> str:
    """The path with bytes that are no UTF-8 written as escapes, so that it can be printed and stored."""
    return path.encode("utf-8", "backslashreplace").decode()
