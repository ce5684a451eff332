"""A store in one file and back again, whole or not at all."""

import errno
import io
import os
import sqlite3
import stat
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import zstandard

from flows import archive
from flows.backup import back_up, restore
from flows.credentials import credentials_path, ensure_credentials
from flows.profiles import Setup, load_setup, save_setup
from minimind.errors import BackupError, UserError
from minimind.store import SCRATCH, Outcome, Recipe, Store, load_manifest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two builds, one of which shares a file with the other; Prefect's database; what belongs to this machine alone."""
    root = tmp_path / "store"
    store = Store(root, "tests")
    first = store.build(Recipe("training", {}, {}, {}, {}), lambda folder: written(folder / "weights", "w" * 5000))

    def link(folder: Path) -> Outcome:
        os.link(first.file("weights"), folder / "weights")
        return Outcome({"files": 1})

    store.build(Recipe("registry", {}, {}, {}, {}), link)
    (root / "prefect" / "storage").mkdir(parents=True)
    (root / "prefect" / "storage" / "result").write_text("{}")
    with closing(sqlite3.connect(root / "prefect" / "prefect.db")) as database:
        database.execute("create table flow_run (name text)")
        database.execute("insert into flow_run values ('one')")
        database.execute("create table concurrency_limit_v2 (name text, active_slots integer)")
        database.execute("insert into concurrency_limit_v2 values ('gpu0', 1)")
        database.commit()
    for path in ("ledgers/a.parquet", "training/.building-1/half", "compiled/cache", "servers/x.log", ".hidden/x"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    ensure_credentials(root, None)
    return root


def written(path: Path, text: str) -> Outcome:
    path.write_text(text)
    return Outcome({"files": 1})


def files_of(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_restored_store_has_every_build_and_nothing_of_the_machine(root: Path, tmp_path: Path) -> None:
    path, new = tmp_path / "a.tar.zst", tmp_path / "elsewhere" / "new"
    done = back_up(root, path, with_credentials=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600  # Prefect's database holds its Secret blocks and their key
    assert done["bytes"] == path.stat().st_size
    assert restore(path, new, None, {})["profile"] == "local"
    builds = list(new.glob("*/*/manifest.json"))
    assert len(builds) == 2
    assert all(load_manifest(build.parent) for build in builds)
    kept = files_of(new)
    assert {"ledgers/a.parquet", "prefect/storage/result", "prefect/prefect.db"} <= kept
    assert not [name for name in kept if "half" in name or "cache" in name or name.endswith(("x.log", ".env", "/x"))]
    first, second = (next(new.glob(f"{stage}/*/weights")) for stage in ("training", "registry"))
    assert first.read_text() == "w" * 5000
    assert os.path.samefile(first, second)
    with closing(sqlite3.connect(new / "prefect" / "prefect.db")) as database:
        assert database.execute("select name from flow_run").fetchall() == [("one",)]
        assert database.execute("select * from concurrency_limit_v2").fetchall() == [("gpu0", 0)]
    assert not list(tmp_path.glob("**/.restoring-*"))
    assert not list(root.glob(f"{SCRATCH}*"))


def test_models_are_found_in_the_new_store_by_whatever_link_the_old_one_was_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    named = [root, tmp_path / "link", tmp_path / "folder" / ".." / "store", tmp_path / "other"]
    (tmp_path / "folder").mkdir()
    with closing(sqlite3.connect(root / "mlflow.db")) as database:
        database.execute("create table model_versions (storage_location varchar(500))")
        rows = [(f"{folder}/mlflow-artifacts/3/model",) for folder in named]
        database.executemany("insert into model_versions values (?)", rows)
        database.commit()
    back_up(root, tmp_path / "a.tar.zst", with_credentials=False)
    done = restore(tmp_path / "a.tar.zst", tmp_path / "new", None, {})
    with closing(sqlite3.connect(tmp_path / "new" / "mlflow.db")) as database:
        found = [row for (row,) in database.execute("select storage_location from model_versions")]
    assert found == [f"{tmp_path}/new/mlflow-artifacts/3/model"] * 3 + [f"{tmp_path}/other/mlflow-artifacts/3/model"]
    assert done["elsewhere"] == [str(tmp_path / "other")]


def test_restored_store_has_the_doors_and_ports_of_a_new_one(root: Path, tmp_path: Path) -> None:
    save_setup(root, Setup(project=tmp_path, host="0.0.0.0", prefect_port=4300, allowed_hosts=("models.example.org",)))
    back_up(root, tmp_path / "a.tar.zst", with_credentials=False)
    restore(tmp_path / "a.tar.zst", tmp_path / "new", None, {})
    assert load_setup(tmp_path / "new") == Setup(project=tmp_path)


def test_credentials_are_in_a_backup_only_if_asked_for(root: Path, tmp_path: Path) -> None:
    back_up(root, tmp_path / "a.tar.zst", with_credentials=True)
    restore(tmp_path / "a.tar.zst", tmp_path / "new", None, {})
    assert credentials_path(tmp_path / "new").read_text() == credentials_path(root).read_text()
    assert stat.S_IMODE(credentials_path(tmp_path / "new").stat().st_mode) == 0o600


def test_database_is_whole_though_it_is_written_to(root: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(root / "prefect" / "prefect.db", isolation_level=None)) as database:
        database.execute("pragma journal_mode = wal")
        database.execute("begin")
        database.execute("insert into flow_run values ('two')")
        back_up(root, tmp_path / "a.tar.zst", with_credentials=False)
        database.execute("commit")
    restore(tmp_path / "a.tar.zst", tmp_path / "new", None, {})
    with closing(sqlite3.connect(tmp_path / "new" / "prefect" / "prefect.db")) as database:
        assert database.execute("select name from flow_run").fetchall() == [("one",)]


def test_nothing_is_pruned_while_a_backup_is_taken(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add, tried = archive.ArchiveWriter.add, []

    def add_and_prune(self: archive.ArchiveWriter, name: str, path: Path) -> None:
        with pytest.raises(UserError, match="a run is using"), Store(root, "").unused():
            pass
        tried.append(name)
        add(self, name, path)

    monkeypatch.setattr(archive.ArchiveWriter, "add", add_and_prune)
    back_up(root, tmp_path / "a.tar.zst", with_credentials=False)
    assert tried


def test_file_that_vanishes_is_said_and_leaves_no_archive(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = archive.ArchiveWriter.add

    def remove_and_add(self: archive.ArchiveWriter, name: str, path: Path) -> None:
        if path.name == "a.parquet":
            path.unlink()
        add(self, name, path)

    monkeypatch.setattr(archive.ArchiveWriter, "add", remove_and_add)
    with pytest.raises(BackupError, match=r"a.parquet changed while it was read; run the backup again"):
        back_up(root, tmp_path / "a.tar.zst", with_credentials=False)
    assert not list(tmp_path.glob("*.tar.zst"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.zip", "does not end with .tar.zst"),
        ("there.tar.zst", "is there already"),
        ("store/a.tar.zst", "lies in the"),
        ("there.tar.zst/b.tar.zst", "cannot be made .*; choose another place"),
        ("there.tar.zst/folder/b.tar.zst", "cannot be made .*; choose another place"),
    ],
)
def test_place_where_no_archive_can_be_is_refused(root: Path, tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "there.tar.zst").touch()
    with pytest.raises(BackupError, match=expected):
        back_up(root, tmp_path / name, with_credentials=False)
    with pytest.raises(BackupError, match="there is no store at"):
        back_up(tmp_path / "none", tmp_path / "a.tar.zst", with_credentials=False)


def test_full_disk_is_told_of_the_backup(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, name: str, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive.ArchiveWriter, "add_text", full)
    with pytest.raises(BackupError, match=r"a disk is full, that of .* or of the store, and no backup was left"):
        back_up(root, tmp_path / "a.tar.zst", with_credentials=False)
    assert not list(tmp_path.glob("*.zst"))


# --- archives that are none -------------------------------------------------------------------------------------------


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [flipped, lambda data: data[: len(data) // 2], lambda data: data[:-4], lambda data: b"", lambda data: b"x" * 999],
    ids=["flipped bit", "half", "end cut off", "empty", "something else"],
)
def test_damaged_archive_is_refused_and_leaves_nothing(
    root: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path, new = tmp_path / "a.tar.zst", tmp_path / "new"
    back_up(root, path, with_credentials=False)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BackupError, match="is damaged or no backup, and nothing of it was restored"):
        restore(path, new, None, {})
    assert not new.exists()
    assert not list(tmp_path.glob(".restoring-*"))


def entry(name: str, **more: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in more.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize(
    "bad",
    [
        entry("../outside"),
        entry("/outside"),
        entry("store/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        entry("store/pipe", type=tarfile.FIFOTYPE),
        entry("store/unlisted"),
    ],
    ids=["parent", "absolute", "link", "pipe", "unlisted"],
)
def test_unsafe_archive_is_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    path = tmp_path / "a.tar.zst"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        made.addfile(bad)
        listing = entry("files.json", size=2)
        made.addfile(listing, io.BytesIO(b"{}"))
    path.write_bytes(zstandard.ZstdCompressor().compress(buffer.getvalue()))
    with pytest.raises(BackupError, match="nothing of it was restored"):
        restore(path, tmp_path / "folder" / "new", None, {})
    assert files_of(tmp_path) == {"a.tar.zst"}


def test_store_that_is_there_is_not_restored_over(root: Path, tmp_path: Path) -> None:
    back_up(root, tmp_path / "a.tar.zst", with_credentials=False)
    before = files_of(root)
    with pytest.raises(BackupError, match="is not empty"):
        restore(tmp_path / "a.tar.zst", root, None, {})
    assert files_of(root) == before
    (tmp_path / "empty").mkdir()
    restore(tmp_path / "a.tar.zst", tmp_path / "empty", None, {})
    assert list((tmp_path / "empty").glob("training/*/manifest.json"))
    with pytest.raises(BackupError, match="there is no file"):
        restore(tmp_path / "gone.tar.zst", tmp_path / "new", None, {})


def test_folder_that_cannot_be_replaced_is_refused_before_anything_is_loaded(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(root, tmp_path / "a.tar.zst", with_credentials=False)
    new, kind = tmp_path / "new", "where a disk is mounted"
    new.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == new)
    monkeypatch.setattr(archive, "unpack", lambda *given: pytest.fail("it was unpacked"))
    with pytest.raises(BackupError, match=f"new is {kind}; name a folder below it, such as .*/new/store, with --store"):
        restore(tmp_path / "a.tar.zst", new, None, {})
    monkeypatch.undo()
    restore(tmp_path / "a.tar.zst", new / "store", None, {})
    assert list((new / "store").glob("training/*/manifest.json"))
