"""The three trainings of an exploration: one turn of the store for all, each on text that lies with the build."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from minimind.audit.holding import builds_holding, builds_to_erase
from minimind.config import Config, ShardsConfig, TokenizerConfig
from minimind.errors import CorpusTooSmallError
from minimind.evaluation.holdout import Holdout
from minimind.explore import build as explore
from minimind.explore.build import ExploreInputs, tried
from minimind.pruning import prunable
from minimind.shards import build as shards
from minimind.shards.reader import ShardReader
from minimind.store import Manifest, Outcome, Recipe, Store
from minimind.tokenizer import build as tokenizer
from minimind.training.build import TrainingInputs

MakeInputs = Callable[..., ExploreInputs]


@pytest.fixture
def make_inputs(make_cleaning: Any, sentences: Callable[[int, int], str], store: Store) -> MakeInputs:
    """From so many training documents, one of which is a holdout document too."""

    def make(documents: int, held: Sequence[str] = ("law/h", "law/leaked")) -> ExploreInputs:
        train = {f"law/{number:03}": sentences(number, 300) for number in range(documents)}
        holdout = {"law/h": sentences(1000, 400), "law/leaked": train["law/000"]}
        cleaning = make_cleaning(train, {name: holdout[name] for name in held})
        vocabulary = TokenizerConfig(keep=None, vocabulary_size=300, sample_bytes=1_000_000)
        learned = tokenizer.build(vocabulary, tokenizer.TokenizerInputs(cleaning), store)
        section = ShardsConfig(tokens_per_shard=100_000, source_weights={}, old_documents_share=None)
        return ExploreInputs(cleaning, learned, shards.build(section, shards.ShardsInputs(cleaning, learned), store))

    return make


def test_trainings_share_one_turn_and_their_parts_lie_with_the_build(
    make_inputs: MakeInputs, store: Store, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, turns, trained, scored = make_inputs(60), [], [], []

    @contextmanager
    def turn() -> Iterator[None]:
        turns.append("begun")
        yield
        turns.append("ended")

    def train(section: Any, asked: TrainingInputs, store: Store) -> Manifest:
        assert turns == ["begun"]
        trained.append((asked.shards.path, ShardReader(asked.shards.path, "train").tokens))
        return store.build(Recipe("training", {"number": len(trained)}, {}, {}, {}), lambda folder: Outcome({}))

    monkeypatch.setattr(explore, "build_training", train)

    def describe(trained: list[Manifest], parts: list[Manifest], holdout: Holdout, *others: Any) -> Outcome:
        scored.append([document.document_id for document in holdout.documents])
        return Outcome({"trainings": len(trained)})

    monkeypatch.setattr(explore, "describe", describe)
    section, evaluation = tried(config.training, "200k tokens"), config.evaluation
    explored = explore.build(section, evaluation, inputs, replace(store, turn=turn))
    assert explored.counts == {"trainings": 3}
    assert turns == ["begun", "ended"]
    whole, half, quarter = (tokens for _, tokens in trained)
    assert 0 < quarter < half < whole
    building = f".building-{explored.fingerprint}"
    assert [building in path.parts for path, _ in trained] == [False, True, True]
    assert [path.name for path in explored.path.iterdir()] == ["manifest.json"]
    assert explore.build(section, evaluation, inputs, replace(store, turn=turn)).reused
    assert turns == ["begun", "ended"]
    assert scored == [["law/h"]]

    turns.clear()
    everything = evaluation.model_copy(update={"max_overlap": 1.0})
    assert not explore.build(section, everything, inputs, replace(store, turn=turn)).reused
    assert scored[1:] == [["law/h", "law/leaked"]]


def test_holdout_that_stands_in_the_training_text_is_said_before_anything_is_trained(
    make_inputs: MakeInputs, store: Store, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explore, "build_training", lambda *asked: pytest.fail("trained"))
    section, inputs = tried(config.training, "200k tokens"), make_inputs(60, ["law/leaked"])
    with pytest.raises(CorpusTooSmallError, match="all 1 holdout documents share more than"):
        explore.build(section, config.evaluation, inputs, store)


def test_corpus_that_cannot_be_quartered_waits_for_no_turn(
    make_inputs: MakeInputs, store: Store, config: Config
) -> None:
    waiting = replace(store, turn=lambda: pytest.fail("waited"))
    with pytest.raises(CorpusTooSmallError, match="to train on a quarter of them"):
        explore.build(tried(config.training, "200k tokens"), config.evaluation, make_inputs(3), waiting)


def test_exploration_is_pruned_and_erased_as_other_builds_are(make_stages: Any, store: Store) -> None:
    """Its samples go on from a document of the holdout."""
    old = make_stages()["explore"]
    assert prunable(store) == []
    new = make_stages(trials=[(500_000, 2_800_000, 2.0), (250_000, 1_400_000, 2.2), (250_000, 700_000, 2.3)])["explore"]
    assert old.path in [row.path for row in prunable(store)]
    assert [found.manifest.path for found in builds_holding(store, "local/1")] == [old.path, new.path]
    assert [found.path for found in builds_to_erase(store, "local/1", None)] == [old.path, new.path]
