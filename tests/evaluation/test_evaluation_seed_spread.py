import json

import pytest

from minimind.evaluation.seed_spread import Measurement, keep_measurement, known_spread, shaping

TRAINING = {"preset": "tiny", "sizes": None, "budget": "10m", "seed": 1, "threads": 2, "optimizer": {"beta1": 0.9}}
RECIPE = shaping(TRAINING, {"vocabulary_size": 4096})


def measurement(**changed):
    values = {
        "recipe": RECIPE, "planned_tokens": 1_000, "trained_budget": "1,000 tokens", "small": False,
        "train_bytes": 1_000_000, "holdout_sha256": "0" * 64, "seeds": [1, 2, 3], "bits_per_byte": [1.0, 1.1, 0.9],
        "by_source": {"law": [1.0, 1.1, 0.9]}, "created_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    return Measurement(**values | changed)


def test_kept_spread_is_found_for_the_same_recipe(tmp_path):
    keep_measurement(tmp_path, "laws", measurement())
    known = known_spread("measured", tmp_path, "laws", RECIPE, 1_000, 1_500_000)
    assert known.spread.share == pytest.approx(0.1)
    assert known.spread.seeds == 3
    assert known.said == "10.00% between seeds, measured with 3"


def test_seed_and_machine_are_no_part_of_the_recipe_nor_the_words_of_the_budget():
    assert shaping(TRAINING | {"seed": 7, "threads": 8}, {"vocabulary_size": 4096}) == RECIPE
    assert shaping(TRAINING | {"budget": "2h"}, {"vocabulary_size": 4096}) == RECIPE
    assert shaping(TRAINING, {"vocabulary_size": 6400}) != RECIPE


def test_sizes_count_however_they_are_given():
    from minimind.config import PRESETS

    written_out = TRAINING | {"preset": None, "sizes": PRESETS["tiny"].model_dump()}
    assert shaping(written_out, {"vocabulary_size": 4096}) == RECIPE


def test_preset_auto_counts_as_the_model_that_it_came_to():
    from minimind.config import PRESETS

    auto, tokenizer = TRAINING | {"preset": "auto"}, {"vocabulary_size": 4096}
    model = PRESETS["tiny"].model_dump() | {"vocabulary_size": 4096, "max_positions": 256}
    assert shaping(auto, tokenizer, model) == RECIPE
    assert shaping(auto, tokenizer, model | {"layers": 9}) != RECIPE


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": []}, {"recipe": None}, {"planned_tokens": "many"}, {"bits_per_byte": []}, {"bits_per_byte": [2.0]},
        {"bits_per_byte": ["a", "b"]}, {"bits_per_byte": [0, 0]}, {"bits_per_byte": [2.0, float("nan")]},
        {"by_source": []}, {"by_source": {"a": [1.0]}}, {"seeds": 3}, {"created_at": 7},
    ],
    ids=str,
)  # fmt: skip
def test_what_another_version_kept_is_said(tmp_path, change):
    path = keep_measurement(tmp_path, "laws", measurement())
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    (path.parent / "folder.json").mkdir()
    path.with_name("empty.json").touch()
    said = known_spread("measured", tmp_path, "laws", RECIPE, 1_000, 1_000_000).said
    assert said.startswith("the spread between seeds is not measured (3 kept in ")


def test_spread_from_scratch_does_not_stand_for_a_warm_start(tmp_path):
    keep_measurement(tmp_path, "laws", measurement())
    scratch, phases = TRAINING | {"start_from": "scratch"}, {"warm_start": {"peak_ratio": 0.5}}
    warm = shaping(TRAINING | {"start_from": "champion"} | phases, {"vocabulary_size": 4096})
    assert shaping(scratch | phases, {"vocabulary_size": 4096}) == RECIPE
    assert shaping(TRAINING | {"start_from": "a/folder"} | phases, {"vocabulary_size": 4096}) == warm
    known = known_spread("measured", tmp_path, "laws", warm, 1_000, 1_000_000)
    assert known.spread is None
    assert "starts from a model is not measured yet; set registry.seed_spread to a number" in known.said


def test_outdated_spread_is_said_with_what_changed_and_not_used(tmp_path):
    keep_measurement(tmp_path, "laws", measurement())
    other = shaping(TRAINING | {"sequence_length": 512}, {"vocabulary_size": 6400})
    known = known_spread("measured", tmp_path, "laws", other, 1_000, 1_000_000)
    assert known.spread is None
    assert "of 2026-01-01 is outdated: measured for another sequence_length, vocabulary_size;" in known.said


def test_one_budget_of_time_on_another_device_is_another_training_and_asks_for_its_own_spread(tmp_path):
    keep_measurement(tmp_path, "laws", measurement())
    assert known_spread("measured", tmp_path, "laws", RECIPE, 1_900, 1_000_000).spread
    known = known_spread("measured", tmp_path, "laws", RECIPE, 30_000, 1_000_000)
    assert known.spread is None
    assert "outdated: measured for a training of 1,000 tokens, and this one has 30,000 (a budget of time" in known.said
    there = measurement(planned_tokens=30_000, created_at="2026-02-01T00:00:00+00:00", bits_per_byte=[1, 1.01, 0.99])
    keep_measurement(tmp_path, "laws", there)
    for tokens, share in ((30_000, 0.01), (1_000, 0.1)):
        assert known_spread("measured", tmp_path, "laws", RECIPE, tokens, 1e6).spread.share == pytest.approx(share)


@pytest.mark.parametrize("train_bytes", [400_000, 2_100_000])
def test_spread_of_a_far_smaller_or_larger_corpus_is_outdated(tmp_path, train_bytes):
    keep_measurement(tmp_path, "laws", measurement())
    known = known_spread("measured", tmp_path, "laws", RECIPE, 1_000, train_bytes)
    assert known.spread is None
    assert "1.0 MB of training text" in known.said


def test_missing_spread_is_said_and_a_stated_one_taken(tmp_path):
    known = known_spread("measured", tmp_path, "laws", RECIPE, 1_000, None)
    assert known.spread is None
    assert "run `minimind seeds CONFIG`" in known.said
    stated = known_spread(0.017, tmp_path, "laws", RECIPE, 1_000, None)
    assert (stated.spread.share, stated.spread.seeds) == (0.017, None)


def test_spread_measured_in_small_says_so(tmp_path):
    keep_measurement(tmp_path, "laws", measurement(small=True))
    assert "trained in small (1,000 tokens)" in known_spread("measured", tmp_path, "laws", RECIPE, 1_000, None).said


def test_damaged_file_counts_as_missing(tmp_path):
    keep_measurement(tmp_path, "laws", measurement()).write_text("{")
    assert known_spread("measured", tmp_path, "laws", RECIPE, 1_000, None).spread is None
