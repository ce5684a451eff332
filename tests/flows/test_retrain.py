"""`minimind run` as a user calls it: everything once, nothing twice, and one sentence for a mistake."""

import importlib.util
import json
import os
import re
import sqlite3
import sys
from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from domain import Domain, PrefectServer
from typer.testing import CliRunner

from flows.cli import app
from flows.retrain import RetrainRequest, start_run
from minimind.errors import ServerError, UserError
from minimind.store import STAGES

AFTER_TRAINING_CHANGED = ("training", "evaluation", "registry")


@pytest.fixture(scope="package")
def domain(retrained: Domain, prefect: PrefectServer) -> Domain:
    return retrained


@pytest.fixture(scope="package")
def first(domain: Domain) -> dict[str, Any]:
    return domain.run()


def test_first_run_registers_a_champion(first: dict[str, Any], domain: Domain) -> None:
    assert list(first["stages"]) == list(STAGES)
    assert not any(row["reused"] for row in first["stages"].values())
    model = first["model"]
    assert (model["name"], model["aliases"]) == ("retrained", ["champion"])
    assert Path(model["path"]).is_relative_to(domain.store)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in Path(model["path"]).iterdir()
    }
    metrics = first["metrics"]
    assert 0 < metrics["bits_per_byte"] < 8
    assert metrics["tokens"] == metrics["steps"] * 512
    assert "retrained" in Path(first["report"]).read_text()


def test_second_run_reuses_every_stage(first: dict[str, Any], domain: Domain, prefect: PrefectServer) -> None:
    second = domain.call(prefect)
    assert all(row["reused"] for row in second["stages"].values())
    assert second["model"] == first["model"]
    assert second["metrics"] == first["metrics"]


def test_summary_for_people_has_funnel_figures_sample_and_what_comes_next(
    first: dict[str, Any], domain: Domain, prefect: PrefectServer
) -> None:
    said = domain.say(prefect)
    for part in (
        "Nothing new",
        "near duplicate",
        "kept for training",
        "bits per byte",
        "zstd -19",
        "bade [/bold] said",
    ):
        assert part in said
    assert first["report"] in said.replace("\n", "")
    assert "generate models:/retrained@champion" in said


def test_run_that_is_not_due_ends_behind_the_corpus_and_says_why(
    first: dict[str, Any], domain: Domain, prefect: PrefectServer
) -> None:
    assert domain.call(prefect, "--when-due")["outcome"]["name"] == "nothing_new"
    assert last_run(prefect)["state_name"] == "Nothing new"
    before, times = domain.corpus.read_bytes(), domain.corpus.stat()
    try:
        with domain.corpus.open("a") as corpus:
            corpus.write(json.dumps({"id": "new", "text": "one paragraph more"}) + "\n")
        ended = domain.call(prefect, "--when-due")
    finally:
        domain.corpus.write_bytes(before)
        os.utime(domain.corpus, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert ended["outcome"]["name"] == "too_little_changed"
    assert "1 new, 0 changed and 0 removed documents since version 1" in ended["outcome"]["sentence"]
    assert ended["stages"]["corpus"]
    assert ended["stages"]["cleaning"] is None
    state = last_run(prefect)["state"]
    assert (state["type"], state["name"]) == ("COMPLETED", "Too little changed")
    assert state["message"] == ended["outcome"]["sentence"]


def test_changed_setting_rebuilds_from_its_stage_on_and_makes_a_challenger(
    first: dict[str, Any], domain: Domain, prefect: PrefectServer
) -> None:
    changed = domain.call(prefect, "--set", "training.budget=8k tokens")
    rebuilt = [stage for stage, row in changed["stages"].items() if not row["reused"]]
    assert rebuilt == list(AFTER_TRAINING_CHANGED)
    assert changed["model"]["version"] == "2"
    assert changed["model"]["decision"] == "kept_champion"
    assert changed["model"]["aliases"] == ["challenger"]
    again = domain.call(prefect)
    assert again["model"]["version"] == first["model"]["version"]
    assert again["model"]["aliases"] == ["champion"]


def test_until_stops_early_and_says_null_for_the_rest(
    domain: Domain, prefect: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: dict[str, str] = {}
    for stage in ("corpus", "cleaning", "shards"):
        module = sys.modules[f"tasks.{stage}"]
        workers = module.PrefectWorkers  # type: ignore[attr-defined]

        def named(runner: str, stage: str = stage, workers: Any = workers) -> Any:
            opened[stage] = runner
            return workers(runner)

        monkeypatch.setattr(module, "PrefectWorkers", named)
    result = domain.call(prefect, "--until", "shards", "--runner", "processes")
    assert opened == dict.fromkeys(("corpus", "cleaning", "shards"), "processes")
    reached = [stage for stage, row in result["stages"].items() if row]
    assert reached == ["corpus", "cleaning", "tokenizer", "shards"]
    assert (result["model"], result["metrics"], result["report"]) == (None, None, None)


def test_prefect_keeps_reused_stages_and_json_results_without_pickle(
    first: dict[str, Any], domain: Domain, prefect: PrefectServer
) -> None:
    domain.call(prefect, "--until", "cleaning")
    with closing(sqlite3.connect(domain.store / "prefect" / "prefect.db")) as database:
        states = {row[0] for row in database.execute("select name from task_run_state")}
        artifacts = {row[0] for row in database.execute("select key from artifact")}
        running = database.execute("select count(*) from flow_run where state_type = 'RUNNING'").fetchone()
    assert "Reused" in states
    assert {"retrained-cleaning", "retrained-training-progress", "retrained-report"} <= artifacts
    assert running == (0,)
    stored = [path for path in (domain.store / "prefect" / "storage").rglob("*") if path.is_file()]
    assert stored
    for path in stored:
        json.loads(path.read_text())


def test_mlflow_has_one_run_for_a_retraining_with_its_metrics_and_report(first: dict[str, Any], domain: Domain) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{domain.store / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("retrained")
    assert experiment
    version = client.get_model_version("retrained", first["model"]["version"])
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["bits_per_byte"] == pytest.approx(first["metrics"]["bits_per_byte"])
    history = client.get_metric_history(version.run_id, "training/loss")
    assert len(history) == first["metrics"]["steps"]
    assert "report.html" in {artifact.path for artifact in client.list_artifacts(version.run_id)}


def test_restored_backup_reuses_every_stage_and_its_champion_loads(
    first: dict[str, Any], domain: Domain, prefect: PrefectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MLflow remembers in its process where a run's artifacts lie, and the restored store has the same runs elsewhere
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._artifact_repos_cache", OrderedDict())
    archive, elsewhere = str(tmp_path / "a.tar.zst"), tmp_path / "elsewhere"
    invoke("backup", archive, "--store", str(domain.store))
    invoke("restore", archive, "--store", str(elsewhere))
    artifacts = domain.store / "mlflow-artifacts"
    away = artifacts.rename(domain.store / "away")
    try:
        again = replace(domain, store=elsewhere).call(prefect)
        asked = ["generate", "models:/retrained@champion", "bade", "--max-new-tokens", "5"]
        assert invoke(*asked, "--store", str(elsewhere)).startswith("bade")
    finally:
        away.rename(artifacts)
    assert all(row["reused"] for row in again["stages"].values())
    assert again["model"]["version"] == first["model"]["version"]
    assert Path(again["model"]["path"]).is_relative_to(elsewhere)


def invoke(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), env={"MLFLOW_TRACKING_URI": None})
    assert done.exit_code == 0, done.output
    return done.stdout


TOO_SMALL = '{"id": "1", "text": "short"}\n'


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "no document"),
        (TOO_SMALL, "of 1 documents 1 are left (removed: none)"),
        ("{not json\n" * 3, "texts.jsonl, line 1"),
    ],
    ids=["empty", "too small", "unreadable"],
)
def test_bad_corpus_is_one_sentence_and_exit_code_2(
    make_domain: Callable[..., Domain], prefect: PrefectServer, line: str, expected: str
) -> None:
    domain = make_domain("broken", 1)
    domain.corpus.write_text(line)
    assert_said_plainly(domain, domain.call(prefect, expect=2), expected)


@pytest.mark.slow  # beside it, the same in this process
def test_process_that_meets_a_bad_corpus_says_nothing_more_when_it_ends(
    make_domain: Callable[..., Domain], prefect: PrefectServer
) -> None:
    domain = make_domain("broken", 1)
    domain.corpus.write_text(TOO_SMALL)
    said = domain.run(expect=2, PREFECT_API_URL=prefect.url)
    assert_said_plainly(domain, said, "of 1 documents 1 are left (removed: none)")
    assert said["stderr"].rstrip().splitlines()[-1].startswith("minimind: ")


def assert_said_plainly(domain: Domain, said: dict[str, Any], expected: str) -> None:
    assert said["stdout"] == ""
    assert expected in said["stderr"]
    assert "Traceback" not in said["stderr"]
    assert "leaked" not in said["stderr"]
    assert not list((domain.store / "cleaning").glob("*/manifest.json"))


def test_source_replaces_the_sources_of_the_config(domain: Domain, prefect: PrefectServer, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text(domain.corpus.read_text())
    result = domain.call(prefect, "--source", str(other), "--until", "corpus")
    files = [json.loads(line) for line in (Path(result["stages"]["corpus"]["path"]) / "files.jsonl").open()]
    assert [file["path"] for file in files] == [str(other)]
    assert yaml.safe_load(domain.config.read_text())["corpus"]["sources"][0]["paths"] == [str(domain.corpus)]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("cleaning.language.expected=[en, tlh]", "tlh cannot be told"),
        ("cleaning.personal_data.phone_region=XX", "phone_region is XX, which is no country"),
        ("cleaning.decontamination.evaluation_files=[{folder}/gone.txt]", "gone.txt; correct cleaning.decontamination"),
        ("cleaning.decontamination.evaluation_files=[{folder}/cut.jsonl]", "cut.jsonl, line 1: it is no valid JSON"),
    ],
)
def test_cleaning_that_cannot_be_is_refused_before_the_corpus_is_read(
    make_domain: Callable[..., Domain], prefect: PrefectServer, tmp_path: Path, setting: str, expected: str
) -> None:
    domain = make_domain("impossible", 1)
    (tmp_path / "cut.jsonl").write_text('{"question": ')
    for said in (
        domain.call(prefect, "--set", setting.format(folder=tmp_path), expect=2),
        domain.clean("--set", setting.format(folder=tmp_path), expect=2),
    ):
        assert expected in said["stderr"]
        assert not (domain.store / "corpus").exists()


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("evaluation.tasks=[{{name: bar, path: {folder}/bar.jsonl}}]", "bar.jsonl, line 2: answer is missing"),
        ("evaluation.tasks=[{{name: bar, path: {folder}/gone.jsonl}}]", "gone.jsonl is no file"),
        ("evaluation.harness_tasks=[arc_easy]", "names arc_easy, and lm-eval is not installed"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused_before_anything_is_read(
    make_domain: Callable[..., Domain], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, expected: str
) -> None:
    domain = make_domain("impossible", 1)
    (tmp_path / "bar.jsonl").write_text('{"question": "a", "answer": "b"}\n{"question": "c"}\n')
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    asked = {
        "config": str(domain.config), "overrides": [setting.format(folder=tmp_path)], "store": str(domain.store),
    }  # fmt: skip
    with pytest.raises(UserError, match=re.escape(expected)):
        start_run(RetrainRequest(**asked))
    assert not domain.store.exists()
    assert start_run(RetrainRequest(**asked, until="training"), lambda uri, root: None)


def last_run(prefect: PrefectServer) -> dict[str, Any]:
    newest = {"sort": "START_TIME_DESC", "limit": 1}
    (run,) = httpx.post(f"{prefect.url}/flow_runs/filter", json=newest, timeout=30).raise_for_status().json()
    return dict(run)


def test_failed_report_is_told_as_the_stage_that_it_is(
    first: dict[str, Any], domain: Domain, prefect: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise ServerError("MLflow did not answer; start it")

    monkeypatch.setattr("tasks.report.log_report", away)
    assert "MLflow did not answer" in domain.call(prefect, expect=2)["stderr"]
    run = last_run(prefect)
    assert run["state"]["message"] == "report: MLflow did not answer; start it"
    assert run["labels"]["minimind.stage"] == "report"


def test_run_that_fails_before_its_first_stage_says_so_and_what_to_do(
    domain: Domain, prefect: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise ServerError("MLflow did not answer; start it")

    monkeypatch.setattr("tasks.registry.tracking.initialise", away)
    assert "MLflow did not answer" in domain.call(prefect, expect=2)["stderr"]
    run = last_run(prefect)
    assert run["state"]["message"] == "before the first stage: MLflow did not answer; start it"
    assert run["labels"]["minimind.stage"] == "before the first stage"


def test_failed_run_says_stage_and_cause_as_its_state(
    first: dict[str, Any], domain: Domain, prefect: PrefectServer
) -> None:
    said = domain.call(prefect, "--set", "cleaning.split.min_documents=100000", expect=2)["stderr"]
    run = last_run(prefect)
    assert run["state_name"] == "Failed"
    message = run["state"]["message"]
    assert message.startswith("cleaning: ")
    assert message.removeprefix("cleaning: ") in said
    assert run["labels"]["minimind.stage"] == "cleaning"
