"""Files that are there whole or not at all, whenever a process or its machine goes down."""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Replaces what is there when the text is on disk; the name is on disk when this returns.

    For one writer at a time: what it was killed at is replaced by the next.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    put_in_place(temporary, path)


def put_in_place(temporary: Path, path: Path) -> None:
    """Renames when the content is on disk; the new name is on disk when this returns."""
    sync(temporary)
    temporary.rename(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """A file's content, or the names in a folder, are on disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
