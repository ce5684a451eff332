"""The card that is written with each model: its figures, its limits, and code that runs."""

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from minimind.config import Config
from minimind.registry.build import RegistryInputs, build
from minimind.registry.lineage import MADE_FROM, lineage_tags
from minimind.registry.model_card import model_card, with_interval
from minimind.registry.packaged_model import resolve_model
from minimind.store import Manifest, Store

Stages = dict[str, Manifest]
MakeStages = Callable[..., Stages]


def changed(stages: Stages, stage: str, **updates: object) -> Stages:
    """The stages, with more counts, details or config in one of them."""
    manifest = stages[stage]
    merged = {name: getattr(manifest, name) | value for name, value in updates.items()}
    return stages | {stage: manifest.model_copy(update=merged)}


def test_card_lies_with_the_exported_the_packaged_and_the_logged_model(
    make_stages: MakeStages, store: Store, config: Config, uri: str, tmp_path: Path
) -> None:
    """And is that of the last evaluation, as the tags of the version are."""
    from minimind.registry.tracking import connect

    questions, client, said = tmp_path / "bar.jsonl", connect(uri), []
    questions.write_text(json.dumps({"question": "The", "choices": [" law", " tax"], "answer": 0}) + "\n")
    for file in (None, questions):
        made = make_stages("20", questions=file)
        stages = {stage: made[stage] for stage in MADE_FROM}
        manifest = build(config.registry, RegistryInputs(config, stages, uri), store)
        said.append(card := model_card(config, stages))
        exported, packaged = manifest.path / "model", resolve_model("models:/tests/1", uri, store.root)
        for folder in (exported, packaged):
            assert (folder / "README.md").read_text() == card
            assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
        assert (exported / "model.safetensors").samefile(stages["training"].path / "model" / "model.safetensors")
        assert Path(client.download_artifacts(manifest.details["run_id"], "README.md")).read_text() == card
        version = client.get_model_version("tests", "1")
        assert version.description == card
        assert version.tags.items() >= lineage_tags(stages, "tests").items()
        assert "README.md" not in {path.name for path in (stages["training"].path / "model").iterdir()}
    assert ["Labelled tasks" in card for card in said] == [False, True]


def test_code_of_the_card_runs(
    make_stages: MakeStages, store: Store, config: Config, uri: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    stages = make_stages("40")
    manifest = build(config.registry, RegistryInputs(config, stages, uri), store)
    monkeypatch.chdir(manifest.path / "model")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    [code] = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
    Path("card.py").write_text(code)
    runpy.run_path("card.py")
    assert capsys.readouterr().out.startswith("The")


def test_card_has_the_funnel_the_licences_and_what_was_kept_out(make_stages: MakeStages, config: Config) -> None:
    funnel = [
        {"step": "quality", "reason": "min_words", "documents": 30, "bytes": 9},
        {"step": "normalize", "reason": "blanks", "documents": 0, "bytes": 9},
    ]
    stages = changed(make_stages("20"), "cleaning", counts={"documents_in": 50}, details={"funnel": funnel})
    sources = {"texts": {"documents": 20, "licenses": {"CC0-1.0": 12, "MIT | BSD": 5, "not stated": 3}}}
    stages = changed(stages, "corpus", counts={"excluded": 2}, details={"sources": sources})
    card = model_card(config, stages)
    for row in (
        "| texts | 20 | CC0-1.0, MIT \\| BSD, not stated |", "| kept out by corpus.exclude_ids | 2 |",
        "| read | 50 |", "| removed, quality: min words | 30 |", "| kept for training | 12 |",
        "3 of the documents read state no licence",
    ):  # fmt: skip
        assert row in card, row
    assert "blanks" not in card


def test_figures_have_intervals_where_they_were_measured(make_stages: MakeStages, config: Config) -> None:
    counts = {
        "bits_per_byte": 1.5, "bits_per_byte_low": 1.4, "bits_per_byte_high": 1.625,
        "sources/texts/bits_per_byte": 1.75, "memorisation/training_share": 0.02, "memorisation/training_passages": 500,
        "memorisation/holdout_share": 0.001,
    }  # fmt: skip
    card = model_card(config, changed(make_stages("20"), "evaluation", counts=counts))
    assert "| Holdout, bits per byte | 1.5000 (1.4000 to 1.6250) |" in card
    assert "| texts/bits per byte | 1.75 |" in card
    assert "it continued 2.0% word for word, against 0.1% of passages that it never saw" in card
    assert with_interval({"loss": 2.0}, "loss", ".1f") == "2.0"
    assert with_interval({}, "loss", ".1f") is None


def test_documents_are_those_that_were_measured(make_stages: MakeStages, config: Config) -> None:
    stages = changed(make_stages("20"), "evaluation", counts={"documents": 5})
    assert "| Holdout, documents measured | 5 |" in model_card(config, stages)


def test_limits_follow_from_what_was_set_and_measured(make_stages: MakeStages, config: Config) -> None:
    stages = make_stages("20")
    card = model_card(config, stages)
    assert "Whether it repeats training text word for word was not measured." in card
    assert "Its figures come from 8 documents that it did not see" in card
    assert "2.6 tokens for each parameter" in card
    assert "times over" not in card
    stages = changed(stages, "training", counts={"epochs": 12.0, "tokens": 6_000_000})
    stages = changed(stages, "evaluation", counts={"documents": 400})
    stages = changed(stages, "cleaning", config={"personal_data": {"email": "replace", "ip": "keep", "phone": "flag"}})
    card = model_card(config, stages)
    assert "It saw its documents 12 times over" in card
    assert "replaced: email; left in and noted: phone; not looked for: ip" in card
    assert "too few" not in card
    assert "for each parameter" not in card
