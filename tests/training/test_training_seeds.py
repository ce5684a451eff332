"""What `minimind seeds` trains, scores and keeps; test_versions.py in tests/flows trains it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small import VOCABULARY_SIZE, small_inputs, training_config

from flows.seeds_command import print_spread
from minimind import seeds
from minimind.config import PRESETS, Config, ModelSizes, TrainingConfig, load_config
from minimind.errors import ConfigError
from minimind.model.hugging_face import export_model
from minimind.model.transformer import ModelConfig, Transformer
from minimind.registry import build as registry
from minimind.store import Manifest, Outcome, Recipe, Store
from minimind.tokenizer.bpe import save_tokenizer, train_bpe
from minimind.training.budget import make_plan
from minimind.training.plan import Plan

DEMO = load_config(Path(__file__).parents[2] / "configs" / "demo.yaml")


def config_of(**training: Any) -> Config:
    measured = DEMO.registry.model_copy(update={"seed_spread": "measured"})
    return DEMO.model_copy(update={"training": training_config(**training), "registry": measured})


@pytest.fixture
def stages(store: Store, make_cleaning: Any, sentences: Callable[[int, int], str]) -> dict[str, Manifest]:
    """Of the cleaning's holdout documents one, of a source of its own, stands in the training text."""
    seen = sentences(1, 200)
    holdout = {"laws/1": sentences(2, 200), "leaked/1": seen}
    made = small_inputs(store)
    cleaning = make_cleaning({"laws/0": f"{sentences(3, 200)} {seen}"}, holdout)
    return {"shards": made.shards, "tokenizer": made.tokenizer, "cleaning": cleaning}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, sentences: Callable[[int, int], str]) -> list[TrainingConfig]:
    """The sections that are trained with; a model keeps its first weights, which the seed decides."""
    sections = []
    tokenizer = train_bpe([sentences(4, 300)], VOCABULARY_SIZE)

    def build(section: TrainingConfig, inputs: Any, store: Store) -> Manifest:
        sections.append(section)

        def write(folder: Path) -> Outcome:
            model = Transformer(ModelConfig(VOCABULARY_SIZE, 16, 1, 2, 1, 8, 24, 32))
            model.initialize(torch.Generator().manual_seed(section.seed))
            export_model(model, folder / "model")
            save_tokenizer(tokenizer, folder / "model")
            return Outcome({})

        return store.build(Recipe("training", {"seed": section.seed}, {}, {}, {}), write)

    monkeypatch.setattr(seeds, "build", build)
    return sections


def planned(section: TrainingConfig, shards: Manifest, store: Store) -> Plan:
    """Nothing is measured: five hours come to 3,000 tokens and `preset: auto` to 26m, twenty minutes to 2,000."""
    if section.preset == "auto":
        section = section.model_copy(update={"preset": "26m" if section.budget == "5h" else "tiny"})
    budgets = {"5h": "3k tokens", "1200s": "2k tokens"}
    section = section.model_copy(update={"budget": budgets.get(section.budget, section.budget)})
    return make_plan(section, shards, store)


@pytest.mark.parametrize(
    ("training", "sizes", "said"),
    [
        ({}, training_config().sizes, "measured with 2"),
        ({"preset": "auto", "sizes": None, "budget": "5h"}, PRESETS["26m"], "trained in small (1,920 tokens)"),
    ],
    ids=["sizes", "auto"],
)
def test_gate_finds_the_spread_that_was_measured_on_documents_that_no_seed_has_seen(
    training: dict[str, Any], sizes: ModelSizes, said: str, stages: dict[str, Manifest], trained: list[TrainingConfig],
    store: Store, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """And `preset: auto` means the model for the config's own budget, however long a seed trains."""
    monkeypatch.setattr(seeds, "make_plan", planned)
    config = config_of(**training)
    found = seeds.measure_seeds(config, stages, 2, None, store)
    assert [one.seed for one in trained] == found.seeds == [1, 2]
    assert [(one.preset, one.sizes, one.budget) for one in trained] == [(None, sizes, "1920 tokens")] * 2
    assert len(set(found.bits_per_byte)) == 2
    assert found.by_source == {"laws": found.bits_per_byte}

    plan = planned(config.training, stages["shards"], store)
    made = SimpleNamespace(config=plan.as_json(), counts={"tokens": plan.tokens})
    inputs = registry.RegistryInputs(config, {**stages, "training": made}, "")
    known = registry._spread(config.registry, inputs, store)
    assert known.spread == found.spread
    assert known.said.endswith(said)

    made.counts["tokens"] = 10 * plan.tokens
    known = registry._spread(config.registry, inputs, store)
    assert known.spread is None
    assert f"measured for a training of {plan.tokens:,} tokens, and this one has {10 * plan.tokens:,}" in known.said


TOKENS = {"2h": 900_000, "1h": 910_000, "1200s": 150_000, "10m": 75_000, "300k tokens": 300_000, "1M tokens": 1_000_000}


def of_budget(own: str, used: str | None, monkeypatch: pytest.MonkeyPatch) -> tuple[int, bool]:
    """Tokens of each training, and whether they are in small; an hour was measured where the machine was less busy."""
    monkeypatch.setattr(
        seeds,
        "make_plan",
        lambda section, *others: SimpleNamespace(tokens=TOKENS[section.budget], model=PRESETS["tiny"]),
    )
    _, whole, plan = seeds.plan_of_seeds(training_config(budget=own), used, None, None)  # type: ignore[arg-type]
    return plan.tokens, plan != whole


@pytest.mark.parametrize(
    ("own", "used", "expected"),
    [
        ("2h", None, (150_000, True)),
        ("10m", None, (75_000, False)),
        ("2h", "7200s", (900_000, False)),
        ("2h", "120m", (900_000, False)),
        ("2h", "1h", (910_000, True)),
        ("2h", "300k tokens", (300_000, True)),
        ("1M tokens", "1000k tokens", (1_000_000, False)),
    ],
)
def test_only_less_than_the_configs_budget_is_in_small(
    own: str, used: str | None, expected: tuple[int, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert of_budget(own, used, monkeypatch) == expected


def test_longer_trainings_than_the_configs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their seeds differ less: the spread would promote what is luck."""
    with pytest.raises(ConfigError, match=r"4h is more than training\.budget, 2h"):
        seeds.check_measurable(config_of(budget="2h"), "4h")
    seeds.check_measurable(config_of(budget="2h"), "1M tokens")  # known once the speed is
    with pytest.raises(ConfigError, match=r"1M tokens is more than training\.budget, 2h"):
        of_budget("2h", "1M tokens", monkeypatch)


def test_seeds_of_a_warm_start_are_refused_with_what_to_set(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"is champion: .* not measured yet; set registry.seed_spread to a number"):
        seeds.measure_seeds(config_of(start_from="champion"), {}, 2, None, store)


def test_spread_is_said_to_be_of_seeds_alone(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"name": "laws", "trained_budget": "1,920 tokens", "small": False, "seeds": [1, 2], "seeds_reach": 0.003,
             "bits_per_byte": [1.0, 1.001], "spread": 0.0007, "by_source": {"laws": 0.0007}}  # fmt: skip
    print_spread(found)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        "by the luck of seeds alone two versions differ by up to 0.30% (in 95% of cases); what other documents would "
        "change comes on top"
    )
