"""Registered versions beside each other, the models real and small; packaged by hand, which spares MLflow's seconds."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from requests import ConnectionError as AwayError
from tokenizers import Tokenizer

from minimind.config import Config
from minimind.errors import ModelNotFoundError, ServerError, UserError
from minimind.evaluation import overlap
from minimind.evaluation.scoring import score_folder
from minimind.model.hugging_face import export_model
from minimind.model.transformer import ModelConfig, Transformer
from minimind.registry import lineage, tracking
from minimind.registry.comparison import compare_versions, log_comparison
from minimind.registry.packaged_model import digest_of_model, resolve_model
from minimind.registry.promotion import champion_of, promote, rollback
from minimind.registry.tracking import MODEL_TAG
from minimind.report.comparison import render_comparison
from minimind.store import Manifest, Store
from minimind.tokenizer.bpe import save_tokenizer, train_bpe

Enlist = Callable[..., str]
MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json")


@pytest.fixture
def client(uri: str) -> MlflowClient:
    return tracking.connect(uri)


@pytest.fixture
def enlist(
    client: MlflowClient, config: Config, tmp_path: Path, make_stages: Callable[..., dict[str, Manifest]]
) -> Enlist:
    """Registers a model folder as `minimind run` does, but for the code packed beside it; its version."""
    stages = make_stages("20")
    client.create_registered_model("tests")
    experiment = client.create_experiment("tests", artifact_location=str(tmp_path / "artifacts"))

    def enlist(folder: Path, seed_spread: float | str = 0.001, cleaning: Manifest | None = None, **tags: str) -> str:
        made = stages | ({"cleaning": cleaning} if cleaning else {})
        run = client.create_run(experiment).info.run_id
        registry = config.registry.model_copy(update={"seed_spread": seed_spread})
        client.log_text(run, lineage.resolved_yaml(config.model_copy(update={"registry": registry})), "config.yaml")
        for key, value in lineage.final_metrics(made).items():
            client.log_metric(run, key, value)
        packed = tmp_path / run
        (packed / "artifacts" / "model").mkdir(parents=True)
        for name in MODEL_FILES:
            shutil.copy(folder / name, packed / "artifacts" / "model" / name)
        tags = lineage.lineage_tags(made, "tests") | {key.replace("_", ".", 1): value for key, value in tags.items()}
        tags[MODEL_TAG] = digest_of_model(packed / "artifacts" / "model")
        version = client.create_model_version("tests", source=str(packed), run_id=run, tags=tags)
        return str(version.version)

    return enlist


@pytest.fixture
def pair(enlist: Enlist, model_folders: dict[str, Path], client: MlflowClient) -> None:
    """Version 1, champion, and the better version 2."""
    enlist(model_folders["20"])
    enlist(model_folders["40"])
    client.set_registered_model_alias("tests", "champion", "1")


def holdout_of(store: Store) -> Path:
    (cleaning,) = store.manifests("cleaning")
    return cleaning.file("holdout.parquet")


@pytest.mark.usefixtures("pair")
def test_newest_version_is_held_against_the_champion_on_the_same_documents(
    uri: str, store: Store, model_folders: dict[str, Path], config: Config
) -> None:
    found = compare_versions("tests", [], uri, store)
    scores = [score_folder(model_folders[steps], holdout_of(store), "cpu", config.evaluation) for steps in ("20", "40")]
    assert (found["baseline"], found["candidate"], found["verdict"]) == ("1", "2", "better")
    assert [row["bits_per_byte"] for row in found["versions"]] == pytest.approx([one.bits_per_byte for one in scores])
    effect = scores[1].bits_per_byte - scores[0].bits_per_byte
    assert found["effect"]["bits_per_byte"] == pytest.approx(effect)
    assert found["effect"]["percent"] == pytest.approx(100 * effect / scores[0].bits_per_byte)
    low, high = found["interval"]["percent"]
    assert low < found["effect"]["percent"] < high < 0
    assert found["interval"]["covers"] == ["documents", "seeds"]
    assert found["documents"] == found["by_source"]["texts"]["documents"] == found["holdout"]["documents"] == 8
    assert found["sentence"].startswith("version 2 needs ")
    assert json.loads(json.dumps(found)) == found
    best = found["changed_documents"]["better"][0]
    assert best["candidate"] < best["baseline"]
    assert best["text"]
    assert [sample["prompt"] for sample in found["samples"]][:2] == [
        prompt.rstrip(" ") for prompt in config.evaluation.sampling.prompts
    ]
    assert all([text["version"] for text in sample["texts"]] == ["1", "2"] for sample in found["samples"])
    assert [row["version"] for row in found["history"]] == ["1", "2"]
    assert found["history"][0]["train_bytes"] > 0
    assert found["history"][0]["cost"] == found["versions"][1]["costs"]["cost"] == pytest.approx(15 * 7.2 / 3600)


@pytest.mark.usefixtures("pair")
def test_configs_that_come_from_a_server_leave_no_folder_behind(
    uri: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow makes a folder of its own, and leaves it, for what lies at a server and is asked for without one."""
    fetched = []
    download = MlflowClient.download_artifacts

    def noted(self: MlflowClient, run_id: str, path: str, dst_path: str | None = None) -> str:
        fetched.append(dst_path)
        return download(self, run_id, path, dst_path)

    monkeypatch.setattr(MlflowClient, "download_artifacts", noted)
    compare_versions("tests", [], uri, store)
    assert len(fetched) == 2
    assert not [folder for folder in fetched if folder is None or Path(folder).exists()]


@pytest.mark.usefixtures("pair")
def test_order_of_the_versions_says_what_is_held_against_what(uri: str, store: Store) -> None:
    found = compare_versions("tests", ["2", "1"], uri, store)
    assert (found["baseline"], found["candidate"], found["verdict"]) == ("2", "1", "worse")


@pytest.mark.usefixtures("pair")
def test_newest_champion_is_held_against_the_one_it_replaced(uri: str, store: Store) -> None:
    promote("tests", "2", uri, store)
    found = compare_versions("tests", [], uri, store)
    assert (found["baseline"], found["candidate"]) == ("1", "2")
    assert [row["champion"] for row in found["versions"]] == [False, True]


def test_three_versions_with_different_tokenizers_are_compared(
    enlist: Enlist, model_folders: dict[str, Path], texts: list[str], tmp_path: Path, uri: str, store: Store
) -> None:
    other: Tokenizer = train_bpe(texts, 280)
    sizes = ModelConfig(
        vocabulary_size=280, hidden_size=16, layers=1, heads=2, kv_heads=1, head_size=8, intermediate_size=32,
        max_positions=64,
    )  # fmt: skip
    model = Transformer(sizes)
    model.initialize(torch.Generator().manual_seed(3))
    export_model(model, tmp_path / "other" / "model")
    save_tokenizer(other, tmp_path / "other" / "model")
    for folder in (model_folders["20"], model_folders["40"], tmp_path / "other" / "model"):
        enlist(folder)
    found = compare_versions("tests", ["1", "2", "3"], uri, store)
    assert [one["verdict"] for one in found["comparisons"]] == ["better", "worse"]
    assert found["comparisons"][-1]["effect"] == found["effect"]
    assert {one["documents"] for one in found["comparisons"]} == {8}


@pytest.mark.usefixtures("pair")
def test_version_whose_training_text_is_not_known_is_named_and_its_documents_counted(
    uri: str, store: Store, tmp_path: Path, make_cleaning: Callable[..., Manifest]
) -> None:
    """Version 1 gets the file, of other text; 2 has none."""
    text = make_cleaning({"other/1": "nothing of it " * 20}, {}).file("train.parquet")
    folder = resolve_model("models:/tests/1", uri, store.root)
    overlap.make_filter(text).write(folder / overlap.FILE_NAME)
    found = compare_versions("tests", [], uri, store)
    assert [row["unchecked_documents"] for row in found["versions"]] == [0, 8]
    assert found["unchecked"].startswith("of version 2 there is no file of the training text's 13-grams: 8 documents")
    render_comparison(found, tmp_path / "comparison.html")
    assert "Of version 2 there is no file" in (tmp_path / "comparison.html").read_text()


def test_unknown_spread_leaves_the_verdict_open_and_is_said(
    enlist: Enlist, model_folders: dict[str, Path], uri: str, store: Store
) -> None:
    for steps in ("20", "40"):
        enlist(model_folders[steps], seed_spread="measured")
    found = compare_versions("tests", ["1", "2"], uri, store)
    assert (found["verdict"], found["interval"]["covers"]) == ("unclear", ["documents"])
    assert "not measured" in found["seed_spread"]


@pytest.mark.usefixtures("pair")
def test_deleted_or_purged_run_of_one_version_stops_no_comparison(
    uri: str, store: Store, client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (str(client.get_model_version("tests", number).run_id) for number in ("1", "2"))
    client.delete_run(first)
    original = MlflowClient.get_run

    def purged(self: MlflowClient, run_id: str) -> Any:
        if run_id == first:
            raise MlflowException("gone", error_code=RESOURCE_DOES_NOT_EXIST)
        return original(self, run_id)

    (tmp_path / "comparison.html").write_text("<!doctype html>")
    log_comparison(compare_versions("tests", [], uri, store), tmp_path / "comparison.html", uri)
    monkeypatch.setattr(MlflowClient, "get_run", purged)
    found = compare_versions("tests", [], uri, store)
    assert found["versions"][0]["costs"] == {}
    log_comparison(found, tmp_path / "comparison.html", uri)
    assert "compared/bits_per_byte" in client.get_run(second).data.metrics


@pytest.mark.usefixtures("pair")
def test_comparison_leaves_its_figures_on_the_runs_by_stable_names(
    uri: str, store: Store, client: MlflowClient, tmp_path: Path
) -> None:
    found = compare_versions("tests", [], uri, store)
    (tmp_path / "comparison.html").write_text("<!doctype html>")
    for _ in range(2):
        assert log_comparison(found, tmp_path / "comparison.html", uri) is None
    runs = [client.get_run(row["run_id"]) for row in found["versions"]]
    for run, row in zip(runs, found["versions"], strict=True):
        assert run.data.metrics["compared/bits_per_byte"] == row["bits_per_byte"]
        assert run.data.metrics["compared/bits_per_byte/texts"] == pytest.approx(row["bits_per_byte"])
        assert run.data.tags["minimind.compared_versions"] == "1,2"
        assert run.data.tags["minimind.compared_holdout_sha256"] == found["holdout"]["sha256"]
    assert runs[1].data.metrics["compared/change_percent"] == found["effect"]["percent"]
    assert "compared/change_percent" not in runs[0].data.metrics
    artifacts = {file.path for file in client.list_artifacts(runs[1].info.run_id)}
    assert {"comparison.html", "comparison.json"} <= artifacts


@pytest.mark.usefixtures("pair")
def test_figures_of_an_earlier_comparison_do_not_stay_beside_those_of_the_last(
    uri: str, store: Store, client: MlflowClient, tmp_path: Path
) -> None:
    (tmp_path / "comparison.html").write_text("<!doctype html>")
    log_comparison(compare_versions("tests", ["1", "2"], uri, store), tmp_path / "comparison.html", uri)
    run_ids = [str(client.get_model_version("tests", number).run_id) for number in ("1", "2")]
    for run_id in run_ids:
        client.log_metric(run_id, "compared/bits_per_byte/gone", 2.0)
    found = compare_versions("tests", ["2", "1"], uri, store)
    log_comparison(found, tmp_path / "comparison.html", uri)
    first, second = (client.get_run(run_id).data.metrics for run_id in run_ids)
    changes = {f"compared/change_percent{bound}" for bound in ("", "_low", "_high")}
    assert {name for name, value in second.items() if math.isnan(value)} == {*changes, "compared/bits_per_byte/gone"}
    assert {name for name, value in first.items() if math.isnan(value)} == {"compared/bits_per_byte/gone"}
    assert first["compared/change_percent"] == found["effect"]["percent"] > 0

    found["comparisons"][0]["interval"]["percent"] = [None, None]
    log_comparison(found, tmp_path / "comparison.html", uri)
    first = client.get_run(run_ids[0]).data.metrics
    assert math.isnan(first["compared/change_percent_low"])
    assert first["compared/change_percent"] == found["effect"]["percent"]


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize(
    ("name", "versions", "error", "said"),
    [
        ("other", [], ModelNotFoundError, "no model is called 'other': the registered models are tests"),
        ("tests", ["1", "9"], ModelNotFoundError, "models:/tests/9 does not exist: tests has the versions 1, 2"),
        ("tests", ["1", "x"], ModelNotFoundError, "names no version"),
        ("tests", ["2", "2"], UserError, "needs two different ones"),
        ("tests", ["1", "laws/2"], UserError, "laws/2 is no version of tests; only versions of one domain"),
    ],
)
def test_versions_that_cannot_be_compared_are_one_sentence(
    name: str, versions: list[str], error: type[Exception], said: str, uri: str, store: Store
) -> None:
    with pytest.raises(error, match=said):
        compare_versions(name, versions, uri, store)


def test_only_version_has_nothing_to_be_compared_with(
    enlist: Enlist, model_folders: dict[str, Path], uri: str, store: Store, client: MlflowClient
) -> None:
    enlist(model_folders["20"])
    client.set_registered_model_alias("tests", "champion", "1")
    with pytest.raises(
        UserError, match="version 1 of tests has no champion before it to be compared with, and is the only"
    ):
        compare_versions("tests", [], uri, store)


def test_version_of_another_domain_or_of_nobody_is_refused(
    enlist: Enlist, model_folders: dict[str, Path], uri: str, store: Store, client: MlflowClient
) -> None:
    enlist(model_folders["20"])
    enlist(model_folders["40"], minimind_domain="laws")
    client.create_model_version("tests", source="/nowhere")
    with pytest.raises(UserError, match="version 2 of tests was trained for the domain laws"):
        compare_versions("tests", ["1", "2"], uri, store)
    with pytest.raises(UserError, match="version 3 of tests was not registered by `minimind run`"):
        compare_versions("tests", ["1", "3"], uri, store)


def test_holdout_that_is_empty_or_gone_is_refused(
    enlist: Enlist, model_folders: dict[str, Path], make_cleaning: Any, uri: str, store: Store
) -> None:
    enlist(model_folders["20"])
    empty = make_cleaning({"texts/00": "one"}, {})
    enlist(model_folders["40"], cleaning=empty)
    with pytest.raises(UserError, match="the holdout of version 2 of tests has no document"):
        compare_versions("tests", ["1", "2"], uri, store)
    shutil.rmtree(empty.path)
    with pytest.raises(UserError, match=r"the holdout of version 2 of tests \(cleaning .*\) is not in"):
        compare_versions("tests", ["1", "2"], uri, store)


@pytest.mark.usefixtures("pair")
def test_model_whose_files_are_gone_is_named(uri: str, store: Store, client: MlflowClient) -> None:
    folder = Path(client.get_model_version("tests", "1").source)
    for damage in (
        lambda: (folder / "artifacts" / "model" / "model.safetensors").write_bytes(b"0" * 100),
        lambda: shutil.rmtree(folder),
    ):
        damage()
        with pytest.raises(ModelNotFoundError, match="version 1 of tests cannot be loaded"):
            compare_versions("tests", [], uri, store)


def test_version_whose_files_are_not_those_that_were_registered_becomes_no_champion(
    enlist: Enlist, model_folders: dict[str, Path], uri: str, store: Store, client: MlflowClient
) -> None:
    for steps in ("20", "40"):
        enlist(model_folders[steps])
        promote("tests", str(len(client.search_model_versions("name = 'tests'"))), uri, store)
    damaged = Path(client.get_model_version("tests", "1").source) / "artifacts" / "model" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    for call in (
        lambda: promote("tests", "1", uri, store),
        lambda: rollback("tests", uri, store),
        lambda: compare_versions("tests", ["1", "2"], uri, store),
    ):
        with pytest.raises(ModelNotFoundError, match="are not those that were registered"):
            call()
    assert champion_of(client, "tests") == "2"


@pytest.mark.usefixtures("pair")
def test_one_version_under_two_spellings_is_one(uri: str, store: Store, client: MlflowClient) -> None:
    with pytest.raises(UserError, match="needs two different ones"):
        compare_versions("tests", ["1", "01"], uri, store)
    promote("tests", "02", uri, store)
    assert rollback("tests", uri, store) == ("1", "2")
    with pytest.raises(ModelNotFoundError, match="does not exist: tests has the versions 1, 2"):
        promote("tests", "9" * 23, uri, store)
    with pytest.raises(ModelNotFoundError, match="does not exist: the registered models are tests"):
        promote("it's", "1", uri, store)


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize("call", ["get_registered_model", "search_model_versions", "get_run", "download_artifacts"])
def test_mlflow_that_goes_away_is_one_sentence(
    call: str, uri: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*arguments: Any, **options: Any) -> Any:
        raise AwayError("Connection refused")

    monkeypatch.setattr(MlflowClient, call, away)
    with pytest.raises(ServerError, match="connection refused"):
        compare_versions("tests", [], uri, store)


def test_nothing_registered_yet_is_said_and_makes_no_database(store: Store) -> None:
    with pytest.raises(ModelNotFoundError, match="`minimind run` makes one"):
        compare_versions("tests", [], tracking.tracking_uri(store.root, {}), store)
    assert not (store.root / "mlflow.db").exists()
