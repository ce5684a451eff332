"""Archives for the tests, good and bad."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import zstandard


def pack(path: Path, members: list[tuple[str, bytes | str]], links: dict[str, str] | None = None) -> Path:
    """An archive of name -> content in the given order, then symbolic links name -> target."""
    contents = [(name, content.encode() if isinstance(content, str) else content) for name, content in members]
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents:
                archive.writestr(name, content)
            for name, target in (links or {}).items():
                info = zipfile.ZipInfo(name)
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(info, target)
        return path
    opened = "w:gz" if path.suffix in (".gz", ".tgz") else "w"
    with tarfile.open(path, opened) as archive:
        for name, content in contents:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    if path.suffix == ".zst":
        path.write_bytes(zstandard.compress(path.read_bytes()))
    return path
