"""The rule `retrain_when`: figures against a plain count, and each way in which it does not apply."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minimind.audit import due
from minimind.audit.due import Change, is_due, judge
from minimind.config import Config, RetrainWhenConfig, load_config, parse_age
from minimind.store import STAGES, Manifest, Outcome, Store, recipe

RULE = RetrainWhenConfig(min_changed_share=0.01, max_age="30d")
OLD = {f"made/{number:03}": f"text {number} " * 20 for number in range(100)}
Corpus = Callable[[Mapping[str, str]], Manifest]


@pytest.fixture
def config() -> Config:
    return load_config(Path("configs/demo.yaml"))


@pytest.fixture
def make_corpus(store: Store, config: Config) -> Corpus:
    """Publishes documents as the corpus stage would, in two files."""

    def make(texts: Mapping[str, str]) -> Manifest:
        def write(folder: Path) -> Outcome:
            rows = [{"document_id": key, "text": text} for key, text in sorted(texts.items())]
            for number, part in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :])):
                table = pa.table({name: [row[name] for row in part] for name in ("document_id", "text")})
                pq.write_table(table, folder / f"documents-{number:05}.parquet")
            return Outcome({"documents": len(rows)})

        return store.build(recipe("corpus", config.corpus, {"texts": str(hash(frozenset(texts.items())))}, ()), write)

    return make


@pytest.fixture
def registered(store: Store, config: Config, make_corpus: Corpus) -> Manifest:
    """Version 3 of the model, with a build of every stage before it."""
    domain = Store(store.root, config.name)
    parents = {"corpus": make_corpus(OLD).fingerprint}
    for stage in STAGES[1:]:
        section = {"the": "plan"} if stage == "training" else getattr(config, stage)
        if stage == "tokenizer":  # whose recipe says by its inputs what was kept
            section = config.tokenizer.model_dump(mode="json", exclude={"keep"})
        details: dict[str, Any] = {"version": "3"} if stage == "registry" else {}
        if stage == "training":
            details = {"section": config.training.model_dump(mode="json")}
        outcome = Outcome({}, details)
        made = recipe(stage, section, {}, ("pyarrow",), dict(parents))
        parents[stage] = domain.build(made, lambda folder, outcome=outcome: outcome).fingerprint  # type: ignore[misc]
    return domain.manifests("registry")[0]


def changed(config: Config, **sections: dict[str, Any]) -> Config:
    copies = {name: getattr(config, name).model_copy(update=keys) for name, keys in sections.items()}
    return config.model_copy(update=copies)


def test_first_model_is_always_trained(store: Store, config: Config, make_corpus: Corpus) -> None:
    found = is_due(config, make_corpus(OLD), store)
    assert found.train
    assert "no model of software-licences has been registered" in found.because


@pytest.mark.usefixtures("registered")
def test_one_new_paragraph_is_too_little_and_a_week_of_them_is_enough(
    store: Store, config: Config, make_corpus: Corpus
) -> None:
    little = is_due(config, make_corpus(OLD | {"made/100": "a new paragraph"}), store)
    assert not little.train
    assert "1 new, 0 changed and 0 removed documents since version 3" in little.because
    enough = is_due(
        config, make_corpus(OLD | {f"made/{number}": "a new paragraph" for number in range(200, 215)}), store
    )
    assert enough.train
    assert "15 new" in enough.because


@pytest.mark.usefixtures("registered")
def test_old_model_is_replaced_at_any_change_and_stays_without_one(
    store: Store, config: Config, make_corpus: Corpus
) -> None:
    later = datetime.now(UTC) + timedelta(days=31)
    assert is_due(config, make_corpus(OLD | {"made/100": "a new paragraph"}), store, later).train
    same = is_due(config, make_corpus(OLD), store, later)
    assert same.train  # and every stage will be found
    assert same.because == "the documents are those of version 3"


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"training": {"seed": 2}}, "training: config seed: 1 -> 2"),
        ({"cleaning": {"max_removed_share": 0.7}}, "cleaning: config max_removed_share"),
        ({"registry": {"min_improvement": 0.5}}, "registry: config min_improvement"),
        ({"tokenizer": {"keep": "champion"}}, "tokenizer: inputs"),
        ({"corpus": {"exclude_ids": ["made/001"]}}, "corpus: config exclude_ids"),
    ],
)
def test_changed_config_trains_however_little_the_corpus_changed(
    store: Store, config: Config, make_corpus: Corpus, sections: dict[str, dict[str, Any]], said: str
) -> None:
    found = is_due(changed(config, **sections), make_corpus(OLD | {"made/100": "new"}), store)
    assert found.train
    assert found.because.startswith(said)


@pytest.mark.usefixtures("registered")
def test_changed_code_and_libraries_train(
    store: Store, config: Config, make_corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = make_corpus(OLD | {"made/100": "new"})
    real = due.code_digests
    monkeypatch.setattr(due, "code_digests", lambda stage: real(stage) | {f"minimind.{stage}.new": "0"})
    assert "code minimind.corpus.new added" in is_due(config, corpus, store).because
    monkeypatch.setattr(due, "code_digests", real)
    monkeypatch.setattr(due, "version_of", lambda library: "0.0")
    assert "libraries pyarrow" in is_due(config, corpus, store).because


def test_changes_count_each_document_once_with_its_larger_text(make_corpus: Corpus) -> None:
    new = dict(OLD)
    del new["made/000"]
    new["made/001"] = "kürzer"
    new["made/002"] += "and longer"
    new["made/200"] = "neü"
    longer = len(new["made/002"].encode())
    size = len(OLD["made/000"].encode()) + len(OLD["made/001"].encode()) + longer + len("neü".encode())
    found = due.changes(make_corpus(OLD), make_corpus(new))
    assert found == Change(1, 2, 1, size, sum(len(text.encode()) for text in OLD.values()))


@pytest.mark.parametrize(
    ("bytes_changed", "days", "train"),
    [(0, 99, True), (1, 1, False), (999, 29, False), (1000, 0, True), (1, 31, True)],
)
def test_rule_at_its_limits(bytes_changed: int, days: int, train: bool) -> None:
    change = Change(1, 0, 0, bytes_changed, 100_000)
    assert judge(RULE, change, timedelta(days=days), "version 1").train is train


def test_ages_are_read() -> None:
    assert [parse_age(text) for text in ("12h", "30d", "1.5 w")] == [
        timedelta(hours=12), timedelta(days=30), timedelta(days=10.5),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="write '12h', '30d' or '4w'"):
        parse_age("a month")
