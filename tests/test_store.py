import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from minimind.config import TokenizerConfig
from minimind.errors import DiskFullError, StoreDamagedError, UserError
from minimind.pruning import MAX_INTERRUPTED_DAYS, Registered, prunable
from minimind.store import Outcome, Recipe, Store, load_manifest, recipe, remove, set_aside


def a_recipe(size: int = 400, stage: str = "tokenizer", **changes: object) -> Recipe:
    fields: dict[str, object] = {
        "stage": stage, "config": {"vocabulary_size": size}, "inputs": {"train.parquet": "aa"},
        "code": {"minimind.tokenizer.build": "11"}, "libraries": {"tokenizers": "1.0"},
    }  # fmt: skip
    return Recipe(**(fields | changes))  # type: ignore[arg-type]


def write_text(folder: Path) -> Outcome:
    (folder / "part").mkdir()
    (folder / "part" / "a.txt").write_text("hello")
    return Outcome({"documents": 3}, {"note": "x"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", "laws")


def test_build_is_found_again_with_its_manifest(store: Store) -> None:
    first = store.build(a_recipe(), write_text)
    second = store.build(a_recipe(), lambda _: pytest.fail("built twice"))
    assert (first.reused, second.reused) == (False, True)
    assert second.counts == {"documents": 3}
    assert second.file("part/a.txt").read_text() == "hello"
    assert second.files["part/a.txt"].bytes == 5
    assert second.domain == "laws"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": {"vocabulary_size": 500}}, "config vocabulary_size: 400 -> 500"),
        ({"inputs": {"train.parquet": "bb"}}, "inputs train.parquet changed"),
        ({"code": {"minimind.tokenizer.build": "22"}}, "code minimind.tokenizer.build changed"),
        ({"libraries": {"tokenizers": "2.0"}}, 'libraries tokenizers: "1.0" -> "2.0"'),
    ],
)
def test_each_part_of_a_recipe_changes_the_fingerprint_and_is_named(
    store: Store, change: dict[str, object], said: str
) -> None:
    earlier = store.build(a_recipe(), write_text)
    changed = a_recipe(**change)
    assert changed.fingerprint != earlier.fingerprint
    assert changed.differences(earlier) == [said]


def test_lineage_is_kept_and_does_not_change_the_fingerprint(store: Store) -> None:
    with_parents = a_recipe(parents={"cleaning": "0123"})
    assert with_parents.fingerprint == a_recipe().fingerprint
    assert store.build(with_parents, write_text).parents == {"cleaning": "0123"}


def test_failed_build_leaves_nothing(store: Store) -> None:
    def fail(folder: Path) -> Outcome:
        (folder / "half").write_text("x")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        store.build(a_recipe(), fail)
    assert list((store.root / "tokenizer").iterdir()) == []


def test_seconds_of_a_build_leave_out_the_wait_for_its_turn(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("minimind.store.time.perf_counter", lambda: now)

    def passes(seconds: float) -> None:
        nonlocal now
        now += seconds

    @contextmanager
    def turn() -> Iterator[None]:
        passes(3600)
        yield

    def work(_: Path) -> Outcome:
        passes(2)
        return Outcome({})

    assert replace(store, turn=turn).build(a_recipe(), work).seconds == 2


def test_resumable_build_finds_what_it_left(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> Outcome:
        (folder / "checkpoint").write_text("7")
        raise RuntimeError("no")

    def go_on(folder: Path) -> Outcome:
        return Outcome({"step": int((folder / "checkpoint").read_text())})

    def killed(*_: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(RuntimeError):
        store.build(a_recipe(), fail, resumable=True)
    with monkeypatch.context() as patched:
        patched.setattr("minimind.store.publish", killed)
        with pytest.raises(KeyboardInterrupt):
            store.build(a_recipe(), go_on, resumable=True)
    built = store.build(a_recipe(), go_on, resumable=True)
    assert built.counts == {"step": 7}
    assert set(built.files) == {"checkpoint"}  # not the manifest of the build that was killed


@pytest.mark.parametrize("damage", ["remove", "truncate", "manifest"])
def test_damaged_build_is_made_anew(store: Store, damage: str) -> None:
    manifest = store.build(a_recipe(), write_text)
    if damage == "remove":
        manifest.file("part/a.txt").unlink()
    elif damage == "truncate":
        manifest.file("part/a.txt").write_text("hell")
    else:
        (manifest.path / "manifest.json").write_text("{")
    again = store.build(a_recipe(), write_text)
    assert not again.reused
    assert again.file("part/a.txt").read_text() == "hello"


def test_refresh_builds_again_in_the_same_place(store: Store) -> None:
    first = store.build(a_recipe(), write_text)
    again = store.build(a_recipe(), write_text, refresh=True)
    assert (again.path, again.reused) == (first.path, False)
    assert load_manifest(first.path) is not None


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("IO: No space left on device")]
)
def test_full_disk_is_said_in_a_sentence(store: Store, error: Exception) -> None:
    def fill(_: Path) -> Outcome:
        raise error

    with pytest.raises(DiskFullError, match="is full"):
        store.build(a_recipe(), fill)
    assert not list((store.root / "tokenizer").glob("*"))


KILLED = """
import os, signal, sys
from pathlib import Path
from minimind.store import Outcome, Recipe, Store
def write(folder):
    (folder / "a").write_bytes(b"x" * 1000)
    print("writing", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
Store(Path(sys.argv[1]), "laws").build(Recipe("tokenizer", {}, {}, {}, {}), write)
"""


def test_killed_build_is_not_published_and_its_lock_is_free(store: Store) -> None:
    process = subprocess.run([sys.executable, "-c", KILLED, str(store.root)], capture_output=True, timeout=60)
    assert process.returncode == -signal.SIGKILL
    empty = Recipe("tokenizer", {}, {}, {}, {})
    assert store.find("tokenizer", empty.fingerprint) is None
    (leftover,) = prunable(store)
    assert leftover.reason == "left by a run that did not finish"
    assert store.build(empty, write_text).counts == {"documents": 3}
    assert prunable(store) == []


KILLED_REPLACING = """
import os, signal, sys
from pathlib import Path
from minimind.store import Outcome, Store
from tests.test_store import a_recipe
rename = Path.rename
def killed(path, target):
    if path.name.startswith(".building-"):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, target)
Path.rename = killed
Store(Path(sys.argv[1]), "laws").build(a_recipe(stage="registry"), lambda folder: Outcome({}), refresh=True)
"""
KILLED_PRUNING = """
import os, signal, sys
from pathlib import Path
from minimind import store
from minimind.pruning import prunable
def killed(path, **options):
    if path.exists():
        (path / "part" / "a.txt").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
store.shutil.rmtree = killed
[row] = prunable(store.Store(Path(sys.argv[1]), ""))
store.remove(row.path)
"""


def kill_in(script: str, store: Store) -> None:
    command = [sys.executable, "-c", script, str(store.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | {"PYTHONPATH": "."})
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_build_that_a_kill_kept_from_being_replaced_is_put_back(store: Store) -> None:
    old = store.build(a_recipe(1, stage="corpus"), write_text)
    store.build(a_recipe(2, stage="corpus"), write_text)
    registered = a_recipe(stage="registry", parents={"corpus": old.fingerprint})
    there = store.build(registered, write_text)
    kill_in(KILLED_REPLACING, store)
    assert not there.path.exists()
    assert [row.reason for row in prunable(store)] == ["left by a run that did not finish"]
    assert there.path.exists()
    set_aside(there.path)
    assert store.build(registered, lambda _: pytest.fail("built twice")).reused


@pytest.mark.parametrize("stage", ["corpus", "training"])
def test_build_that_is_half_pruned_goes_with_the_next_pruning(store: Store, stage: str) -> None:
    old = store.build(a_recipe(1, stage=stage), write_text)
    store.build(a_recipe(2, stage=stage), write_text)
    kill_in(KILLED_PRUNING, store)
    assert not old.path.exists()
    [left] = prunable(store)
    assert left.reason == "replaced or pruned, and left half removed"
    remove(left.path)
    assert prunable(store) == []


def test_two_processes_build_a_thing_once(store: Store) -> None:
    script = """
import sys, time
from pathlib import Path
from minimind.store import Outcome, Recipe, Store
def write(folder):
    time.sleep(0.5)
    return Outcome({})
print(Store(Path(sys.argv[1]), "laws").build(Recipe("tokenizer", {}, {}, {}, {}), write).reused)
"""
    command = [sys.executable, "-c", script, str(store.root)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert said == ["False", "True"]


def test_prune_keeps_what_registered_models_and_newest_builds_need(store: Store) -> None:
    old_corpus = store.build(a_recipe(1, stage="corpus"), write_text)
    old_model = store.build(a_recipe(1, stage="training", parents={"corpus": old_corpus.fingerprint}), write_text)
    store.build(a_recipe(1, stage="registry", parents={"training": old_model.fingerprint}), write_text)
    unused = store.build(a_recipe(2, stage="corpus"), write_text)
    time.sleep(0.002)
    newest = store.build(a_recipe(3, stage="corpus"), write_text)
    assert [row.path for row in prunable(store)] == [unused.path]
    shutil.rmtree(unused.path)
    assert prunable(store) == []
    assert newest.path.exists()


def test_prune_spares_what_a_living_run_writes(store: Store) -> None:
    def look(folder: Path) -> Outcome:
        assert [row.path for row in prunable(store)] == []
        return Outcome({})

    store.build(a_recipe(), look)


def test_recipe_of_a_real_stage_names_its_code_and_libraries() -> None:
    made = recipe(
        "tokenizer",
        TokenizerConfig(keep=None, vocabulary_size=300, sample_bytes=1_000_000),
        {"train.parquet": "aa"},
        ("tokenizers",),
    )
    assert "minimind.tokenizer.build" in made.code
    assert "minimind.store" not in made.code
    assert made.libraries.keys() == {"tokenizers"}


def test_fingerprint_is_the_same_in_another_process() -> None:
    script = "from tests.test_store import a_recipe; print(a_recipe().fingerprint)"
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": "."}
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=60)
    assert said.stdout.strip() == a_recipe().fingerprint, said.stderr


def test_changed_byte_of_an_input_is_found_before_anything_is_built_from_it(store: Store) -> None:
    corpus = store.build(a_recipe(stage="corpus"), write_text)
    inputs = corpus.matching("part/")
    made_of_it = a_recipe(inputs=inputs, parents={"corpus": corpus.fingerprint})
    corpus.file("part/a.txt").write_text("hellp")
    with pytest.raises(StoreDamagedError, match=r"part/a\.txt has changed since it was written"):
        store.build(made_of_it, write_text)
    assert not list((store.root / "tokenizer").glob("[!.]*"))


def test_store_in_use_is_not_pruned(store: Store) -> None:
    with store.in_use(), store.in_use(), pytest.raises(UserError, match="a run is using"), store.unused():
        pass
    with store.unused():
        pass


def test_interrupted_training_is_pruned_when_asked_for_or_when_no_run_went_on_with_it(store: Store) -> None:
    folder = store.root / "training" / ".building-0123456789abcdef"
    (folder / "checkpoints").mkdir(parents=True)
    (checkpoint := folder / "checkpoints" / "step-000001.pt").touch()

    def write_days_ago(days: float) -> None:
        os.utime(checkpoint, (time.time() - 86400 * days,) * 2)

    write_days_ago(MAX_INTERRUPTED_DAYS - 1)
    assert prunable(store) == []
    assert [row.path for row in prunable(store, unfinished=True)] == [folder]
    write_days_ago(MAX_INTERRUPTED_DAYS + 1)
    with store.lock("training-0123456789abcdef"):
        assert prunable(store) == []
    (row,) = prunable(store)
    assert (row.path, row.reason) == (folder, "an interrupted training that no run has gone on with for 41 days")


def test_run_that_was_killed_leaves_its_name_and_one_that_ended_does_not(store: Store) -> None:
    with store.in_use("ended"):
        assert store.abandoned_runs() == []
    killed = "import os, sys; from pathlib import Path; from minimind.store import Store\n"
    killed += "with Store(Path(sys.argv[1]), '').in_use('killed'): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", killed, str(store.root)]).returncode == -9
    assert [path.name for path in store.abandoned_runs()] == ["killed"]


def test_what_a_given_up_registration_was_built_from_may_go(store: Store) -> None:
    builds = [store.build(a_recipe(stage=stage, inputs={"n": n}), write_text) for n in "12" for stage in ("corpus",)]
    for number, corpus in enumerate(builds):
        parents = {"corpus": corpus.fingerprint}
        store.build(a_recipe(stage="registry", inputs={"n": str(number)}, parents=parents), write_text)
    old, _ = store.manifests("registry")
    assert prunable(store) == []
    given_up = Registered(given_up={old.fingerprint})
    assert {row.path for row in prunable(store, registered=given_up)} == {old.path, builds[0].path}
