"""What `minimind seeds` trains; test_versions.py in tests/flows trains it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from small import small_inputs, training_config

from minimind import seeds
from minimind.config import PRESETS, load_config
from minimind.errors import ConfigError
from minimind.store import Store
from minimind.training.budget import make_plan

DEMO = load_config(Path(__file__).parents[2] / "configs" / "demo.yaml")


def test_seeds_of_preset_auto_train_the_model_of_the_configs_own_budget(tmp_path, monkeypatch):
    store, trained = Store(tmp_path, "made"), []

    def planned(section, shards, store):
        if section.preset == "auto":
            section = section.model_copy(update={"preset": "26m" if section.budget == "5h" else "tiny"})
        return make_plan(section.model_copy(update={"budget": "2k tokens"}), shards, store)

    def scored(section, *others):
        trained.append(section)
        score = SimpleNamespace(sources=["laws"], bits_per_byte=2.0 + section.seed)
        score.of_source = lambda source: score
        return score, SimpleNamespace(reused=True)

    monkeypatch.setattr(seeds, "make_plan", planned)
    monkeypatch.setattr(seeds, "_scores", scored)
    training = training_config(preset="auto", sizes=None, budget="5h")
    shards = small_inputs(store).shards
    cleaning = SimpleNamespace(counts={"train_bytes": 1}, files={"holdout.parquet": SimpleNamespace(sha256="0")})
    stages = {"shards": shards, "cleaning": cleaning}
    found = seeds.measure_seeds(DEMO.model_copy(update={"training": training}), stages, 2, None, store)
    assert found.recipe["sizes"] == PRESETS["26m"].model_dump()
    assert [(one.preset, one.sizes, one.budget) for one in trained] == [(None, PRESETS["26m"], "1920 tokens")] * 2


def test_seeds_of_a_warm_start_are_refused_with_what_to_set(tmp_path):
    training = training_config(start_from="champion")
    with pytest.raises(ConfigError, match=r"is champion: .* not measured yet; set registry.seed_spread to a number"):
        seeds.measure_seeds(DEMO.model_copy(update={"training": training}), {}, 2, None, Store(tmp_path, "made"))
