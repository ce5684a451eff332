"""`minimind backup` and `minimind restore`: store, MLflow and Prefect in one file, taken while all of it runs.

Builds are never changed once they are there, so a list of them is a picture of the store. It is taken first, then the
databases, then what the databases point to: what is in the archive may know less than its files hold, never more.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flows import archive, databases, servers
from flows.credentials import credentials_path, ensure_credentials, write_private
from flows.profiles import PROFILES, Place, Setup, recorded_place, save_setup
from flows.up import with_postgres
from minimind.errors import BackupError, DiskFullError
from minimind.store import STAGES, Store, disk_full_said

FORMAT = 1
DESCRIPTION = "backup.json"  # the first entry
CREDENTIALS = "credentials.env"
LIVING = {"locks", "servers", "postgres", "prefect", "mlflow.db", "mlflow.db-wal", "mlflow.db-shm", "mlflow.db-journal"}
MADE_AGAIN = {"compiled", "models"}  # caches of this machine's compiler, and of what lies in MLflow
RESULTS = Path("prefect") / "storage"


# --- backup -----------------------------------------------------------------------------------------------------------


def back_up(root: Path, path: Path, with_credentials: bool) -> dict[str, Any]:
    """Writes the archive; what it holds, as `minimind backup --json` prints it."""
    refuse_place_for_archive(root, path)
    place = recorded_place(root) or Place(root, Setup(project=Path.cwd()), {})
    with (
        _full_disk_told(path),
        Store(root, "").in_use(),
        disk_full_said(path.parent),
        Store(root, "").scratch() as dumps,
    ):
        builds = [file for stage in STAGES for file in archive.files_below(root / stage, _is_hidden)]
        purposes = [databases.PREFECT, databases.MLFLOW, *([databases.ACCOUNTS] if with_credentials else [])]
        place.profile.databases.dump(place, purposes, dumps)
        with archive.written(path) as backup:
            backup.add_text(DESCRIPTION, json.dumps(_describe(place, dumps)))
            for file in sorted(dumps.iterdir()):
                backup.add(f"databases/{file.name}", file)
            for file in [*builds, *_files_beside_builds(root)]:
                backup.add(f"store/{file.relative_to(root).as_posix()}", file)
            if with_credentials and credentials_path(root).exists():
                backup.add(CREDENTIALS, credentials_path(root))
    return {
        "path": str(path), "bytes": path.stat().st_size, "files": len(backup.listed), "credentials": with_credentials,
        "artifacts_elsewhere": place.setup.artifacts,
    }  # fmt: skip


@contextmanager
def _full_disk_told(path: Path) -> Iterator[None]:
    try:
        yield
    except DiskFullError as error:
        raise BackupError(
            f"a disk is full, that of {path.parent} or of the store, and no backup was left; free some space there"
        ) from error


def refuse_place_for_archive(root: Path, path: Path) -> None:
    if not root.is_dir():
        raise BackupError(f"there is no store at {root}; name one with --store")
    if not path.name.endswith(archive.SUFFIX):
        raise BackupError(f"{path} does not end with {archive.SUFFIX}, which is what a backup is; name it so")
    if path.exists():
        raise BackupError(f"{path} is there already; choose another name, or move it away")
    if root.resolve() in path.resolve().parents:
        raise BackupError(f"{path} lies in the store that it would keep; choose a place outside, best on another disk")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BackupError(f"{path.parent} cannot be made ({error.strerror}); choose another place") from None
    if not os.access(path.parent, os.W_OK):
        raise BackupError(f"nothing can be written into {path.parent}; choose another place")


def _describe(place: Place, dumps: Path) -> dict[str, Any]:
    named = place.profile.databases.stores_named(dumps)
    return {
        "format": FORMAT,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "root": str(place.root),
        "named": sorted(str(path) for path in named if path.resolve() == place.root.resolve()),  # by links, too
        "setup": place.setup.model_dump(mode="json"),
        "versions": {name: version(name) for name in ("minimind-flows", "mlflow", "prefect")},
    }


def _files_beside_builds(root: Path) -> Iterable[Path]:
    yield from archive.files_below(root, _is_no_part)
    yield from archive.files_below(root / RESULTS, lambda path: False)


def _is_no_part(path: Path) -> bool:
    return path.parts[0] in {*STAGES, *LIVING, *MADE_AGAIN} or (len(path.parts) <= 2 and path.name.startswith("."))


def _is_hidden(path: Path) -> bool:
    """What a stage is building, or has set aside."""
    return len(path.parts) == 1 and path.name.startswith(".")


# --- restore ----------------------------------------------------------------------------------------------------------


def restore(path: Path, root: Path, postgres: str | None, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Makes a store of an archive, whole or not at all, in a folder that is empty or not there; what became of it."""
    refuse_restore(path, root)
    root.parent.mkdir(parents=True, exist_ok=True)
    building = root.with_name(f".restoring-{root.name}")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    try:
        with disk_full_said(root):
            archive.unpack(path, building)
            description = _read_description(path, building)
            store = building / "store"
            store.mkdir(exist_ok=True)  # of a backup without any file beside the databases
            place = _place_for(store, building, description, postgres, environ)
            before = {Path(path) for path in (description["root"], *description.get("named", []))}
            elsewhere = place.profile.databases.stores_named(building / "databases") - before
            place.profile.databases.load(place, building / "databases", before, root)
            if root.exists():
                root.rmdir()
            store.rename(root)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return {
        "store": str(root), "created_at": description["created_at"], "profile": place.setup.profile,
        "elsewhere": sorted(map(str, elsewhere)),
    }  # fmt: skip


def refuse_restore(path: Path, root: Path) -> None:
    if not path.is_file():
        raise BackupError(f"there is no file {path}; name one that `minimind backup` has written")
    if not path.name.endswith(archive.SUFFIX):
        raise BackupError(f"{path} does not end with {archive.SUFFIX}, as a backup does")
    if root.exists() and any(root.iterdir()):
        raise BackupError(f"{root} is not empty; name a folder that is, or that is not there yet, with --store")
    if root.is_mount():  # the store is built beside it and renamed, which replaces none
        raise BackupError(
            f"{root} is where a disk is mounted; name a folder below it, such as {root / 'store'}, with --store"
        )


def _read_description(path: Path, building: Path) -> dict[str, Any]:
    found = servers.read_json(building / DESCRIPTION)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise BackupError(f"{path} is no backup that this version reads; format {FORMAT} was expected")
    return found


def _place_for(
    store: Path, building: Path, description: dict[str, Any], postgres: str | None, environ: Mapping[str, str]
) -> Place:
    """The restored store's setup and passwords: those of the backup where it holds them, else new ones."""
    was = Setup.model_validate(description["setup"])  # whose doors and ports are those of another machine
    own = Setup(profile=was.profile, project=was.project, artifacts=was.artifacts, postgres=postgres)
    setup, password = with_postgres(own, environ)
    save_setup(store, setup)
    if (building / CREDENTIALS).exists():
        write_private(credentials_path(store), (building / CREDENTIALS).read_text())
    has_auth = PROFILES[setup.profile].has_auth
    return Place(store, setup, ensure_credentials(store, password) if has_auth else {})
