"""A folder's files in one `.tar.zst`, each with its checksum; read back whole or not at all."""

import errno
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import zstandard

from minimind.corpus.archives import safe_name, tar_infos
from minimind.corpus.expanding import TooLargeError
from minimind.errors import BackupError, SourceError

SUFFIX = ".tar.zst"
LIST = "files.json"  # the last entry: path -> sha256, or the path of the file that it is another name of
BUFFER_BYTES = 1 << 20


class ArchiveWriter:
    """Adds files to an archive; one that stands in several places (a hard link) is kept once."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self.archive = archive
        self.listed: dict[str, dict[str, str]] = {}
        self.inodes: dict[tuple[int, int], str] = {}

    def add(self, name: str, path: Path) -> None:
        """Raises BackupError if the file went away, or shrank while it was read."""
        try:
            with path.open("rb") as file:
                facts = os.fstat(file.fileno())
                first = self.inodes.setdefault((facts.st_dev, facts.st_ino), name)
                if first != name:
                    self.listed[name] = {"same_as": first}
                    return
                reader = _Hashing(file)
                self.archive.addfile(_entry(name, facts.st_size, facts.st_mtime), reader)
        except OSError as error:
            if error.errno not in (None, errno.ENOENT):  # tarfile gives none where a file ends too early
                raise
            raise BackupError(f"{path} changed while it was read; run the backup again") from error
        self.listed[name] = {"sha256": reader.digest.hexdigest()}

    def add_text(self, name: str, text: str) -> None:
        data = text.encode()
        self.archive.addfile(_entry(name, len(data), 0), io.BytesIO(data))
        self.listed[name] = {"sha256": hashlib.sha256(data).hexdigest()}

    def finish(self) -> None:
        data = json.dumps(self.listed).encode()
        self.archive.addfile(_entry(LIST, len(data), 0), io.BytesIO(data))


def _entry(name: str, size: int, changed_at: float) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = size, int(changed_at), 0o600
    return entry


class _Hashing:
    """A file that is hashed as it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def read(self, count: int) -> bytes:
        block = self.file.read(count)
        self.digest.update(block)
        return block


@contextmanager
def written(path: Path) -> Iterator[ArchiveWriter]:
    """An archive to fill; it appears under its name once it is whole and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".building-{path.name}")
    try:
        descriptor = os.open(building, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            packer = zstandard.ZstdCompressor(level=3, threads=-1, write_checksum=True)
            with (
                packer.stream_writer(file, closefd=False) as packed,
                tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
            ):
                writer = ArchiveWriter(archive)
                yield writer
                writer.finish()
            file.flush()
            os.fsync(file.fileno())
        building.rename(path)
    finally:
        building.unlink(missing_ok=True)


def unpack(path: Path, folder: Path) -> None:
    """Writes the archive's files below `folder`, which exists and is empty.

    Raises BackupError where the archive is damaged, cut off, unsafe, or holds what its list does not name; what was
    written until then is left to the caller.
    """
    room = shutil.disk_usage(folder).free
    damaged = f"{path} is damaged or no backup, and nothing of it was restored"
    try:
        listed, found = _unpack(path, folder, room)
    except TooLargeError:
        raise BackupError(f"{path} holds more than the {room:,} bytes that are free at {folder.parent}") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BackupError(
                f"the disk of {folder.parent} is full, and nothing of {path} was restored; free some space, or name "
                "another place with --store"
            ) from error
        raise BackupError(f"{damaged}: {error}") from error
    except (SourceError, tarfile.TarError, ValueError, KeyError) as error:
        raise BackupError(f"{damaged}: {error}") from error
    written_once = {name: entry["sha256"] for name, entry in listed.items() if "sha256" in entry}
    if written_once != found:
        raise BackupError(
            f"{damaged}: {len(written_once.items() ^ found.items())} of its files are not those of its list"
        )
    for name, entry in listed.items():
        if "same_as" in entry:
            target = _place(folder, name, str(path))
            os.link(folder / safe_name(entry["same_as"], str(path)), target)


def _unpack(path: Path, folder: Path, room: int) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """What the list says, and the checksum of each file that was written."""
    listed: dict[str, dict[str, str]] | None = None
    found: dict[str, str] = {}
    for info, archive in tar_infos(path, room):
        if listed is not None or not info.isreg():
            raise SourceError(f"it holds {info.name!r}, which no backup does")
        stream = archive.extractfile(info)
        if info.name == LIST:
            listed = json.loads(stream.read())
            continue
        reader = _Hashing(stream)
        with _place(folder, info.name, str(path)).open("xb") as file:
            while block := reader.read(BUFFER_BYTES):
                file.write(block)
        os.utime(file.name, (info.mtime, info.mtime))
        found[info.name] = reader.digest.hexdigest()
    if listed is None:
        raise SourceError(f"it has no {LIST}")
    return listed, found


def _place(folder: Path, name: str, shown: str) -> Path:
    target = folder / safe_name(name, shown)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def files_below(folder: Path, skipped: Callable[[Path], bool]) -> Iterable[Path]:
    """Every file, in a fixed order; what `skipped` says of a path relative to the folder is left out with all below."""
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not skipped((Path(parent) / name).relative_to(folder)))
        for name in sorted(files):
            path = Path(parent) / name
            if path.is_file() and not skipped(path.relative_to(folder)):
                yield path
