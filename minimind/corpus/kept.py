"""What the store's download folder keeps: each file with the version that its server named, and half a download."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minimind.digests import sha256_of_file
from minimind.masking import masked
from minimind.store import Store


@dataclass(frozen=True)
class Kept:
    """A file in the download folder; without its path, one that has been cleared away and is remembered."""

    path: Path
    sha256: str
    version: Mapping[str, Any] = field(default_factory=dict)  # what the server said of it: etag, last_modified, length

    def is_whole(self) -> bool:
        """True if the bytes on disk are still those that came."""
        return self.path.is_file() and sha256_of_file(self.path) == self.sha256


class DownloadFolder:
    """`<store.root>/downloads`: `<key>.json` describes the file `<key>-<name>`; `<key>.part` is half of one."""

    def __init__(self, store: Store) -> None:
        self.path = store.root / "downloads"

    def find(self, key: str) -> Kept | None:
        record = read_record(self.path / f"{key}.json")
        if record is None or not {"name", "sha256", "version"} <= record.keys():
            return None
        return Kept(self.path / record["name"], record["sha256"], record["version"])

    def keep(self, key: str, part: Path, name: str, url: str, version: Mapping[str, Any]) -> Kept:
        """Moves `part` to its place, which another file of the same key leaves."""
        before = self.find(key)
        kept = Kept(self.path / name, sha256_of_file(part), version)
        part.replace(kept.path)
        record = {"url": masked(url), "name": name, "sha256": kept.sha256, "version": dict(version)}
        write_record(self.path / f"{key}.json", record)
        if before is not None and before.path != kept.path:
            before.path.unlink(missing_ok=True)
        return kept

    def part(self, key: str) -> Path:
        """Where a download is written until it is whole; the folder is made."""
        self.path.mkdir(parents=True, exist_ok=True)
        return self.path / f"{key}.part"


def read_record(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(json.dumps(record, indent=1) + "\n")
    beside.replace(path)
