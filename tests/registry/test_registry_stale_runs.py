"""Runs in MLflow whose training has no process any more are ended, and no others."""

from pathlib import Path

from metric_lines import lines

from minimind.registry import tracking
from minimind.registry.forwarding import MetricForwarder
from minimind.registry.stale_runs import end_stale_runs
from minimind.store import Outcome, Recipe, Store

FINGERPRINT = "0123456789abcdef"


def test_killed_training_ends_as_killed_and_is_open_again_when_it_goes_on(
    store: Store, uri: str, tmp_path: Path
) -> None:
    client = tracking.connect(uri)
    (tmp_path / "metrics.jsonl").write_text(lines(1, 3))
    run_id = MetricForwarder(store, "e", uri).finish(tmp_path, FINGERPRINT)
    with store.lock(f"training-{FINGERPRINT}"):
        assert end_stale_runs(store, uri) == []
        assert client.get_run(run_id).info.status == "RUNNING"
    assert end_stale_runs(store, uri) == [run_id]
    assert client.get_run(run_id).info.status == "KILLED"
    (tmp_path / "metrics.jsonl").write_text(lines(1, 5))
    MetricForwarder(store, "e", uri).finish(tmp_path, FINGERPRINT)
    assert client.get_run(run_id).info.status == "RUNNING"


def test_run_of_a_published_training_is_finished_and_one_of_another_store_left_alone(
    store: Store, uri: str, tmp_path: Path
) -> None:
    client = tracking.connect(uri)
    made_from = Recipe("training", {}, {}, {}, {})
    store.build(made_from, lambda folder: Outcome({}))
    (tmp_path / "metrics.jsonl").write_text(lines(1, 3))
    ours = MetricForwarder(store, "e", uri).finish(tmp_path, made_from.fingerprint)
    theirs = MetricForwarder(Store(tmp_path / "other", "d"), "e", uri).finish(tmp_path, FINGERPRINT)
    with store.in_use("another run, which may be at its evaluation"):
        assert end_stale_runs(store, uri, own="own") == []
    with store.in_use("own"):
        assert end_stale_runs(store, uri, own="own") == [ours]
    assert client.get_run(ours).info.status == "FINISHED"
    assert client.get_run(theirs).info.status == "RUNNING"


def test_server_that_is_away_is_no_error(store: Store, uri: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(lines(1, 3))
    MetricForwarder(store, "e", uri).finish(tmp_path, FINGERPRINT)
    assert end_stale_runs(store, "http://127.0.0.1:9") == []
