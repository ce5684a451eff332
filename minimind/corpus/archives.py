"""Reading .zip and .tar, the latter alone or compressed, without unpacking them.

An archive with a path that leads out of it, a link out of it, a special file, or more expanded bytes than the limit
is refused as a whole, before anything is read from it. Links inside it are skipped: what they point to is read itself.
"""

import io
import posixpath
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from minimind.corpus.expanding import BUFFER_BYTES, Budget, SpendingStream, expand
from minimind.corpus.suffixes import compression_of, suffix_of
from minimind.errors import SourceError

MAX_LINK_BYTES = 4096


class Member(NamedTuple):
    """A regular file in an archive; `key` is its position among all entries."""

    path: str  # without the archive's single top folder
    size: int
    key: int
    encrypted: bool


@dataclass(frozen=True)
class Listing:
    """The regular files of an archive in its order, all checked, and the links that were left aside."""

    members: list[Member]
    links: list[str]


class Entry(NamedTuple):
    name: str
    size: int
    kind: str  # "file", "folder", "link" or another, which is refused
    link: str = ""  # from the archive's root
    encrypted: bool = False


def list_archive(path: Path, shown: str, max_expanded_bytes: int) -> Listing:
    """What the archive holds; raises SourceError if it is unsafe, TooLargeError, and what its library raises."""
    listed = zip_entries if is_zip(path) else tar_entries
    files: list[tuple[int, str, Entry]] = []
    links: list[str] = []
    budget = Budget(max_expanded_bytes)
    for key, entry in enumerate(listed(path, max_expanded_bytes)):
        name = safe_name(entry.name, shown)
        budget.spend(entry.size)
        if entry.kind == "file":
            files.append((key, name, entry))
        elif entry.kind == "link":
            check_link(name, entry.link, shown)
            links.append(name)
        elif entry.kind != "folder":
            raise SourceError(f"{shown} holds {entry.name!r}, {entry.kind}; remove it from the archive")
    top = single_top_folder([name for _, name, _ in files])
    return Listing([Member(name[len(top) :], entry.size, key, entry.encrypted) for key, name, entry in files], links)


def open_members(path: Path, wanted: list[Member], max_expanded_bytes: int) -> Iterator[tuple[Member, BinaryIO]]:
    """Each wanted member with its stream, which is good until the next is asked for."""
    opened = open_zip_members if is_zip(path) else open_tar_members
    yield from opened(path, {member.key: member for member in wanted}, max_expanded_bytes)


def is_zip(path: Path) -> bool:
    return path.name.lower().endswith(".zip")


# --- what is safe -----------------------------------------------------------------------------------------------------


def safe_name(name: str, shown: str) -> str:
    """The path with `/` between its parts; raises SourceError if it leads out of the archive."""
    path = name.replace("\\", "/")
    parts = path.split("/")
    if path.startswith("/") or re.match(r"[A-Za-z]:", path) or ".." in parts or "\0" in path:
        raise SourceError(
            f"{shown} holds the path {name!r}, which leads out of the archive; nothing of it is read. "
            "Use an archive whose paths all lie inside it"
        )
    return "/".join(part for part in parts if part not in ("", "."))


def check_link(name: str, target: str, shown: str) -> None:
    path = target.replace("\\", "/")
    if path.startswith("/") or re.match(r"[A-Za-z]:", path) or posixpath.normpath(path).split("/")[0] == "..":
        raise SourceError(
            f"{shown} holds {name!r}, a link that leads out of the archive; nothing of it is read. "
            "Use an archive whose links all stay inside it"
        )


def single_top_folder(names: list[str]) -> str:
    """`folder/` if all files lie in that one folder, as in a repository's snapshot; else nothing."""
    tops = {name.split("/", 1)[0] if "/" in name else "" for name in names if not name.startswith("__MACOSX/")}
    top = tops.pop() if len(tops) == 1 else ""
    return f"{top}/" if top else ""


# --- zip --------------------------------------------------------------------------------------------------------------


def zip_entries(path: Path, max_expanded_bytes: int) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            encrypted = bool(info.flag_bits & 1)
            if info.is_dir():
                yield Entry(info.orig_filename, 0, "folder")
            elif stat.S_ISLNK(mode) and not encrypted:
                with archive.open(info) as stream:
                    target = stream.read(MAX_LINK_BYTES).decode("utf-8", "replace")
                yield Entry(info.orig_filename, info.file_size, "link", from_root(info.orig_filename, target))
            else:
                yield Entry(info.orig_filename, info.file_size, "file", encrypted=encrypted)


def open_zip_members(
    path: Path, wanted: dict[int, Member], max_expanded_bytes: int
) -> Iterator[tuple[Member, BinaryIO]]:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        for key, member in wanted.items():
            with archive.open(infos[key]) as stream:  # gives no more than the size it declares
                yield member, io.BufferedReader(stream, BUFFER_BYTES)  # type: ignore[type-var]


# --- tar -----------------------------------------------------------------------------------------------------------


def tar_entries(path: Path, max_expanded_bytes: int) -> Iterator[Entry]:
    for info, _ in tar_infos(path, max_expanded_bytes):
        if info.isdir():
            yield Entry(info.name, 0, "folder")
        elif info.isreg():
            yield Entry(info.name, info.size, "file")
        elif info.issym():
            yield Entry(info.name, 0, "link", from_root(info.name, info.linkname))
        elif info.islnk():
            yield Entry(info.name, 0, "link", info.linkname)
        else:
            yield Entry(info.name, 0, "a device or pipe")


def open_tar_members(
    path: Path, wanted: dict[int, Member], max_expanded_bytes: int
) -> Iterator[tuple[Member, BinaryIO]]:
    for key, (info, archive) in enumerate(tar_infos(path, max_expanded_bytes)):
        if key in wanted:
            stream = archive.extractfile(info)
            assert stream is not None, "list_archive gives regular files only"
            yield wanted[key], cast(BinaryIO, stream)


def tar_infos(path: Path, max_expanded_bytes: int) -> Iterator[tuple[tarfile.TarInfo, Any]]:
    """Each entry in turn; the stream is read once, forwards, and never beyond the limit with its padding."""
    with tar_stream(path, max_expanded_bytes) as archive:
        while (info := archive.next()) is not None:
            yield info, archive
            archive.members.clear()  # tarfile remembers every entry, which a stream has no use for
        if (
            archive.fileobj.pos != archive.offset + tarfile.BLOCKSIZE
        ):  # not at the block of zeros, which tarfile forgives
            raise tarfile.ReadError("it is cut off: the mark of its end is missing")


@contextmanager
def tar_stream(path: Path, max_expanded_bytes: int) -> Iterator[Any]:
    """The archive for reading forwards; its headers and padding are limited as well as its members."""
    budget = Budget(max_expanded_bytes)
    with path.open("rb") as stream:
        compression = compression_of(".gz" if suffix_of(path.name) == ".tgz" else suffix_of(path.name))
        if compression:
            expanded = expand(stream, compression, budget)
        else:
            expanded = io.BufferedReader(SpendingStream(stream, budget), BUFFER_BYTES)
        with tarfile.open(fileobj=expanded, mode="r|") as archive:
            yield archive


def from_root(name: str, target: str) -> str:
    """A symbolic link's target, seen from the archive's root; an absolute one as it is."""
    return target if target.startswith("/") else posixpath.join(posixpath.dirname(name), target)
