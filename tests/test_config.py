from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flows.new_config import render
from minimind.config import PRESETS, Budget, QualityConfig, load_config, parse_budget
from minimind.errors import ConfigError, UserError
from minimind.quality_presets import QUALITY_PRESETS

CONFIGS = sorted(Path("configs").glob("*.yaml"))
DEMO = Path("configs/demo.yaml")


def written(tmp_path: Path, change: dict[str, object] | str) -> Path:
    """The demo config with `section.key` replaced, or any text, as a file."""
    path = tmp_path / "config.yaml"
    if isinstance(change, str):
        path.write_text(change)
        return path
    tree = yaml.safe_load(DEMO.read_text())
    for dotted, value in change.items():
        node, *_, leaf = tree, *dotted.split(".")
        for section in dotted.split(".")[:-1]:
            node = node[section]
        node[leaf] = value
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_loads(path: Path) -> None:
    config = load_config(path)
    assert config.name
    assert config.training.budget


MEASURED = {  # by every evaluation; test_evaluation_build.py sees to it
    "samples_repeated_4_grams", "degeneration/degenerate_share", "memorisation/training_share",
}  # fmt: skip


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_limit_is_of_a_figure_that_evaluations_measure(path: Path) -> None:
    assert set(load_config(path).registry.max_figures) == MEASURED


def test_all_problems_are_said_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path, {"tokenizer.vocabulary_size": "many", "training.presset": "26m", "cleaning.split.min_bytes": 0}
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert len(caught.value.problems) == 3
    text = str(caught.value)
    assert "tokenizer.vocabulary_size is 'many'" in text
    assert "training.presset is unknown" in text
    assert "cleaning.split.min_bytes is 0" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a mapping of sections was expected"),
        ("- a\n- b\n", "a mapping of sections was expected"),
        ("name: [unclosed", "no valid YAML"),
        ("name: a\nname: b\n", "the key 'name' stands twice"),
        ("cleaning:\n  split:\n    min_bytes: 1" + "0" * 40, r"cleaning.split.min_bytes is an integer of 133 bits"),
        ('corpus:\n  exclude_ids: ["local/\\ud800"]', r"corpus.exclude_ids.0 is 'local/.*half of a surrogate pair"),
    ],
)
def test_files_that_are_no_config_are_refused(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load_config(written(tmp_path, text))


def test_missing_file_folder_and_foreign_encoding_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"it is a folder: `minimind new NAME --from .* writes a config for it"):
        load_config(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("description: Übung".encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(latin)


def test_preset_and_sizes_exclude_each_other(tmp_path: Path) -> None:
    sizes = PRESETS["tiny"].model_dump()
    with pytest.raises(ConfigError, match="either preset or sizes"):
        load_config(written(tmp_path, {"training.sizes": sizes}))
    with pytest.raises(ConfigError, match="either preset or sizes"):
        load_config(written(tmp_path, {"training.preset": None}))
    alone = load_config(written(tmp_path, {"training.preset": None, "training.sizes": sizes}))
    assert alone.training.candidates == {"sizes": PRESETS["tiny"]}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("training.batch_tokens", 5000, "not a multiple"),
        ("training.optimizer.warmup_ratio", 0.9, "at most 1"),
        ("training.warm_start.warmup_ratio", 0.9, "at most 1"),
        ("training.warm_start.peak_ratio", 1.5, "peak_ratio is 1.5"),
        ("training.start_from", "champion", "tokenizer.keep is null; set tokenizer.keep to champion"),
        ("shards.old_documents_share", 0.5, "to which every document is new"),
        ("training.budget", "soon", "is no budget"),
        ("training.budget", "0 epochs", "is no budget"),
        ("corpus.sources", [], "at least 1 item"),
        ("corpus.sources", [{"kind": "ftp", "name": "x"}], "kind"),
        ("name", "Software Licences", "pattern"),
    ],
)
def test_impossible_values_are_refused(tmp_path: Path, key: str, value: object, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load_config(written(tmp_path, {key: value}))


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    source = {"kind": "software_licences", "name": "x"}
    with pytest.raises(ConfigError, match="source names stand twice: x"):
        load_config(written(tmp_path, {"corpus.sources": [source, source]}))


def test_overrides_replace_values_and_are_checked() -> None:
    config = load_config(DEMO, ["training.budget=2 epochs", "tokenizer.vocabulary_size=512"])
    assert config.training.budget == "2 epochs"
    assert config.tokenizer.vocabulary_size == 512
    with pytest.raises(ConfigError, match=r"write section\.key=value"):
        load_config(DEMO, ["training.budget"])
    with pytest.raises(ConfigError, match="is a value, not a section"):
        load_config(DEMO, ["name.first=x"])
    with pytest.raises(ConfigError, match=r"training\.budgett is unknown"):
        load_config(DEMO, ["training.budgett=2h"])


def test_overriding_the_sizes_replaces_the_preset() -> None:
    config = load_config(DEMO, [f"training.sizes={PRESETS['26m'].model_dump()}"])
    assert config.training.candidates == {"sizes": PRESETS["26m"]}
    assert config.training.preset is None


def test_weights_of_unknown_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"shards.source_weights names lawz, tax, and the sources are \S+"):
        load_config(written(tmp_path, {"shards.source_weights": {"tax": 2, "lawz": 0.5}}))


@pytest.mark.parametrize("weight", [-1, 101, "twice", float("nan")])
def test_weights_out_of_range_are_refused(tmp_path: Path, weight: object) -> None:
    name = load_config(DEMO).corpus.sources[0].name
    with pytest.raises(ConfigError, match=f"shards.source_weights.{name} is"):
        load_config(written(tmp_path, {"shards.source_weights": {name: weight}}))


def test_weights_that_leave_no_source_are_refused(tmp_path: Path) -> None:
    weights = {source.name: 0 for source in load_config(DEMO).corpus.sources}
    with pytest.raises(ConfigError, match="leaves every source out of training"):
        load_config(written(tmp_path, {"shards.source_weights": weights}))


def test_weights_are_left_aside_where_the_sources_are_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, {"shards.source_weights": {load_config(DEMO).corpus.sources[0].name: 2}})
    assert load_config(path).shards.source_weights
    assert not caplog.records
    assert load_config(path, local_globs=["a/*.jsonl"]).shards.source_weights == {}
    assert "its shards.source_weights are left aside" in caplog.text


def test_local_globs_replace_the_sources() -> None:
    config = load_config(DEMO, local_globs=["a/*.jsonl", "b/*.txt"])
    (source,) = config.corpus.sources
    assert source.model_dump() == {
        "kind": "local_files",
        "name": "local",
        "paths": ["a/*.jsonl", "b/*.txt"],
        "license": None,
    }


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("300k tokens", Budget(300_000, "tokens")),
        ("1.5M tokens", Budget(1_500_000, "tokens")),
        ("500 tokens", Budget(500, "tokens")),
        ("2 epochs", Budget(2, "epochs")),
        ("1 epoch", Budget(1, "epochs")),
        ("90s", Budget(90, "seconds")),
        ("10m", Budget(600, "seconds")),
        ("2h", Budget(7200, "seconds")),
    ],
)
def test_budgets_are_read(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@given(st.text(max_size=20))
def test_any_other_text_is_no_budget_or_a_positive_one(text: str) -> None:
    try:
        budget = parse_budget(text)
    except ValueError:
        return
    assert budget.amount > 0


@pytest.mark.parametrize(
    ("key", "value"),
    [("training.seed", "7"), ("training.seed", True), ("cleaning.quality.min_words", 60.5), ("description", 5)],
)
def test_values_of_another_type_are_refused_not_converted(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        load_config(written(tmp_path, {key: value}))


def test_limits_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"min_words \(500\) is above max_words \(10\)"):
        load_config(written(tmp_path, {"cleaning.quality.min_words": 500, "cleaning.quality.max_words": 10}))


@pytest.mark.parametrize("preset", sorted(QUALITY_PRESETS))
def test_quality_preset_is_complete_and_keys_beside_it_replace_its_own(preset):
    resolved = QualityConfig.model_validate({"preset": preset, "min_words": 7})
    assert resolved.model_dump() == {**QUALITY_PRESETS[preset], "min_words": 7}
    assert QualityConfig.model_validate(preset) == QualityConfig.model_validate(dict(QUALITY_PRESETS[preset]))


def test_unknown_quality_preset_is_refused():
    with pytest.raises(ValidationError, match="preset is 'medical'; write one of none, published, legal, general"):
        QualityConfig.model_validate({"preset": "medical"})


def test_quality_preset_beside_all_the_keys_it_stands_for_is_refused():
    with pytest.raises(ValidationError, match="preset is 'legal' and changes nothing, as each of its keys is given"):
        QualityConfig.model_validate({"preset": "legal", **QUALITY_PRESETS["general"]})


def test_new_config_lists_every_threshold_of_the_preset():
    tree = yaml.safe_load(render("laws", "https://example.org/laws.zip", "legal"))
    assert tree["cleaning"]["quality"] == QUALITY_PRESETS["legal"]
    with pytest.raises(UserError, match="no preset of quality thresholds; these are: none, published, legal"):
        render("laws", "https://example.org/laws.zip", "medical")
