import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from metric_lines import arrived, expected, lines
from mlflow_process import mlflow_process

from minimind.config import Config
from minimind.errors import ServerError
from minimind.registry import forwarding, tracking
from minimind.registry.build import RegistryInputs, build
from minimind.registry.forwarding import MetricForwarder
from minimind.registry.packaged_model import opened, resolve_model
from minimind.registry.recorded import look_up_document, read_recorded, version_named
from minimind.store import Manifest, Store


@pytest.mark.slow
def test_registry_behind_a_server_that_goes_away_and_comes_back(
    store: Store, config: Config, make_stages: Callable[[str], dict[str, Manifest]], tmp_path: Path,
    empty_database: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """One server for all that differs behind HTTP: starting one takes ten seconds and more.

    A training begins while the server is up, goes on while it hangs and ends after it is back; the model is then
    registered, found, downloaded, traced, and measured as champion after its files are gone.
    """
    monkeypatch.setattr(forwarding, "PAUSE_SECONDS", 0.5)
    monkeypatch.setitem(tracking.QUICK_REQUESTS, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    shutil.copy(empty_database, tmp_path / "server.db")
    arguments = ["server", "--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}", "--workers", "1"]
    arguments += ["--artifacts-destination", str(tmp_path / "artifacts")]
    stages = make_stages("20")
    training = stages["training"]
    live = tmp_path / "live"
    live.mkdir()

    with mlflow_process(arguments, tmp_path / "log") as server:
        uri = server.url
        tracking.initialise(uri, store.root)
        forwarder = MetricForwarder(store, config.registry.experiment, uri)
        (live / "metrics.jsonl").write_text(lines(1, 10))
        assert forwarder.forward(live, training.fingerprint) == 10
        with server.stopped():
            (live / "metrics.jsonl").write_text(lines(1, 20))
            assert forwarder.forward(live, training.fingerprint) == 0
            with pytest.raises(ServerError, match="timed out"):
                tracking.initialise(uri, store.root)

        forwarder.finish(live, training.fingerprint)
        manifest = build(config.registry, RegistryInputs(config, stages, uri), store)
        client = tracking.connect(uri)
        assert arrived(client, manifest.details["run_id"]) == expected(lines(1, 30))
        assert manifest.details["aliases"] == ["champion"]
        assert build(config.registry, RegistryInputs(config, stages, uri), store).reused

        report = tmp_path / "report.html"
        report.write_text("<p>found</p>")
        tracking.log_report(uri, manifest.details["run_id"], report)
        assert "report.html" in {file.path for file in client.list_artifacts(manifest.details["run_id"])}

        folder = resolve_model("models:/tests@champion", uri, store.root)
        assert folder.is_relative_to(store.root / "models")
        weights = (training.path / "model" / "model.safetensors").read_bytes()
        assert (folder / "model.safetensors").read_bytes() == weights
        assert resolve_model("models:/tests/1", uri, store.root) == folder

        with opened(uri, store.root) as there:
            recorded = read_recorded(there, version_named(there, "tests"))
            [known] = look_up_document(there, "texts/00", None)
        assert {stage: row.fingerprint for stage, row in recorded.stages.items()} == {
            stage: row.fingerprint for stage, row in stages.items()
        }
        assert recorded.plan == {"steps": 30}
        assert known.fate
        assert known.fate.fate == "trained"

        better = build(config.registry, RegistryInputs(config, make_stages("40"), uri), store)
        assert better.details["decision"]["outcome"] == "promoted"
        assert better.details["aliases"] == ["champion"]

        shutil.rmtree(tmp_path / "artifacts")
        shutil.rmtree(store.root / "models")
        third = build(config.registry, RegistryInputs(config, make_stages("0"), uri), store)
        assert third.details["decision"]["outcome"] == "promoted"
        assert "could not be measured" in third.details["decision"]["reasons"][0]
