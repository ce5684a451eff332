import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from minimind.cleaning.split import corpus_digest
from minimind.config import Config
from minimind.digests import sha256_of_file
from minimind.errors import ModelNotFoundError
from minimind.registry import tracking
from minimind.registry.build import RegistryInputs, build
from minimind.registry.parent import Ancestor, ledger_of, line_of_champions, parent_for, start_at
from minimind.store import Manifest, Outcome, Recipe, Store

Register = Callable[..., Manifest]


@pytest.fixture
def register(store: Store, config: Config, uri: str, make_stages: Callable[..., dict[str, Manifest]]) -> Register:
    """Registers the model of so many steps as made from a corpus, and as started from a version."""

    def corpus_of(text: str) -> Manifest:
        def write(folder: Path) -> Outcome:
            (folder / "documents-00000.parquet").write_text(text)
            return Outcome({"files": 1}, {"sources": {}})

        return store.build(Recipe("corpus", {"text": text}, {}, {}, {}), write)

    def register(steps: str, corpus: str, parent: str | None = None) -> Manifest:
        stages = make_stages(steps) | {"corpus": corpus_of(corpus)}
        if parent:
            details = {"started_from": {"name": "tests", "version": parent}}
            stages["training"] = stages["training"].model_copy(update={"details": details})
        manifest = build(config.registry, RegistryInputs(config, stages, uri), store)
        assert manifest.details["decision"]["champion"] == manifest.details["version"]
        return manifest

    return register


def digest(store: Store, text: str) -> str:
    [found] = [manifest for manifest in store.manifests("corpus") if manifest.config == {"text": text}]
    return corpus_digest(found.matching("documents-", ".parquet"))


def version_for(line: tuple[Ancestor, ...], corpus: str) -> str | None:
    found = parent_for(line, corpus, "training.start_from")
    return found.version if found else None


def test_without_a_champion_there_is_nothing_to_go_on_from_and_the_log_says_so(
    uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert line_of_champions(uri, "tests") == ()
    with caplog.at_level("INFO"):
        assert parent_for((), "corpus", "training.start_from") is None
    assert "training.start_from is champion, and there is none yet: this run begins from scratch" in caplog.text


def test_run_goes_on_from_the_newest_champion_that_another_corpus_made(
    register: Register, store: Store, uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    register("20", "January")
    register("40", "February", parent="1")
    line = line_of_champions(uri, "tests")
    assert [ancestor.version for ancestor in line] == ["2", "1"]
    assert line[0].training == store.manifests("training")[-1].fingerprint
    january, february = digest(store, "January"), digest(store, "February")
    assert version_for(line, "March") == "2"
    assert version_for(line, february) == "1"  # what made version 2: nothing is trained again
    assert version_for(line, january) == "2"
    assert version_for(line[1:], january) is None
    with caplog.at_level("INFO"):
        parent_for(line[1:], january, "tokenizer.keep")
    assert "was made from this very corpus and from scratch: this run begins as it did" in caplog.text


def test_line_ends_where_a_version_was_deleted(register: Register, uri: str) -> None:
    register("20", "January")
    register("40", "February", parent="1")
    tracking.connect(uri).delete_model_version("tests", "1")
    assert [ancestor.version for ancestor in line_of_champions(uri, "tests")] == ["2"]


def test_version_carries_what_it_started_from(register: Register, uri: str, store: Store) -> None:
    register("20", "January")
    register("40", "February", parent="1")
    client: MlflowClient = tracking.connect(uri)
    first, second = (client.get_model_version("tests", number) for number in ("1", "2"))
    assert second.tags["minimind.parent_version"] == "1"
    assert "minimind.parent_version" not in first.tags
    assert second.tags["minimind.corpus_sha256"] == digest(store, "February")
    assert "| started from | name tests version 1 |" in second.description


def test_start_is_the_version_s_folder_and_one_that_is_gone_is_said(
    register: Register, uri: str, store: Store, model_folders: dict[str, Path]
) -> None:
    register("20", "January")
    [ancestor] = line_of_champions(uri, "tests")
    start = start_at(ancestor, uri, store)
    assert start.described == {"name": "tests", "version": "1"}
    for name in ("model.safetensors", "tokenizer.json"):
        assert (start.folder / name).read_bytes() == (model_folders["20"] / name).read_bytes()
    shutil.rmtree(start.folder)
    with pytest.raises(
        ModelNotFoundError, match=r"version 1 of tests, from which .* set training\.start_from to scrat"
    ):
        start_at(ancestor, uri, store)


def test_ledger_comes_from_the_store_or_from_mlflow(uri: str, store: Store, tmp_path: Path) -> None:
    tracking.connect(uri).create_registered_model("tests")
    run = tracking.connect(uri).create_run(
        tracking.connect(uri).create_experiment("tests", str(tmp_path / "artifacts"))
    )
    ledger = tmp_path / "ledger.parquet"
    ledger.write_text("assigned")
    tracking.connect(uri).log_artifact(run.info.run_id, str(ledger), "lineage")
    sha256 = sha256_of_file(ledger)
    ancestor = Ancestor("tests", "1", run.info.run_id, None, sha256, None)
    kept = ledger_of(ancestor, uri, store)
    assert kept.read_text() == "assigned"
    assert ledger_of(Ancestor("tests", "1", "no run", None, sha256, None), uri, store) == kept
    assert [path.name for path in kept.parent.iterdir()] == [f"{sha256}.parquet"]
    with pytest.raises(ModelNotFoundError, match=r"is not the one of its tag .*; set shards\.old_documents_share to"):
        ledger_of(Ancestor("tests", "1", run.info.run_id, None, "0" * 64, None), uri, store)
    with pytest.raises(ModelNotFoundError, match="cannot be read"):
        ledger_of(Ancestor("tests", "1", "no run", None, "0" * 64, None), uri, store)
