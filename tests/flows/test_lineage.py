"""Where a registered model comes from, who was trained on a document, and whether the model can be made again."""

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from domain import Domain, invoked
from rich.console import Console
from stages import DOORS
from typer.testing import CliRunner

from flows.cli import app
from flows.lineage import draw
from minimind.config import Config, load_config
from minimind.digests import sha256_of_file
from minimind.registry import tracking
from minimind.registry.build import RegistryInputs
from minimind.registry.build import build as register
from minimind.registry.recorded import Recorded
from minimind.store import Manifest, Store

NEAR_COPY = "texts/0009"  # of the document before


@dataclass(frozen=True)
class Traced:
    """A tiny domain that was trained and registered once, without Prefect."""

    config: Config
    root: Path
    built: dict[str, Manifest]

    def say(self, *words: str, expect: int = 0) -> str:
        """What the command prints; its message on stderr where it refuses."""
        done = CliRunner().invoke(
            app, [*words, "--store", str(self.root)], env={"MLFLOW_TRACKING_URI": None, "COLUMNS": "1000"}
        )
        assert done.exit_code == expect, done.stderr
        return done.stdout if expect < 2 else done.stderr

    def ask(self, *words: str, expect: int = 0) -> Any:
        said = invoked([*words, "--json", "--store", str(self.root)], expect)
        return json.loads(said["stdout"]) if expect else said

    @contextmanager
    def without(self, *stages: str) -> Iterator[None]:
        """As after these builds were pruned."""
        for stage in stages:
            (self.root / stage).rename(self.root / f"{stage}-away")
        try:
            yield
        finally:
            for stage in stages:
                (self.root / f"{stage}-away").rename(self.root / stage)


@pytest.fixture(scope="session")
def traced(make_domain: Callable[..., Domain]) -> Traced:
    domain = make_domain("traced", 60)
    config = load_config(domain.config, ["training.budget=6k tokens", "training.device=cpu"])
    store = Store(domain.store, config.name)
    uri = tracking.tracking_uri(store.root, {})
    tracking.initialise(uri, store.root)
    built: dict[str, Manifest] = {}
    for stage, door in DOORS.items():
        built[stage] = door(config, store, built)
    built["registry"] = register(config.registry, RegistryInputs(config, built, uri), store)
    return Traced(config, store.root, built)


def a_document(traced: Traced, split: str) -> str:
    return str(pq.read_table(traced.built["cleaning"].file(f"{split}.parquet"))["document_id"][0].as_py())


# --- what a version carries -------------------------------------------------------------------------------------------


def test_tree_names_every_stage_down_to_the_sources(traced: Traced) -> None:
    said = traced.say("lineage", "traced")
    for part in (
        "models:/traced/1 @champion", "there is no champion to hold it against",
        *(f"{stage} {traced.built[stage].fingerprint}" for stage in DOORS),
        "texts: 60 documents from 1 file, sha256 of all", "licences CC0-1.0 (60)",
        "seed 1, device cpu", "split ledger", "requirements.lock",
    ):  # fmt: skip
        assert part in said, part


def test_json_carries_checksums_licences_plan_config_and_machine(traced: Traced) -> None:
    told = traced.ask("lineage", "models:/traced/1")
    [file] = told["files"]
    source = Path(traced.config.corpus.sources[0].model_dump()["paths"][0])
    assert (file["sha256"], file["license"]) == (sha256_of_file(source), "CC0-1.0")
    assert told["plan"] == json.loads(traced.built["training"].file("plan.json").read_text())
    assert yaml.safe_load(told["config"]) == traced.config.model_dump(mode="json")
    assert list(told["stages"]) == list(DOORS)
    lock = sha256_of_file(Path(__file__).parents[2] / "requirements.lock")
    for stage, row in told["stages"].items():
        assert row["fingerprint"] == traced.built[stage].fingerprint
        assert (row["lock_sha256"], row["in_store"]) == (lock, True)
        assert row["machine"]["cores"]
    assert told["tags"]["minimind.git_dirty"] in ("true", "false")
    assert told["tags"]["minimind.ledger_sha256"] == traced.built["cleaning"].files["ledger.parquet"].sha256
    assert told["cost"] is None
    assert told["seconds"] == pytest.approx(sum(traced.built[stage].seconds for stage in DOORS), abs=1e-3)


@pytest.mark.parametrize(
    ("start", "expected"),
    [({"name": "law", "version": "3"}, "started from models:/law/3"), ({"folder": "there"}, "started from there")],
)
def test_tree_names_what_a_warm_start_went_on_from(traced: Traced, start: dict[str, str], expected: str) -> None:
    training = traced.built["training"]
    warm = training.model_copy(update={"details": training.details | {"started_from": start}})
    recorded = Recorded("traced", "2", [], {}, "run", traced.built | {"training": warm}, [], None, None)
    shown = io.StringIO()
    Console(file=shown, width=200).print(draw(recorded, Store(traced.root, "traced")))
    assert expected in shown.getvalue()


def test_cost_is_the_hours_of_training_at_the_price_of_its_section(traced: Traced) -> None:
    from minimind.registry.lineage import cost, final_metrics, lineage_tags

    training = traced.built["training"]
    assert cost(training) is None
    details = {"section": training.details["section"] | {"price_per_hour": 7.2}}
    priced = training.model_copy(update={"details": details, "counts": training.counts | {"training_seconds": 100.0}})
    stages = {stage: traced.built[stage] for stage in DOORS} | {"training": priced}
    assert cost(priced) == pytest.approx(0.2)
    assert final_metrics(stages)["cost"] == pytest.approx(0.2)
    tags = lineage_tags(stages, "traced")
    assert (tags["minimind.cost"], tags["minimind.price_per_hour"]) == ("0.2", "7.2")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("nothing", "there is no model 'nothing': the registered models are traced"),
        ("traced/7", "has the versions 1"),
        ("traced@challenger", "has the versions 1"),
        ("it's", "there is no model"),
    ],
)
def test_unknown_model_is_told_with_what_there_is(traced: Traced, model: str, expected: str) -> None:
    for command in ("lineage", "reproduce"):
        assert expected in traced.say(command, model, expect=2)


def test_lineage_wants_a_model_or_a_document(traced: Traced) -> None:
    assert "name a model" in traced.say("lineage", expect=2)


# --- a document -------------------------------------------------------------------------------------------------------


def test_each_document_is_told_with_its_fate_though_all_builds_are_pruned(traced: Traced) -> None:
    [kept] = [
        row["kept_document_id"]
        for row in pq.read_table(traced.built["cleaning"].file("removed.parquet")).to_pylist()
        if row["document_id"] == NEAR_COPY
    ]
    with traced.without("corpus", "cleaning", "shards", "evaluation"):
        for document_id, expected in {
            a_document_of(traced, "train"): "models:/traced/1 @champion: trained on",
            a_document_of(traced, "holdout"): "not trained on; held out to measure it",
            NEAR_COPY: f"not trained on; removed by near duplicates: near duplicate of {kept}",
        }.items():
            said = traced.say("lineage", "--document", document_id)
            assert expected in said
            assert "still in the store" not in said


def a_document_of(traced: Traced, split: str) -> str:
    """From the files that were moved away."""
    path = traced.built["cleaning"].path
    away = traced.root / "cleaning-away" / path.name / f"{split}.parquet"
    return str(pq.read_table(away)["document_id"][0].as_py())


def test_builds_that_hold_a_document_are_named(traced: Traced) -> None:
    document_id = a_document(traced, "train")
    told = traced.ask("lineage", "traced", "--document", document_id)
    assert told["versions"] == [
        {"model": "models:/traced/1", "aliases": ["champion"], "known": True, "fate": "trained", "step": None,
         "reason": None, "kept_document_id": None, "epochs": traced.built["training"].counts["epochs"],
         "trained_ancestor": None, "from_folder": False}
    ]  # fmt: skip
    assert [build["stage"] for build in told["builds"]] == ["corpus", "cleaning", "shards"]


def test_version_that_went_on_from_a_trained_one_is_told_apart() -> None:
    from flows.lineage import taught_by
    from minimind.registry.document_fates import Fate
    from minimind.registry.recorded import DocumentInVersion

    fates = {"1": "trained", "2": "removed", "3": "holdout"}
    rows = [
        DocumentInVersion("laws", version, [], True, Fate(fate, None, None, None), parent=parent)  # type: ignore[arg-type]
        for (version, fate), parent in zip(fates.items(), (None, "1", "2"), strict=True)
    ]
    rows += [
        DocumentInVersion("laws", "4", [], True, None, excluded=True),
        DocumentInVersion("other", "2", [], True, parent="1"),
    ]
    assert [taught_by(row, rows) for row in rows] == [None, "1", "1", None, None]


def test_version_that_goes_back_to_a_folder_says_that_nobody_knows_what_that_was_trained_on() -> None:
    from flows.lineage import taught_by_unknown
    from minimind.registry.document_fates import Fate
    from minimind.registry.recorded import DocumentInVersion

    trained = Fate("trained", None, None, None)
    rows = [
        DocumentInVersion("laws", "1", [], True, None, from_folder=True),
        DocumentInVersion("laws", "2", [], True, None, parent="1"),
        DocumentInVersion("laws", "3", [], True, trained, parent="2"),
        DocumentInVersion("laws", "4", [], True, None),
    ]
    assert [taught_by_unknown(row, rows) for row in rows] == [True, True, False, False]


def test_document_that_nobody_knows_is_said(traced: Traced) -> None:
    assert "ids are written in full" in traced.say("lineage", "--document", "0001", expect=2)


# --- erasure ----------------------------------------------------------------------------------------------------------


def test_excluded_document_is_in_no_build_after_pruning_though_a_registered_model_was_made_of_it(
    make_domain: Callable[..., Domain],
) -> None:
    domain = make_domain("erased", 60)
    rows = [json.loads(line) for line in domain.corpus.read_text().splitlines()]
    rows[3]["text"] = "Quintessential " + rows[3]["text"]
    domain.corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    domain.clean()
    store = Store(domain.store, "erased")
    first = {stage: store.newest(stage) for stage in ("corpus", "cleaning")}
    from minimind.store import Outcome, Recipe

    parents = {stage: manifest.fingerprint for stage, manifest in first.items() if manifest}
    store.build(Recipe("registry", {}, {}, {}, {}, parents), lambda folder: Outcome({}))
    prune = ["store", "prune", "--store", str(domain.store), "--json"]
    refused = invoked([*prune, "--document", "texts/0003"], 2)
    assert "add it to corpus.exclude_ids" in refused["stderr"]

    domain.clean("--set", "corpus.exclude_ids=[texts/0003]")
    assert invoked(prune, 0)["removed"] == []
    assert holders(domain.store, "Quintessential")
    invoked([*prune, "--document", "texts/0003", "--dry-run"], 0)
    assert holders(domain.store, "Quintessential")
    removed = invoked([*prune, "--document", "texts/0003"], 0)
    assert {Path(row["path"]).parent.name for row in removed["removed"]} == {"corpus", "cleaning"}
    assert holders(domain.store, "Quintessential") == []
    assert "no build in" in invoked([*prune, "--document", "texts/0003"], 2)["stderr"]
    again = domain.clean("--set", "corpus.exclude_ids=[texts/0003]")
    assert all(row["reused"] for row in again["stages"].values())


def holders(root: Path, word: str) -> list[Path]:
    """Parquet files of a store that have the word in any column of text."""
    found = []
    for path in sorted(root.rglob("*.parquet")):
        table = pq.read_table(path)
        if word.lower() in str(table.to_pydict()).lower():
            found.append(path)
    return found


# --- reproduction -----------------------------------------------------------------------------------------------------


def test_model_made_again_is_the_same_in_every_stage(traced: Traced) -> None:
    before = sorted(path.name for path in traced.root.iterdir())
    said = traced.say("reproduce", "traced")
    assert re.findall(r"^  (\w+) +(.+)$", said, re.MULTILINE) == [(stage, "same") for stage in DOORS]
    assert sorted(path.name for path in traced.root.iterdir()) == before


def test_other_code_is_named_as_the_cause_and_what_follows_is_not_rebuilt(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minimind import store
    from minimind.tokenizer import build

    digests, train = store.code_digests, build.train_bpe
    other = {"minimind.tokenizer.bpe": "another one"}
    monkeypatch.setattr(store, "code_digests", lambda stage: digests(stage) | (other if stage == "tokenizer" else {}))
    monkeypatch.setattr(build, "train_bpe", lambda texts, size: train(texts, size - 20))
    told = traced.ask("reproduce", "traced", expect=1)
    assert told["same"] is False
    verdicts = {row["stage"]: (row["state"], row["cause"]) for row in told["stages"]}
    assert verdicts == {
        "corpus": ("same", ""),
        "cleaning": ("same", ""),
        "tokenizer": ("different", "code minimind.tokenizer.bpe changed"),
        "shards": ("not rebuilt", "its input tokenizer.json, of tokenizer, has other bytes"),
        "training": ("not rebuilt", "its input, shards, is not there as it was"),
        "evaluation": ("not rebuilt", "its input, training, is not there as it was"),
    }
    assert told["stages"][2]["files"] == ["tokenizer.json"]


def test_other_version_of_a_library_is_said_even_if_it_changed_nothing(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minimind import store

    version_of = store.version_of
    monkeypatch.setattr(store, "version_of", lambda name: "99.0" if name == "ftfy" else version_of(name))
    said = traced.say("reproduce", "traced", "--until", "cleaning")
    assert re.search(r"cleaning +same, though changed: libraries ftfy: \S+ -> \"99.0\"", said)
    assert "tokenizer" not in said


def test_without_the_raw_corpus_nothing_is_tried(traced: Traced) -> None:
    with traced.without("corpus"):
        said = traced.say("reproduce", "traced", expect=2)
    assert f"corpus {traced.built['corpus'].fingerprint}) is not in {traced.root} any more" in said


def test_raw_corpus_that_was_changed_where_it_lies_is_noticed(traced: Traced) -> None:
    path = traced.built["corpus"].file("documents-00000.parquet")
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        told = traced.ask("reproduce", "traced", "--until", "cleaning", expect=1)
    finally:
        path.write_bytes(content)
    corpus, cleaning = told["stages"]
    assert (corpus["state"], corpus["files"]) == ("different", ["documents-00000.parquet"])
    assert corpus["cause"] == "its files were changed where they lie"
    assert cleaning["state"] == "not rebuilt"


def test_recorded_section_that_the_code_does_not_read_any_more_names_the_commit(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minimind.config import TokenizerConfig

    class Longer(TokenizerConfig):
        new_key: int

    monkeypatch.setattr("flows.reproduce.TokenizerConfig", Longer)
    told = traced.ask("reproduce", "traced", "--until", "tokenizer", expect=1)
    assert told["stages"][-1]["state"] == "not rebuilt"
    assert "new_key is missing" in told["stages"][-1]["cause"]
    assert str(traced.built["tokenizer"].git_commit) in told["stages"][-1]["cause"]
