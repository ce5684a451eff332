"""The content-addressed store: `<root>/<stage>/<fingerprint>/` with `manifest.json` beside the files of one build.

A build writes into `.building-<fingerprint>` beside its destination and is renamed when everything is on disk, so a
published folder is always whole. One lock per fingerprint keeps two runs from building the same thing.
"""

import errno
import fcntl
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from minimind.config import Section
from minimind.digests import code_digests, sha256_of_file, sha256_of_json, version_of
from minimind.durable import sync
from minimind.errors import DiskFullError, StoreDamagedError, StoreInUseError, UserError
from minimind.machine import describe_machine, git_commit, lock_sha256

logger = logging.getLogger(__name__)

STAGES = ("corpus", "cleaning", "tokenizer", "shards", "training", "evaluation", "registry")
FOLDERS = (*STAGES, "explore")  # that hold builds; an exploration is no stage of a run
SCRATCH = ".scratch-"  # before the names of folders in the store's root that go away by themselves
GIT_SCRATCH, MEASURING = ".git-", ".measuring-"  # the same, among downloads and plans
SAID_CHANGES = 5  # in the log; `minimind store why` lists all of them

Report = Callable[[str, float, float | None, str], None]  # stage, done, total (None: unknown), text


# --- recipes and manifests --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a build yields; its hash is the build's fingerprint."""

    stage: str
    config: Mapping[str, Any]  # the stage's own section, resolved
    inputs: Mapping[str, str]  # name of an input file -> sha256 of its bytes
    code: Mapping[str, str]  # module or SQL file -> sha256 of its tokens
    libraries: Mapping[str, str]  # distribution -> version
    parents: Mapping[str, str] = field(default_factory=dict)  # stage -> fingerprint; lineage, not hashed

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits; 64 bits are ample for the thousands of builds that one store sees."""
        parts = [self.stage, self.config, self.inputs, self.code, self.libraries]
        return sha256_of_json(parts)[:16]

    def differences(self, earlier: "Manifest") -> list[str]:
        """What changed since an earlier build, one line a part; empty if nothing did."""
        lines = []
        for part in ("config", "inputs", "code", "libraries"):
            old, new = _flatten(getattr(earlier, part)), _flatten(getattr(self, part))
            for key in sorted(old.keys() | new.keys()):
                if old.get(key) != new.get(key):
                    lines.append(_describe_difference(part, key, old.get(key), new.get(key)))
        return lines


def recipe(
    stage: str,
    section: Section | Mapping[str, Any],
    inputs: Mapping[str, str],
    libraries: tuple[str, ...],
    parents: Mapping[str, str] | None = None,
) -> Recipe:
    """The recipe of a stage; its code is that of the package `minimind.<stage>` and of what it imports."""
    config = section.model_dump(mode="json") if isinstance(section, BaseModel) else dict(section)
    versions = {name: version_of(name) for name in libraries}
    return Recipe(stage, config, dict(inputs), code_digests(stage), versions, dict(parents or {}))


class FileEntry(BaseModel):
    sha256: str
    bytes: int


class Manifest(BaseModel):
    """What one build took, gave and was made with. `counts` are numbers for tables, `details` any JSON."""

    model_config = ConfigDict(extra="forbid")

    stage: str
    fingerprint: str
    domain: str
    created_at: str
    seconds: float
    counts: dict[str, int | float]
    details: dict[str, Any]
    files: dict[str, FileEntry]
    config: dict[str, Any]
    inputs: dict[str, str]
    code: dict[str, str]
    libraries: dict[str, str]
    parents: dict[str, str]
    git_commit: str | None  # with `-dirty` where files differed from it
    lock_sha256: str | None = None  # of requirements.lock; None outside a checkout, and in builds of earlier versions
    machine: dict[str, Any]

    _path: Path = PrivateAttr(default=Path())
    _reused: bool = PrivateAttr(default=False)

    @property
    def path(self) -> Path:
        """The published folder."""
        return self._path

    @property
    def reused(self) -> bool:
        """True if this run found the build in the store."""
        return self._reused

    def file(self, name: str) -> Path:
        if name not in self.files:
            raise KeyError(f"{self.stage} {self.fingerprint} has no file {name}; it has {', '.join(self.files)}")
        return self._path / name

    def matching(self, prefix: str, suffix: str = "") -> dict[str, str]:
        """File name -> sha256 of the files that begin with `prefix`: what a later stage names as its inputs."""
        return {
            name: entry.sha256
            for name, entry in sorted(self.files.items())
            if name.startswith(prefix) and name.endswith(suffix)
        }


@dataclass(frozen=True)
class Outcome:
    """What a stage's writer hands back to the store."""

    counts: Mapping[str, float]
    details: Mapping[str, Any] = field(default_factory=dict)


# --- the store --------------------------------------------------------------------------------------------------------


def _silent(stage: str, done: float, total: float | None, text: str) -> None:
    """The default progress report: none."""


@dataclass(frozen=True)
class Store:
    """A store of one domain's runs. Making one touches no disk."""

    root: Path
    domain: str
    report: Report = _silent
    turn: Callable[[], AbstractContextManager[Any]] = nullcontext  # held while something is measured or built

    def build(
        self, recipe: Recipe, write: Callable[[Path], Outcome], *, resumable: bool = False, refresh: bool = False
    ) -> Manifest:
        """The published build of `recipe`: found, or written by `write(folder)`.

        With `resumable`, the folder of a killed or failed build is handed to `write` as it was left; else it starts
        empty. With `refresh`, a published build is made anew. Raises DiskFullError when no space is left.
        """
        destination = self.root / recipe.stage / recipe.fingerprint
        if not refresh and (found := load_manifest(destination)):
            return self._reuse(found)
        self._explain(recipe)
        with disk_full_said(self.root), self.lock(f"{recipe.stage}-{recipe.fingerprint}"):
            put_back(destination)
            if not refresh and (found := load_manifest(destination)):
                return self._reuse(found)
            building = destination.with_name(f".building-{recipe.fingerprint}")
            if not resumable:
                shutil.rmtree(building, ignore_errors=True)
            building.mkdir(parents=True, exist_ok=True)
            try:
                self._check_inputs(recipe)
                with self.turn():
                    started = time.perf_counter()
                    outcome = write(building)
                manifest = self._seal(recipe, outcome, building, time.perf_counter() - started)
                publish(building, destination)
            except BaseException:
                if not resumable:
                    shutil.rmtree(building, ignore_errors=True)
                raise
        manifest._path = destination
        logger.info("%s: %s in %.1f s, %s", recipe.stage, _in_words(manifest.counts), manifest.seconds, destination)
        return manifest

    def _check_inputs(self, recipe: Recipe) -> None:
        """Raises StoreDamagedError if a file that is about to be read is not what its manifest says.

        Sizes are compared whenever a build is found; bytes only here, where something new is made of them.
        """
        needed = set(recipe.inputs.values())
        for stage, fingerprint in recipe.parents.items():
            parent = self.find(stage, fingerprint)
            if parent is None:
                continue
            for name, entry in parent.files.items():
                if entry.sha256 in needed and sha256_of_file(parent.file(name)) != entry.sha256:
                    raise StoreDamagedError(
                        f"{parent.file(name)} has changed since it was written (its sha256 is not that of its "
                        f"manifest); remove {parent.path} and run again: it is built anew from what came before"
                    )

    def _reuse(self, manifest: Manifest) -> Manifest:
        manifest._reused = True
        logger.info("%s: reused, %s, %s", manifest.stage, _in_words(manifest.counts), manifest.path)
        return manifest

    def _explain(self, recipe: Recipe) -> None:
        earlier = self.newest(recipe.stage)
        if earlier is None:
            logger.info("%s: first build of %s", recipe.stage, self.domain)
        else:
            changed = recipe.differences(earlier) or ["nothing; the build is made anew"]
            more = f"; and {len(changed) - SAID_CHANGES} more" if len(changed) > SAID_CHANGES else ""
            logger.info("%s: built again, changed: %s%s", recipe.stage, "; ".join(changed[:SAID_CHANGES]), more)

    def _seal(self, recipe: Recipe, outcome: Outcome, folder: Path, seconds: float) -> Manifest:
        (folder / "manifest.json").unlink(missing_ok=True)  # of a run that was killed before it published this folder
        manifest = Manifest(
            stage=recipe.stage,
            fingerprint=recipe.fingerprint,
            domain=self.domain,
            created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            seconds=round(seconds, 3),
            counts=dict(outcome.counts),
            details=dict(outcome.details),
            files={
                path.relative_to(folder).as_posix(): FileEntry(sha256=sha256_of_file(path), bytes=path.stat().st_size)
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            },
            config=dict(recipe.config),
            inputs=dict(recipe.inputs),
            code=dict(recipe.code),
            libraries=dict(recipe.libraries),
            parents=dict(recipe.parents),
            git_commit=git_commit(),
            lock_sha256=lock_sha256(),
            machine=describe_machine(),
        )
        (folder / "manifest.json").write_text(manifest.model_dump_json(indent=1) + "\n")
        return manifest

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """An exclusive lock among the processes that use this store; the kernel drops it when its holder dies."""
        path = self.root / "locks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.info("waiting for another run that holds %s", name)
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextmanager
    def in_use(self, run: str | None = None) -> Iterator[None]:
        """Held by every run, shared: what a run has found in the store is not pruned under it.

        A run with a name also holds a lock of that name until it ends; see `abandoned_runs`.
        """
        with self._users(fcntl.LOCK_SH), self._run_lock(run) if run else nullcontext():
            yield

    @contextmanager
    def _run_lock(self, run: str) -> Iterator[None]:
        path = self._run_locks / run
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def working_runs(self) -> set[str]:
        """The names of runs whose processes work now."""
        return {path.name for path in self._run_locks.glob("*") if _is_locked(path)}

    def abandoned_runs(self) -> list[Path]:
        """Lock files, by the name of their run, whose processes are gone without having taken them away."""
        return [path for path in sorted(self._run_locks.glob("*")) if not _is_locked(path)]

    @property
    def _run_locks(self) -> Path:
        return self.root / "locks" / "runs"

    def is_locked(self, name: str) -> bool:
        """Whether a process holds this lock now."""
        return _is_locked(self.root / "locks" / name)

    @contextmanager
    def unused(self) -> Iterator[None]:
        """Held by pruning, alone. Raises StoreInUseError while a run uses the store."""
        try:
            with self._users(fcntl.LOCK_EX | fcntl.LOCK_NB):
                yield
        except BlockingIOError:
            raise StoreInUseError(f"a run is using {self.root}; prune when it has ended") from None

    @contextmanager
    def _users(self, kind: int) -> Iterator[None]:
        path = self.root / "locks" / "store-users"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as handle:
            fcntl.flock(handle, kind)
            yield

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder on the store's disk for as long as the block runs; one that a kill leaves is pruned.

        For who uses the store, or has it alone: else it may be pruned in the middle.
        """
        with tempfile.TemporaryDirectory(dir=self.root, prefix=SCRATCH) as folder:
            yield Path(folder)

    def manifests(self, stage: str, domain: str | None = None) -> list[Manifest]:
        """All published builds of a stage, oldest first; of one domain where it is given."""
        found = [load_manifest(path.parent) for path in (self.root / stage).glob("[!.]*/manifest.json")]
        kept = [manifest for manifest in found if manifest and domain in (None, manifest.domain)]
        return sorted(kept, key=lambda manifest: manifest.created_at)

    def newest(self, stage: str) -> Manifest | None:
        """This domain's last build of a stage."""
        return next(reversed(self.manifests(stage, self.domain)), None)

    def find(self, stage: str, fingerprint: str) -> Manifest | None:
        return load_manifest(self.root / stage / fingerprint)


def _is_locked(path: Path) -> bool:
    try:
        with path.open() as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def load_manifest(folder: Path) -> Manifest | None:
    """The manifest of a published folder; None if there is none, or if a file it names is gone or of another size."""
    try:
        manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError:
        logger.warning("%s has an unreadable manifest and counts as missing", folder)
        return None
    for name, entry in manifest.files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != entry.bytes:
            logger.warning("%s lacks %s as its manifest describes it, and counts as missing", folder, name)
            return None
    manifest._path = folder
    return manifest


def publish(building: Path, destination: Path) -> None:
    """Makes everything durable, then renames. A damaged or outdated folder in the way is moved aside and removed."""
    for path in [*sorted(building.rglob("*")), building]:
        sync(path)
    outdated = set_aside(destination) if destination.exists() else None
    building.rename(destination)
    if outdated:
        shutil.rmtree(outdated, ignore_errors=True)


def set_aside(destination: Path) -> Path:
    """The new name of a published folder, under which it is on its way out."""
    outdated = destination.with_name(f".outdated-{destination.name}")
    shutil.rmtree(outdated, ignore_errors=True)
    return destination.rename(outdated)


def put_back(destination: Path) -> None:
    """Undoes what a kill left half done: a whole build that was set aside, and nothing has taken its place.

    To be called with the lock of the build held.
    """
    outdated = destination.with_name(f".outdated-{destination.name}")
    if not destination.exists() and outdated.exists() and load_manifest(outdated):
        outdated.rename(destination)


def remove(folder: Path) -> None:
    """Of a published folder, its name goes first: what a kill leaves of it is no damaged build, and is pruned."""
    shutil.rmtree(folder if folder.name.startswith(".") else set_aside(folder))


@contextmanager
def disk_full_said(root: Path) -> Iterator[None]:
    """Turns every library's way of saying that the disk is full into a DiskFullError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        said = ("No space left", "max_temp_directory_size")  # the second by DuckDB, whose spilling stops before
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or any(word in str(error) for word in said)
        if not full:
            raise
        raise disk_full(root) from error


def disk_full(root: Path) -> DiskFullError:
    return DiskFullError(
        f"the disk that holds {root} is full; free some space (`minimind store prune` lists what may go) "
        "or choose another place with --store, and run again: finished stages are kept"
    )


# --- in words ---------------------------------------------------------------------------------------------------------


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _describe_difference(part: str, key: str, old: Any, new: Any) -> str:
    if part in ("inputs", "code"):
        verb = "added" if old is None else "removed" if new is None else "changed"
        return f"{part} {key} {verb}"
    return f"{part} {key}: {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def number_in_words(value: float) -> str:
    """Whole numbers in full, others to four digits."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def _in_words(counts: Mapping[str, float]) -> str:
    """Those of the whole; what a name with a slash counts is of a part."""
    return ", ".join(f"{name} {number_in_words(value)}" for name, value in counts.items() if "/" not in name)
