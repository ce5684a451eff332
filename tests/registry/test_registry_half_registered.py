"""Registrations that did not come to their end: nothing they need is pruned, and the next run completes them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from kills import killed
from mlflow import MlflowClient

from flows.store_views import removable
from minimind.config import Config
from minimind.pruning import prunable
from minimind.registry import lineage, tracking
from minimind.registry.build import RegistryInputs, build
from minimind.registry.half_registered import half_registered
from minimind.registry.promotion import UNANNOUNCED_TAG
from minimind.store import Manifest, Store

Stages = dict[str, Manifest]


@pytest.fixture
def client(uri: str) -> MlflowClient:
    return tracking.connect(uri)


@pytest.mark.parametrize("moment", ["after create_model_version", "after set_registered_model_alias"])
def test_registration_that_a_kill_left_half_is_kept_and_completed_before_another_model(
    moment: str, make_stages: Callable[[str], Stages], store: Store, config: Config, uri: str, client: MlflowClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    stages = make_stages("20")
    with killed(moment):
        build(config.registry, RegistryInputs(config, stages, uri), store)
    newer = make_stages("40")
    assert stages["training"].path in {row.path for row in prunable(store)}, "the store alone does not know"
    assert removable(store, unfinished=False, keep_versions=None, document=None, domain=None) == []

    announced = []
    build(
        config.registry, RegistryInputs(config, newer, uri), store,
        lambda details: announced.append((details["version"], details["decision"]["outcome"])),
    )  # fmt: skip
    assert announced == [("1", "first"), ("2", "promoted")]
    tags = client.get_model_version("tests", "1").tags
    assert tags["minimind.gate"] == "passed"
    assert UNANNOUNCED_TAG not in tags
    first, _ = store.manifests("registry")
    assert (first.details["version"], first.config) == ("1", config.registry.model_dump(mode="json"))
    assert client.get_run(first.details["run_id"]).info.status == "FINISHED"
    assert half_registered(client, "tests") == []


def test_version_that_cannot_be_completed_is_said_and_stops_nothing(
    make_stages: Callable[[str], Stages], store: Store, config: Config, uri: str, client: MlflowClient, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    tags = lineage.lineage_tags(make_stages("20"), "tests")
    run = client.create_run(client.create_experiment("tests", str(tmp_path / "artifacts"))).info.run_id
    client.log_text(run, lineage.resolved_yaml(config), "config.yaml")
    client.create_registered_model("tests")
    client.create_model_version("tests", source="/nowhere", tags=tags)
    client.create_model_version(
        "tests", "/nowhere", run, tags | {lineage.fingerprint_tag("training"): "0123456789abcdef"}
    )
    client.create_model_version("tests", source="/nowhere")  # somebody else's
    manifest = build(config.registry, RegistryInputs(config, make_stages("40"), uri), store)
    assert manifest.details["aliases"] == ["champion"]
    for said in (
        "version 1 of tests stays half registered: its run, or the config.yaml of that, is gone; delete the version",
        f"version 2 of tests stays half registered: training 0123456789abcdef is not in {store.root}; ",
    ):
        assert said in caplog.text
    assert [str(version.version) for version in half_registered(client, "tests")] == ["1", "2"]
    client.set_registered_model_alias("tests", "champion", "2")  # as in MLflow's pages: its files are nowhere
    assert [str(version.version) for version in half_registered(client, "tests")] == ["1"], "a person has judged it"
