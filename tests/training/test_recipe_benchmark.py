"""The recipe benchmark on made-up shards: the reference's rows, a benchmark that goes on, its table."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small import make_documents, write_shard, write_token_bytes

from benchmarks.recipe import __main__ as recipe
from benchmarks.recipe import equal_time, recipes, results
from benchmarks.recipe.passages import Passages
from benchmarks.recipe.running import PlainObjective
from benchmarks.recipe.table import crossing, render
from minimind.config import ModelSizes, TrainingConfig, load_config
from minimind.model.transformer import Transformer
from minimind.shards.reader import ShardReader
from minimind.training.objective import Objective

SMALL = ModelSizes(hidden_size=16, layers=1, heads=2, kv_heads=1, head_size=8, intermediate_size=24)


@pytest.fixture
def shards(tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    write_shard(folder / "train-00000.arrow", make_documents(1, 40, 100))
    write_shard(folder / "holdout-00000.arrow", make_documents(2, 8, 60))
    write_token_bytes(folder / "token_bytes.arrow")
    return folder


def test_each_token_is_predicted_once_an_epoch_and_padding_is_not(shards):
    reader = ShardReader(shards, "train")
    rows = Passages(reader, 16, seed=1)
    inputs, targets = rows.batch(0, len(rows.places))
    predicted = targets[targets != -100]
    documents = [reader.document(number) for number in range(reader.documents)]
    expected = np.concatenate([np.append(document[1:], 0) for document in documents])
    assert sorted(predicted.tolist()) == sorted(expected.tolist())
    assert rows.mean_predicted == pytest.approx(len(predicted) / len(rows.places))
    kept = (targets != -100)[:, :-1] & (targets != -100)[:, 1:]
    assert torch.equal(inputs[:, 1:][kept], targets[:, :-1][kept])


def test_epochs_of_passages_have_their_own_order(shards):
    rows = Passages(ShardReader(shards, "train"), 16, seed=1)
    epoch = len(rows.places)
    first, second = rows.batch(0, epoch)[0], rows.batch(epoch, epoch)[0]
    assert not torch.equal(first, second)
    assert sorted(first.tolist()) == sorted(second.tolist())


@pytest.fixture
def run_benchmark(shards, tmp_path, monkeypatch):
    monkeypatch.setitem(recipes.SIZES, "tiny", SMALL)
    monkeypatch.setitem(recipes.SEQUENCE_LENGTHS, "tiny", 32)
    monkeypatch.setitem(recipes.BATCH_TOKENS, "tiny", 256)
    monkeypatch.setattr(recipes, "REFERENCE_LENGTH", 40)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "unused")
    path = tmp_path / "recipe.json"

    def run(*arguments):
        given = ["recipe", "--shards", str(shards), "--results", str(path), "--threads", "1", "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", [*given, "--window", "32", "--evaluations", "3", *arguments])
        recipe.main()
        return json.loads(path.read_text())["rows"], path.with_suffix(".md").read_text()

    yield run
    torch.use_deterministic_algorithms(False)


def test_rows_that_are_known_are_not_run_again(run_benchmark, monkeypatch):
    arguments = ("--recipes", "ours,reference", "--tokens", "2k", "--seeds", "1")
    rows, page = run_benchmark(*arguments)
    assert {row["recipe"]: row["seed"] for row in rows} == {"ours": 1, "reference": 1}
    ours, reference = sorted(rows, key=lambda row: row["recipe"])
    assert ours["tokens"] == 7 * 256
    assert reference["tokens"] == pytest.approx(2000, rel=0.25)
    assert reference["batch_tokens"] == 12 * 40
    assert [len(row["curve"]) for row in rows] == [3, 3]
    assert "| reference | the reference's recipe: padded, eager, its loss over all logits | 1 |" in page
    monkeypatch.setattr(results, "run", lambda *_: pytest.fail("a row was run again"))
    assert run_benchmark(*arguments)[0] == rows
    with pytest.raises(pytest.fail.Exception):
        run_benchmark("--recipes", "ours", "--tokens", "2k", "--seeds", "2")


def test_row_of_a_recipe_that_has_changed_is_run_again_and_replaced(run_benchmark, monkeypatch):
    arguments = ("--recipes", "z-loss", "--tokens", "600", "--seeds", "1")
    before, _ = run_benchmark(*arguments)
    changed = recipes.Recipe("z-loss", "a greater one", plan={"z_loss": 1e-2})
    monkeypatch.setitem(recipes.RECIPES, "z-loss", changed)
    after, _ = run_benchmark(*arguments)
    assert [row["recipe"] for row in after] == ["z-loss"]
    assert after[0]["settings"] != before[0]["settings"]
    assert after[0]["bits_per_byte"] != before[0]["bits_per_byte"]


@pytest.fixture
def costs(monkeypatch):
    """CPU seconds of a step, as they are found."""
    found: dict[str, float] = {}
    monkeypatch.setattr(equal_time, "trainer_of", lambda name, task: name)
    monkeypatch.setattr(equal_time, "warm_up", lambda name: {"step_cpu_seconds": found[name]})
    return found


def steps_of(rows):
    return {name: {row["steps"] for row in rows if row["recipe"] == name} for name in {row["recipe"] for row in rows}}


@pytest.mark.slow
def test_recipe_that_costs_twice_as_much_takes_half_the_steps_in_every_seed(run_benchmark, costs):
    costs |= {"ours": 0.5, "adamw-5e-4": 1.0}
    run_benchmark("--recipes", "ours,adamw-5e-4", "--cpu-seconds", "6", "--seeds", "1")
    costs |= {"ours": 5.0, "adamw-1e-3": 6.0}  # the machine became slow
    rows, _ = run_benchmark("--recipes", "ours,adamw-5e-4,adamw-1e-3", "--cpu-seconds", "6", "--seeds", "1,2")
    assert steps_of(rows) == {"ours": {12}, "adamw-5e-4": {6}, "adamw-1e-3": {10}}


def test_recipe_of_the_same_products_takes_the_steps_of_ours_unmeasured(run_benchmark, costs):
    costs |= {"ours": 0.5}
    rows, _ = run_benchmark("--recipes", "ours,cosine,muon-0.02,z-loss", "--cpu-seconds", "6", "--seeds", "1")
    assert steps_of(rows) == {"ours": {12}, "cosine": {12}, "muon-0.02": {12}, "z-loss": {12}}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_recipes_with_other_arithmetic_are_measured(device):
    task = SimpleNamespace(device=torch.device(device))
    own = {name for name in recipes.RECIPES if equal_time.arithmetic_of(name, task) == name}
    small = {"z-loss", "document-mask", "embedding-norm", "residual-scalars"} if device == "cuda" else set()
    adamw = {name for name in recipes.RECIPES if name.startswith("adamw")}
    assert own == {"ours", "eager", *recipes.BASELINES, *adamw, *small}


def test_ours_is_measured_beside_a_recipe_that_was_there_first(run_benchmark, costs):
    costs |= {"ours": 0.5, "adamw-5e-4": 1.0}
    run_benchmark("--recipes", "adamw-5e-4", "--cpu-seconds", "6", "--seeds", "1")
    costs |= {"ours": 1.5, "adamw-5e-4": 3.0}
    rows, _ = run_benchmark("--recipes", "ours", "--cpu-seconds", "6", "--seeds", "1")
    assert steps_of(rows) == {"ours": {12}, "adamw-5e-4": {6}}


@pytest.mark.slow
def test_equal_time_is_measured_by_steps_of_each_recipe(run_benchmark):
    rows, _ = run_benchmark("--recipes", "ours,reference", "--cpu-seconds", "0.3", "--seeds", "1,2")
    assert all(len(steps) == 1 and min(steps) >= 2 for steps in steps_of(rows).values())


def test_all_configs_have_the_recipe_that_is_measured_as_ours():
    expected = ingredients(recipes.ours())
    for path in sorted(recipes.CONFIG.parent.glob("*.yaml")):
        found = ingredients(load_config(path).training)
        differing = {name for name in expected if found[name] != expected[name]}
        assert differing <= ({"warmup_ratio"} if path.stem == "demo" else set()), path  # the demo has few steps


def ingredients(training: TrainingConfig) -> dict[str, object]:
    names = ("zero_output_projections", "document_mask", "z_loss", "embedding_norm", "residual_scalars")
    return training.optimizer.model_dump() | {name: getattr(training, name) for name in names}


def test_plain_loss_is_ours(shards):
    model = Transformer(recipes.model_of(recipes.RECIPES["ours"], "micro", 300))
    model.initialize(torch.Generator().manual_seed(1))
    inputs, targets = Passages(ShardReader(shards, "train"), 16, seed=1).batch(0, 4)
    plain, our = PlainObjective(model), Objective(model, z_loss=0.0)
    for found, expected in zip(plain(inputs, targets), our(inputs, targets), strict=True):
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.slow
def test_every_recipe_can_be_run(run_benchmark):
    rows, _ = run_benchmark("--tokens", "1k", "--seeds", "1")
    assert {row["recipe"] for row in rows} == recipes.RECIPES.keys()
    assert all(row["bits_per_byte"] > 0 for row in rows)


def test_unknown_recipe_and_missing_budget_are_refused(run_benchmark):
    with pytest.raises(SystemExit, match="no recipe is called nonsense"):
        run_benchmark("--recipes", "nonsense", "--tokens", "2k")
    with pytest.raises(SystemExit, match="one of --tokens, --seconds and --cpu-seconds"):
        run_benchmark("--recipes", "ours")


def made_row(name, seed, scores):
    curve = [
        {"step": n, "tokens": 100 * n, "seconds": 2.0 * n, "loss": 1.0, "bits_per_byte": score}
        for n, score in enumerate(scores, 1)
    ]
    return {
        "corpus": "c", "preset": "tiny", "budget": "1 s", "device": "d", "torch": "t", "window": 8,
        "holdout_windows": 5, "compiling": False, "recipe": name, "seed": seed, "threads": 1, "parameters": 1_000_000,
        "machine": {"processor": "p"}, "curve": curve,
        "bits_per_byte": scores[-1], "cpu_seconds_per_step": 0.5, "tokens_per_second": 50.0,
        "loader_share": 0.001,
    }  # fmt: skip


def test_table_has_paired_differences_and_when_ours_was_as_good():
    rows = [made_row("ours", 1, [4.0, 3.0, 2.0]), made_row("ours", 2, [4.2, 3.2, 2.2]),
            made_row("adamw", 1, [4.0, 3.5, 3.0]), made_row("adamw", 2, [4.2, 3.7, 3.2])]  # fmt: skip
    line = next(line for line in render(rows).splitlines() if line.startswith("| adamw |"))
    assert "| 2 | 3.1000 | +1.0000 ± 0.0000 | 0.67 | 0.67 | 0.500 | 50 | 0.10% |" in line


def test_runs_of_other_seeds_are_compared_with_nothing():
    rows = [made_row("ours", 1, [4.0, 3.0, 2.0]), made_row("ours", 3, [9.0, 9.0, 9.0]),
            made_row("adamw", 1, [4.0, 3.5, 3.0]), made_row("adamw", 2, [1.0, 1.0, 1.0]),
            made_row("cosine", 2, [4.0, 3.5, 3.0])]  # fmt: skip
    found = {line.split(" | ")[0]: line for line in render(rows).splitlines() if line.startswith("| ")}
    assert "| 2 | 2.0000 | +1.0000 | 0.67 | 0.67 | 0.500 |" in found["| adamw"]
    assert "| 1 | 3.0000 |  |  |  | 0.500 |" in found["| cosine"]


def test_crossing_lies_between_the_evaluations_around_it():
    curve = made_row("ours", 1, [4.0, 3.0, 2.0])["curve"]
    assert crossing(curve, 2.5, "tokens") == pytest.approx(250)
    assert crossing(curve, 5.0, "tokens") == 100
    assert crossing(curve, 1.0, "tokens") is None
