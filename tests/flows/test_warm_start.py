"""A domain that is retrained from its champion, month by month: the flow's start and its tasks' bodies."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from domain import Domain, PrefectServer
from prefect.states import State

from flows.retrain import STAGE_TASKS, RetrainRequest, start_run
from minimind.errors import UserError
from minimind.evaluation.overlap import FILE_NAME, read_filter
from minimind.store import Manifest
from tasks import stage as stage_module

WARM = [
    "training.start_from=champion", "tokenizer.keep=champion", "shards.old_documents_share=0.5",
    "registry.min_improvement=0",
]  # fmt: skip


@pytest.fixture
def retrain(monkeypatch: pytest.MonkeyPatch, prefect: PrefectServer) -> Callable[[Domain], dict[str, Manifest]]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(stage_module, "create_markdown_artifact", lambda **shown: None)
    monkeypatch.setattr(stage_module.ProgressArtifact, "_update", lambda *shown: None)

    def retrain(domain: Domain) -> dict[str, Manifest]:
        run = start_run(RetrainRequest(config=str(domain.config), overrides=WARM, store=str(domain.store)))
        with prefect.spoken_to():
            for task in STAGE_TASKS:
                result = task.fn(run)
                run.built[task.name] = result.data if isinstance(result, State) else result
        return run.built

    return retrain


@pytest.mark.slow  # tests/training and tests/registry have its parts
def test_months_go_on_from_the_champion_and_repeating_one_changes_nothing(
    make_domain: Callable[..., Domain],
    retrain: Callable[[Domain], dict[str, Manifest]],
    sentences: Callable[[int, int], str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    domain = make_domain("warm", 90)
    january = retrain(domain)
    assert "training.start_from is champion, and there is none yet: this run begins from scratch" in caplog.text
    assert "started_from" not in january["training"].details
    assert all(manifest.reused for manifest in retrain(domain).values())

    rows = [{"id": f"n{number:03}", "text": sentences(1000 + number, 200)} for number in range(40)]
    with domain.corpus.open("a") as corpus:
        corpus.writelines(json.dumps(row) + "\n" for row in rows)
    words = [word for override in WARM for word in ("--set", override)]
    planned = domain.plan(*words)
    february = retrain(domain)
    assert february["training"].details["plan_sha256"] == planned["plan_sha256"]
    assert february["shards"].reused
    trained = february["training"]
    assert trained.details["started_from"] == {"name": "warm", "version": "1"}
    assert trained.parents["training"] == january["training"].fingerprint
    assert february["tokenizer"].files["tokenizer.json"] == january["tokenizer"].files["tokenizer.json"]
    ages = {row["age"]: row for row in february["shards"].details["ages"]}
    assert ages["new"]["documents"] > 30
    assert 0.45 < ages["old"]["epoch_tokens"] / sum(row["epoch_tokens"] for row in ages.values()) < 0.6
    assert february["registry"].details["decision"]["outcome"] == "promoted"
    seen = [read_filter(month["evaluation"].file(FILE_NAME)) for month in (january, february)]
    assert seen[1].before[0].is_same(seen[0])  # what February's parent was trained on travels with it
    assert all(manifest.reused for manifest in retrain(domain).values())


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["training.start_from=champion"], "whose ids are those of its own tokenizer, and tokenizer.keep is null"),
        (["shards.old_documents_share=0.5"], "training.start_from is scratch, to which every document is new"),
        (["training.start_from=nowhere", "tokenizer.keep=nowhere"], "nowhere is no exported model"),
        (["tokenizer.keep=nowhere"], r"nowhere has no tokenizer\.json"),
    ],
)
def test_start_that_cannot_be_is_refused_before_anything_is_read(
    tmp_path: Path, make_domain: Callable[..., Domain], overrides: list[str], expected: str
) -> None:
    domain = make_domain("impossible", 1)
    with pytest.raises(UserError, match=expected):
        start_run(RetrainRequest(config=str(domain.config), overrides=overrides, store=str(domain.store)))
    assert not domain.store.exists()
