"""The prune flow's patience: nothing goes while a run uses the store, and it goes once none does."""

import shutil
import threading
from types import SimpleNamespace

import pytest
from domain import PrefectServer
from typer.testing import CliRunner

from flows import prune, store_views
from flows.cli import app
from flows.prune import PruneRequest, when_unused
from minimind.errors import ServerUnreachableError
from minimind.pruning import MAX_INTERRUPTED_DAYS, NOTHING_REGISTERED, Registered
from minimind.store import Outcome, Recipe, Store
from tasks import retries


@pytest.fixture
def replaced(store: Store) -> Store:
    """Two builds of one stage; the older is needed by nothing."""
    for version in ("1", "2"):
        store.build(Recipe("corpus", {}, {"text": version}, {}, {}), lambda folder: Outcome({}))
    return store


def test_nothing_goes_while_a_run_uses_the_store(replaced: Store) -> None:
    with replaced.in_use():
        assert when_unused(replaced, PruneRequest(wait_hours=0)) is None
    assert len(replaced.manifests("corpus")) == 2


def test_pruning_that_finds_the_store_in_use_for_as_long_as_it_waits_has_failed_and_is_told(
    replaced: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "pruned", when_unused)
    with replaced.in_use():
        state = prune.prune.fn(PruneRequest(store=str(replaced.root), wait_hours=0))
    assert state.is_failed()
    assert "nothing was removed. Give this deployment a time at which none is due" in state.message


def test_help_says_after_how_many_days_an_interrupted_training_goes() -> None:
    said = CliRunner().invoke(app, ["store", "prune", "--help"], env={"COLUMNS": "300"}).stdout
    assert f"of the last {MAX_INTERRUPTED_DAYS:g} days too" in said


def test_scratch_goes_by_itself_or_after_a_kill_by_pruning(store: Store) -> None:
    store.root.mkdir()
    with store.scratch() as folder:
        (folder / "dump").write_text("secrets")
        left = [folder.with_name(f"{folder.name}-of-a-kill"), store.root / "downloads" / ".git-ab12"]
        left += [store.root / "plans" / ".measuring-cd34"]
        for path in left:
            shutil.copytree(folder, path)
        (store.root / "downloads" / "ab12.json").write_text("{}")
        with store.in_use():
            assert when_unused(store, PruneRequest(wait_hours=0)) is None
    assert not folder.exists()
    removed = when_unused(store, PruneRequest())
    assert {row.path: row.reason for row in removed or []} == dict.fromkeys(left, "left by a command that was killed")
    assert not any(path.exists() for path in left)
    assert (store.root / "downloads" / "ab12.json").exists()


def test_pruning_of_a_deployment_tries_again_where_mlflow_does_not_answer(
    replaced: Store, prefect: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [ServerUnreachableError("MLflow does not answer"), ServerUnreachableError("MLflow does not answer")]

    def asked(store: Store, keep_versions: int | None) -> Registered:
        if answers:
            raise answers.pop()
        return NOTHING_REGISTERED

    monkeypatch.setattr(store_views, "registered_versions", asked)
    monkeypatch.setattr(retries, "deployment", SimpleNamespace(id="one"))
    monkeypatch.setattr(prune, "pruned", prune.pruned.with_options(retry_delay_seconds=[0, 0, 0]))
    with prefect.spoken_to():
        assert len(prune.prune(PruneRequest(store=str(replaced.root)))["removed"]) == 1
    assert not answers


def test_prune_waits_for_the_run_that_uses_the_store(replaced: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "ASK_AGAIN_SECONDS", 0.05)
    begun, may_end = threading.Event(), threading.Event()

    def use() -> None:
        with replaced.in_use():
            begun.set()
            assert may_end.wait(60)

    run = threading.Thread(target=use)
    run.start()
    assert begun.wait(60)
    threading.Timer(0.2, may_end.set).start()
    removed = when_unused(replaced, PruneRequest(wait_hours=1))
    run.join()
    assert removed is not None
    assert [row.reason for row in removed] == ["replaced by a newer build"]
    assert len(replaced.manifests("corpus")) == 1
