import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kills import killed
from metric_lines import arrived, expected, lines
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

from minimind.config import Config, RegistryConfig, TaskConfig
from minimind.errors import ModelNotFoundError, OutOfMemoryError, ServerError, UserError
from minimind.evaluation import overlap
from minimind.evaluation.scoring import score_folder
from minimind.registry import build as registry
from minimind.registry import champion, lineage, required, tracking
from minimind.registry.build import RegistryInputs, build
from minimind.registry.gate import Decision, Measured
from minimind.registry.packaged_model import resolve_model
from minimind.registry.recorded import config_of
from minimind.registry.version import as_description
from minimind.store import Manifest, Store

Stages = dict[str, Manifest]
MakeStages = Callable[..., Stages]
Register = Callable[..., Manifest]


@pytest.fixture
def client(uri: str) -> MlflowClient:
    return tracking.connect(uri)


@pytest.fixture
def register(store: Store, config: Config, uri: str) -> Register:
    def register(stages: Stages, uri: str = uri, config: Config = config) -> Manifest:
        return build(config.registry, RegistryInputs(config, stages, uri), store)

    return register


def aliases(client: MlflowClient) -> dict[str, str]:
    return {name: str(version) for name, version in client.get_registered_model("tests").aliases.items()}


def versions(client: MlflowClient) -> list[int]:
    return sorted(int(version.version) for version in client.search_model_versions("name = 'tests'"))


# --- champion and challenger ------------------------------------------------------------------------------------------


def test_first_version_becomes_champion(register: Register, make_stages: MakeStages, client: MlflowClient) -> None:
    manifest = register(make_stages("20"))
    assert manifest.counts == {"version": 1}
    details = manifest.details
    assert (details["name"], details["version"], details["uri"]) == ("tests", "1", "models:/tests/1")
    assert details["aliases"] == ["champion"]
    assert details["decision"]["outcome"] == "first"
    assert json.loads(manifest.file("decision.json").read_text()) == details["decision"]
    assert aliases(client) == {"champion": "1"}
    assert client.get_model_version("tests", "1").tags["minimind.decision"] == "first"


def test_same_model_twice_makes_one_version(register: Register, make_stages: MakeStages, client: MlflowClient) -> None:
    first, again = register(make_stages("20")), register(make_stages("20"))
    assert again.reused
    assert again.details == first.details
    assert versions(client) == [1]


def test_domains_that_share_a_training_and_an_experiment_have_a_run_each(
    register: Register, make_stages: MakeStages, client: MlflowClient, config: Config, store: Store, uri: str
) -> None:
    stages, others = make_stages("20"), config.model_copy(update={"name": "others"})
    details = [
        register(stages).details,
        build(others.registry, RegistryInputs(others, stages, uri), Store(store.root, "others")).details,
    ]
    for name, found in zip(("tests", "others"), details, strict=True):
        version = client.get_model_version(name, "1")
        assert version.run_id == found["run_id"]
        tags = client.get_run(found["run_id"]).data.tags
        assert (tags["minimind.domain"], tags["minimind.model"]) == (name, f"models:/{name}/1")
        assert config_of(client, version)["name"] == name
    assert details[0]["run_id"] != details[1]["run_id"]
    assert register(stages).reused


def test_better_model_takes_the_champions_place(
    register: Register, make_stages: MakeStages, client: MlflowClient
) -> None:
    register(make_stages("20"))
    manifest = register(make_stages("40"))
    assert manifest.details["decision"]["outcome"] == "promoted"
    assert manifest.details["aliases"] == ["champion"]
    assert aliases(client) == {"champion": "2"}
    assert "the champion, version 1" in manifest.details["decision"]["reasons"][0]
    tags = client.get_model_version("tests", "2").tags
    assert tags["minimind.gate"] == "passed"
    assert {row["verdict"] for row in json.loads(tags["minimind.decision_rules"])} == {"passed"}
    assert register(make_stages("40")).reused


def test_worse_model_stays_challenger(register: Register, make_stages: MakeStages, client: MlflowClient) -> None:
    register(make_stages("40"))
    manifest = register(make_stages("20"))
    assert manifest.details["decision"]["outcome"] == "kept_champion"
    assert manifest.details["decision"]["champion"] == "1"
    assert manifest.details["aliases"] == ["challenger"]
    assert aliases(client) == {"champion": "1", "challenger": "2"}
    tags = client.get_model_version("tests", "2").tags
    assert "more bits per byte than the champion" in tags["minimind.decision_reasons"]
    assert tags["minimind.gate"] == "refused"
    assert register(make_stages("20")).reused


def test_model_better_by_less_than_the_margin_stays_challenger(
    register: Register, make_stages: MakeStages, config: Config, client: MlflowClient
) -> None:
    """21 steps are better than 20, by about a per cent; half is asked for."""
    strict = config.model_copy(update={"registry": config.registry.model_copy(update={"min_improvement": 0.5})})
    register(make_stages("20"))
    manifest = register(make_stages("21"), config=strict)
    improvement = next(rule for rule in manifest.details["decision"]["rules"] if rule["sign"] == "at least")
    assert 0 < improvement["value"] < 0.5
    assert (improvement["limit"], improvement["verdict"]) == (0.5, "refused")
    assert aliases(client) == {"champion": "1", "challenger": "2"}


def test_champion_is_measured_on_the_holdout_of_this_run(
    register: Register, config: Config, make_stages: MakeStages, make_cleaning: Any, texts: list[str]
) -> None:
    """What was stored about the champion is never used: here the holdout is another one."""
    first = make_stages("20")
    register(first)
    stages = make_stages("40", make_cleaning({"texts/00": texts[0]}, {"texts/01": texts[1], "texts/02": texts[2]}))
    decision = register(stages).details["decision"]
    holdout = stages["cleaning"].file("holdout.parquet")
    there = score_folder(first["training"].path / "model", holdout, "cpu", config.evaluation).bits_per_byte
    assert decision["champion_bits_per_byte"] == pytest.approx(there, abs=1e-12)
    assert there != first["evaluation"].counts["bits_per_byte"]


def damage_by_removal(folder: Path) -> None:
    shutil.rmtree(folder)


def damage_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\0" * 100)


def damage_one_weight(folder: Path) -> None:
    """It loads as before, and answers otherwise."""
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 0x80
    (folder / "model.safetensors").write_bytes(weights)


def damage_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def damage_filter(folder: Path) -> None:
    (folder / "training_13_grams.parquet").write_bytes(b"PAR1")


@pytest.mark.parametrize(
    "damage", [damage_by_removal, damage_weights, damage_one_weight, damage_tokenizer, damage_filter]
)
def test_champion_that_cannot_be_loaded_does_not_block(
    damage: Callable[[Path], None], register: Register, make_stages: MakeStages, client: MlflowClient, store: Store,
    uri: str,
) -> None:  # fmt: skip
    register(make_stages("40"))
    damage(resolve_model("models:/tests@champion", uri, store.root))
    decision = register(make_stages("20")).details["decision"]
    assert decision["outcome"] == "promoted"
    assert "could not be measured and does not block" in decision["reasons"][0]
    assert aliases(client) == {"champion": "2"}


NO_MEMORY = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "


@pytest.mark.parametrize(
    ("place", "error", "expected"),
    [
        ("load_model", PermissionError(13, "rights"), PermissionError),
        ("load_model", OSError(5, "disk"), OSError),
        ("load_model", MemoryError("full"), OutOfMemoryError),
        ("load_model", RuntimeError(NO_MEMORY), OutOfMemoryError),
        ("score_folder", RuntimeError(NO_MEMORY), OutOfMemoryError),
        ("score_folder", RuntimeError("CUDA error: out of memory"), OutOfMemoryError),
    ],
    ids=["rights", "disk", "memory", "torch's memory", "memory while scoring", "a GPU's memory"],
)
def test_machine_in_trouble_promotes_nothing(
    place: str, error: Exception, expected: type[Exception], register: Register, make_stages: MakeStages,
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    register(make_stages("40"))

    def failing(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(champion, place, failing)
    with pytest.raises(expected) as raised:
        register(make_stages("20"))
    assert expected is not OutOfMemoryError or "the champion, version 1, was measured" in str(raised.value)
    assert aliases(client) == {"champion": "1"}


def write_questions(path: Path, texts: list[str], right: int) -> None:
    """How a text goes on: as it does, or as another one does; `right` says which counts as right."""
    halves = [(text[: len(text) // 2], text[len(text) // 2 :][:40]) for text in texts]
    rows = [
        {"question": begin, "choices": [end, halves[number - 1][1]], "answer": right}
        for number, (begin, end) in enumerate(halves)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_champion_answers_a_changed_file_of_questions_anew(
    register: Register, make_stages: MakeStages, config: Config, texts: list[str], tmp_path: Path
) -> None:
    """Of an odd number of questions; what was right is wrong by now, so that its share is one minus that before."""
    path = tmp_path / "bar.jsonl"
    asking = config.model_copy(
        update={
            "evaluation": config.evaluation.model_copy(update={"tasks": [TaskConfig(name="bar", path=str(path))]}),
            "registry": config.registry.model_copy(update={"required_tasks": {"tasks/bar/accuracy": 1.0}}),
        }
    )
    write_questions(path, texts[1:], right=0)
    first = make_stages("20", questions=path)
    register(first, config=asking)
    before = first["evaluation"].counts["tasks/bar/accuracy"]
    write_questions(path, texts[1:], right=1)
    second = make_stages("40", questions=path)
    decision = register(second, config=asking).details["decision"]
    now = second["evaluation"].counts["tasks/bar/accuracy"]
    rule = next(rule for rule in decision["rules"] if "tasks: bar: accuracy" in rule["rule"])
    assert rule["value"] == pytest.approx(1 - before - now)
    assert f"champion {1 - before:.4g}" in rule["remark"]


def test_champion_does_not_answer_the_same_file_of_questions_again(
    register: Register, make_stages: MakeStages, config: Config, texts: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = tmp_path / "bar.jsonl"
    write_questions(path, texts, right=0)
    asking = config.model_copy(
        update={"registry": config.registry.model_copy(update={"required_tasks": {"tasks/bar/accuracy": 0.5}})}
    )
    register(make_stages("20", questions=path), config=asking)
    monkeypatch.setattr(required, "answered_anew", None)
    decision = register(make_stages("40", questions=path), config=asking).details["decision"]
    assert any("tasks: bar: accuracy" in rule["rule"] and rule["value"] is not None for rule in decision["rules"])


def test_champion_is_asked_for_a_task_of_lm_eval_that_it_has_no_figure_of(
    make_stages: MakeStages, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file of its own, such a task is known by its name alone."""
    evaluation = make_stages("20")["evaluation"]

    def figures(*asked: str) -> dict[str, float]:
        now = evaluation.model_copy(update={"config": evaluation.config | {"harness_tasks": [*asked]}})
        names = [f"harness/{task}/acc" for task in asked]
        return required.champions_figures(names, now, stored, tags, Path(), "cpu", config.evaluation)

    before = evaluation.model_copy(update={"config": evaluation.config | {"harness_tasks": ["arc_easy"]}})
    tags = {lineage.MEASURED_ON_TAG: json.dumps(lineage.measured_on(before))}
    stored = {"harness/arc_easy/acc": 0.4}
    answers = {"arc_easy": {"acc": 0.41}, "hellaswag": {"acc": 0.3}}
    monkeypatch.setattr(required, "run_harness", lambda *arguments: answers)
    assert figures("arc_easy") == stored
    assert figures("arc_easy", "hellaswag") == {"harness/arc_easy/acc": 0.41, "harness/hellaswag/acc": 0.3}


def test_champion_that_has_seen_the_whole_holdout_is_kept_and_said(
    register: Register, make_stages: MakeStages, client: MlflowClient, store: Store, uri: str
) -> None:
    stages = make_stages("40")
    register(stages)
    folder = resolve_model("models:/tests@champion", uri, store.root)
    overlap.make_filter(stages["cleaning"].file("holdout.parquet")).write(folder / overlap.FILE_NAME)
    decision = register(make_stages("20")).details["decision"]
    assert decision["outcome"] == "kept_champion"
    assert "every holdout document stands in the training text" in decision["reasons"][0]
    assert aliases(client) == {"champion": "1", "challenger": "2"}


def test_champion_without_the_memory_of_its_training_text_is_measured_and_said(
    register: Register, make_stages: MakeStages
) -> None:
    register(make_stages("20"))
    decision = register(make_stages("40")).details["decision"]
    assert 0 < decision["unchecked_documents"] == decision["compared_documents"]
    assert "not checked for leaks" in decision["rules"][1]["remark"]


def test_download_says_that_files_are_gone_by_its_status_alone() -> None:
    gone = champion.says_that_files_are_gone
    assert gone(MlflowException("x", error_code=RESOURCE_DOES_NOT_EXIST))
    assert gone(MlflowException("failures:\n404 Client Error: NOT FOUND for url: http://there/1"))
    assert not gone(MlflowException("failures:\n500 Server Error: for url: http://there/models/404/model"))
    assert not gone(MlflowException("404 Client Error: a\n503 Server Error: b"))
    assert not gone(OSError(28, "No space left on device"))


def test_card_is_cut_to_what_the_column_of_a_description_holds() -> None:
    card = "".join(f"| lengths/from_{number}_bytes/loss | 2.5 |\n" for number in range(300))
    said = as_description(card)
    assert 4900 < len(said) < 5000
    assert said.endswith("| 2.5 |\n\nThe rest is in README.md of the run.\n")
    assert as_description("short\n") == "short\n"


def test_decision_is_announced_once(make_stages: MakeStages, store: Store, config: Config, uri: str) -> None:
    announced: list[str] = []
    inputs = RegistryInputs(config, make_stages("20"), uri)
    with pytest.raises(ZeroDivisionError):
        build(config.registry, inputs, store, lambda details: 1 / 0)  # type: ignore[arg-type, return-value]
    for _ in range(2):
        build(config.registry, inputs, store, lambda details: announced.append(details["decision"]["outcome"]))
    assert announced == ["first"]


def test_challenger_that_lost_gives_its_alias_to_the_next(
    register: Register, make_stages: MakeStages, client: MlflowClient
) -> None:
    register(make_stages("40"))
    register(make_stages("20"))
    register(make_stages("0"))
    assert aliases(client) == {"champion": "1", "challenger": "3"}


def test_champion_that_changes_while_it_is_measured_is_decided_anew(
    register: Register, make_stages: MakeStages, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody makes version 2 champion in the UI while version 3 is measured against version 1."""
    for steps in ("0", "20"):
        register(make_stages(steps))
    client.set_registered_model_alias("tests", "champion", "1")
    decide, seen = registry.decide, []

    def slow(section: RegistryConfig, measured: Measured) -> Decision:
        seen.append(measured.champion)
        client.set_registered_model_alias("tests", "champion", "2")
        return decide(section, measured)

    monkeypatch.setattr(registry, "decide", slow)
    manifest = register(make_stages("40"))
    assert seen == ["1", "2"]
    assert manifest.details["decision"]["previous_champion"] == "2"
    assert aliases(client) == {"champion": "3"}


def test_two_runs_that_finish_together_leave_the_better_one_as_champion(
    register: Register, make_stages: MakeStages, client: MlflowClient
) -> None:
    both = [make_stages("20"), make_stages("40")]
    with ThreadPoolExecutor(2) as pool:
        manifests = list(pool.map(register, both))
    assert sorted(manifest.details["version"] for manifest in manifests) == ["1", "2"]
    assert aliases(client)["champion"] == manifests[1].details["version"]


def test_stored_decision_is_made_again_when_somebody_moved_the_champion(
    register: Register, make_stages: MakeStages, client: MlflowClient
) -> None:
    register(make_stages("20"))
    register(make_stages("40"))
    client.set_registered_model_alias("tests", "champion", "1")
    manifest = register(make_stages("40"))
    assert not manifest.reused
    assert aliases(client) == {"champion": "2"}
    assert versions(client) == [1, 2]


# --- once, whatever happens -------------------------------------------------------------------------------------------

MOMENTS = (
    "before create_run", "before log_batch", "before log_inputs", "before log_text", "before log_artifact",
    "before create_registered_model", "before create_logged_model", "before log_model_artifacts",
    "after log_model_artifacts", "before log_outputs", "before finalize_logged_model", "before create_model_version",
    "after create_model_version", "before set_registered_model_alias", "after set_registered_model_alias",
    "before set_terminated", "after set_terminated",
)  # fmt: skip


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_registration_is_completed_by_the_next_run(
    moment: str, register: Register, make_stages: MakeStages, client: MlflowClient
) -> None:
    stages = make_stages("20")
    with killed(moment):
        register(stages)
    manifest = register(stages)
    assert manifest.details["aliases"] == ["champion"]
    assert versions(client) == [1]
    run = client.get_run(manifest.details["run_id"])
    assert run.info.status == "FINISHED"
    assert len(client.search_runs([run.info.experiment_id])) == 1
    assert len(client.search_logged_models([run.info.experiment_id])) == 1
    assert arrived(client, run.info.run_id) == expected(lines(1, 30))


def test_old_store_with_a_new_database_registers_again(
    register: Register, make_stages: MakeStages, tmp_path: Path, empty_database: Path, client: MlflowClient
) -> None:
    """As after the database was deleted: everything is sent again, and the champion is champion there too."""
    stages = make_stages("20")
    register(stages)
    shutil.copy(empty_database, tmp_path / "other.db")
    other = f"sqlite:///{tmp_path / 'other.db'}"
    manifest = register(stages, uri=other)
    assert not manifest.reused
    there = tracking.connect(other)
    assert aliases(there) == {"champion": "1"}
    assert arrived(there, manifest.details["run_id"]) == expected(lines(1, 30))
    assert register(stages, uri=other).reused
    assert register(stages).reused, "and the first one is still good"


def test_database_behind_another_address_is_known_again(register: Register, make_stages: MakeStages, uri: str) -> None:
    """As after `minimind up`, which puts a server before the store's own database."""
    stages = make_stages("20")
    first = register(stages)
    again = register(stages, uri=f"{uri}?timeout=20")
    assert again.reused
    assert again.details == first.details


def test_version_deleted_in_mlflow_is_registered_again(
    register: Register, make_stages: MakeStages, client: MlflowClient
) -> None:
    register(make_stages("20"))
    client.delete_model_version("tests", "1")
    manifest = register(make_stages("20"))
    assert manifest.details["version"] == "2"
    assert aliases(client) == {"champion": "2"}


def test_diverged_model_is_not_registered(register: Register, make_stages: MakeStages, client: MlflowClient) -> None:
    stages = make_stages("20")
    counts = stages["evaluation"].counts | {"bits_per_byte": float("nan")}
    stages["evaluation"] = stages["evaluation"].model_copy(update={"counts": counts})
    with pytest.raises(UserError, match="diverged"):
        register(stages)
    assert client.search_registered_models() == []


# --- the run ----------------------------------------------------------------------------------------------------------


def test_run_tells_everything_about_the_retraining(
    register: Register, make_stages: MakeStages, client: MlflowClient, config: Config
) -> None:
    stages = make_stages("20")
    manifest = register(stages)
    run = client.get_run(manifest.details["run_id"])
    assert run.data.params["training.optimizer.beta1"] == "0.9"
    assert run.data.params["name"] == "tests"
    assert run.data.tags["minimind.model"] == "models:/tests/1"
    assert json.loads(run.data.params["evaluation.sampling.prompts"]) == config.evaluation.sampling.prompts
    assert run.data.metrics["bits_per_byte"] == stages["evaluation"].counts["bits_per_byte"]
    assert run.data.metrics["loss"] == stages["evaluation"].counts["loss"]
    assert run.data.metrics["tokens"] == stages["training"].counts["tokens"]
    assert len(client.get_metric_history(run.info.run_id, "training/loss")) == 30
    for stage in ("corpus", "cleaning", "tokenizer", "shards", "training", "evaluation"):
        assert run.data.tags[f"minimind.{stage}_fingerprint"] == stages[stage].fingerprint
    datasets = {entry.dataset.name: entry.dataset for entry in run.inputs.dataset_inputs}
    for split in ("train", "holdout"):
        sha256 = stages["cleaning"].files[f"{split}.parquet"].sha256
        assert datasets[f"tests-{split}"].digest == sha256[:36]
        assert json.loads(datasets[f"tests-{split}"].profile)["sha256"] == sha256
    artifacts = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"config.yaml", "README.md", "evaluation.json", "samples.json", "lineage"} <= artifacts
    assert "lineage/plan.json" in {file.path for file in client.list_artifacts(run.info.run_id, "lineage")}
    card = client.get_model_version("tests", "1").description
    assert f"| Holdout, bits per byte | {stages['evaluation'].counts['bits_per_byte']:.4f} |" in card
    assert "| texts | 20 | CC0-1.0 |" in card


def test_describing_a_run_again_changes_nothing(
    register: Register, make_stages: MakeStages, client: MlflowClient, config: Config
) -> None:
    """Another margin builds the registry anew: same run, same version, no second metric, data set or parameter."""
    first = register(make_stages("20"))
    before = client.get_run(first.details["run_id"])
    changed = config.model_copy(update={"registry": config.registry.model_copy(update={"min_improvement": 0.2})})
    second = register(make_stages("20"), config=changed)
    assert not second.reused
    assert second.details["decision"]["outcome"] == "already_champion"
    assert second.details["decision"]["rules"] == first.details["decision"]["rules"] != []
    decision = Path(client.download_artifacts(second.details["run_id"], "decision.json"))
    assert json.loads(decision.read_text()) == second.details["decision"]
    after = client.get_run(second.details["run_id"])
    assert after.info.run_id == before.info.run_id
    assert after.data.params == before.data.params
    assert len(after.inputs.dataset_inputs) == 2
    assert len(client.get_metric_history(after.info.run_id, "bits_per_byte")) == 1
    assert "min_improvement: 0.2" in Path(client.download_artifacts(after.info.run_id, "config.yaml")).read_text()
    assert versions(client) == [1]


def test_unreachable_server_is_said_without_the_password(
    make_stages: MakeStages, store: Store, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("minimind.registry.build.MetricForwarder.finish", lambda *arguments: "0" * 32)
    with pytest.raises(ServerError, match="connection refused") as error:
        build(config.registry, RegistryInputs(config, make_stages("20"), "http://me:hunter2@127.0.0.1:9"), store)
    assert "hunter2" not in str(error.value)


# --- finding models ---------------------------------------------------------------------------------------------------


def test_model_is_found_by_alias_version_and_folder(
    register: Register, make_stages: MakeStages, store: Store, uri: str
) -> None:
    stages = make_stages("20")
    register(stages)
    weights = (stages["training"].path / "model" / "model.safetensors").read_bytes()
    for model in ("models:/tests@champion", "models:/tests/1", str(stages["training"].path)):
        folder = resolve_model(model, uri, store.root)
        assert (folder / "model.safetensors").read_bytes() == weights
        assert (folder / "tokenizer.json").is_file()


def test_looking_for_a_model_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no model is registered"):
        resolve_model("models:/tests@champion", tracking.tracking_uri(tmp_path, {}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_looking_for_a_model_on_a_dead_server_fails_at_once(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="connection refused"):
        resolve_model("models:/tests@champion", "http://127.0.0.1:9", tmp_path)


def test_model_that_is_not_there_is_told_with_what_is(
    register: Register, make_stages: MakeStages, store: Store, uri: str
) -> None:
    register(make_stages("20"))
    for model, said in {
        "models:/tests@challenger": r"has the versions 1 and the aliases @champion \(version 1\)",
        "models:/tests/7": "has the versions 1",
        "models:/other@champion": "the registered models are tests",
        "models:/tests": "names no version",
        "models:/tests/latest": "names no version",
        "models:/tests@": "names no version",
        "/nowhere": "is no model folder",
    }.items():
        with pytest.raises(ModelNotFoundError, match=said):
            resolve_model(model, uri, store.root)
