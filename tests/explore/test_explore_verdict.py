"""What is said of a corpus, and what is found to be wrong with it."""

import re
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from minimind.config import Config
from minimind.explore.findings import findings
from minimind.explore.verdict import Verdict, judged, refused
from minimind.report.explore import render_explored
from minimind.store import Manifest

Stages = dict[str, Manifest]
MakeStages = Callable[..., Stages]


def said(verdict: Verdict) -> str:
    return " ".join(verdict.sentences)


# --- the words --------------------------------------------------------------------------------------------------------


def test_large_corpus_wants_training(make_stages: MakeStages, config: Config, explored_config: Config) -> None:
    verdict = judged(config, explored_config.training, make_stages())
    assert verdict.heading == "9.5 MB of unique text: preset tiny, for 4h"
    assert "Of 1,000 documents (10.0 MB), 950 (9.5 MB) are left without copies and junk, 2.80M tokens" in said(verdict)
    assert "more training would help more than more text" in said(verdict)
    assert "it has read 14% of what there is" in said(verdict)
    assert verdict.values == {"training.preset": "tiny", "training.budget": "4h"}
    assert verdict.first.startswith("First: train with the YAML below")


def test_small_corpus_wants_text(make_stages: MakeStages, config: Config, explored_config: Config) -> None:
    """Read eight times over; the half, read as often, is far behind, and the quarter, read twice as often, farther."""
    trials = [(560_000, 70_000, 2.3), (280_000, 35_000, 2.75), (280_000, 17_500, 3.4)]
    verdict = judged(config, explored_config.training, make_stages(trials=trials, bytes=230_000))
    assert "more text would help more than more training" in said(verdict)
    assert verdict.advised is not None
    assert verdict.advised.budget == "40 epochs"
    assert "look for more text" in verdict.first


def test_neither_is_said_to_help_more_where_the_ranges_overlap(
    make_stages: MakeStages, config: Config, explored_config: Config
) -> None:
    trials = [(560_000, 70_000, 2.3), (280_000, 35_000, 2.75), (280_000, 17_500, 3.2)]
    verdict = judged(config, explored_config.training, make_stages(trials=trials, bytes=230_000))
    training, text = ({row["kind"]: row for row in verdict.gains or [] if row["factor"] == 2}[kind]
                      for kind in ("training", "text"))  # fmt: skip
    assert text["value"] > 1.5 * training["value"]
    assert text["low"] < training["high"]
    assert "whether more training or more text would help more is not clear, for the ranges overlap" in said(verdict)


@pytest.mark.parametrize(("half", "first"), [(1.905, "First: train"), (2.2, "First: look for more text")])
def test_advice_goes_by_what_the_trials_measured_of_text(
    half: float, first: str, make_stages: MakeStages, config: Config, explored_config: Config
) -> None:
    """The same corpus and the same first training: whether its half was as good decides."""
    trials = [(560_000, 70_000, 1.9), (280_000, 35_000, half), (280_000, 17_500, 2 * half - 1.9)]
    verdict = judged(config, explored_config.training, make_stages(trials=trials, bytes=230_000))
    assert verdict.advised is not None
    assert verdict.advised.used_up
    assert verdict.first.startswith(first)
    assert "by what the three trainings measured" in said(verdict)


def test_trainings_without_progress_promise_none(
    make_stages: MakeStages, config: Config, explored_config: Config
) -> None:
    trials = [(400_000, 2_800_000, 2.0), (200_000, 1_400_000, 2.0), (200_000, 700_000, 2.0)]
    stages = make_stages(trials=trials)
    stages["explore"].details["curve"] = []
    assert "neither more training nor more text would help much" in said(
        judged(config, explored_config.training, stages)
    )


def test_more_time_advises_no_smaller_model_and_no_worse_one(
    make_stages: MakeStages, config: Config, explored_config: Config
) -> None:
    verdict = judged(config, explored_config.training, make_stages())
    assert verdict.supported is not None
    sizes = [row.parameters for row in verdict.supported]
    scores = [row.bits_per_byte for row in verdict.supported]
    assert sizes == sorted(sizes)
    assert scores == sorted(scores, reverse=True)


def test_corpus_that_is_too_small_is_said_in_cleanings_words(make_stages: MakeStages, config: Config) -> None:
    verdict = refused(config, make_stages(documents=3, bytes=2_000), "the holdout would have 1 document")
    assert verdict.heading == "Too little text to train and to measure on"
    assert "The holdout would have 1 document." in verdict.sentences
    assert verdict.gains is None


def test_corpus_of_which_little_is_left_is_not_asked_for_more_of_the_same(
    make_stages: MakeStages, config: Config
) -> None:
    funnel = [removed("quality", "min_words", 990, 9_900_000)]
    stages = make_stages({"funnel": funnel}, documents=10, bytes=100_000)
    verdict = refused(config, stages, "the holdout would have 1 document")
    assert verdict.heading == "Too little text to train and to measure on"
    assert verdict.first.startswith("First: much of it counts as junk. Look at the examples under min words")


def test_corpus_that_was_too_small_from_the_start_is_told_how_much_is_needed(
    make_stages: MakeStages, config: Config
) -> None:
    stages = make_stages({"funnel": [removed("quality", "min_words", 3, 211)]}, documents_in=3, bytes_in=211)
    split = config.cleaning.split
    first = refused(config, stages, "all 3 documents were removed").first
    assert first.startswith("First: add text. Even all of it, 3 documents with 0.2 kB, would be too little")
    assert f"so {5 * split.min_documents:,} documents" in first


def test_corpus_of_copies_is_told_so(make_stages: MakeStages, config: Config) -> None:
    stages = make_stages({"funnel": [removed("duplicates", "exact_duplicate", 990, 9_900_000)]}, documents=10)
    assert refused(config, stages, "too few").first.startswith("First: much of it is there more than once.")


def test_corpus_of_which_nothing_is_left_has_a_page_that_says_why(
    make_stages: MakeStages, config: Config, tmp_path: Path
) -> None:
    none = dict.fromkeys(("documents", "bytes", "train_documents", "train_bytes", "holdout_documents"), 0)
    sources = {"local": {"train_documents": 0, "holdout_documents": 0, "bytes": 0}}
    funnel = [removed("quality", "min_words", 1000, 10_000_000)]
    stages = make_stages({"funnel": funnel, "sources": sources}, **none)
    del stages["explore"]
    verdict = refused(config, stages, "all 1,000 documents were removed (removed: min_words 1,000)")
    assert verdict.heading == "No text is left"
    assert "All 1,000 documents were removed (removed: min_words 1,000)." in verdict.sentences
    assert verdict.first.startswith("First: much of it counts as junk.")
    assert verdict.values is None, "no YAML would help"
    render_explored(config, stages, verdict, "", "a.yaml", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert "All 1,000 documents were removed" in page
    assert "From raw to clean" in page


# --- what is wrong with it --------------------------------------------------------------------------------------------


def names(config: Config, stages: Stages, largest: dict[str, Any] | None = None) -> list[str]:
    return [found.name for found in findings(config, stages["corpus"], stages["cleaning"], largest)]


def test_sound_corpus_has_nothing_wrong(make_stages: MakeStages, config: Config) -> None:
    assert names(config, make_stages()) == []


def removed(step: str, reason: str, documents: int, size: int) -> dict[str, Any]:
    return {"step": step, "reason": reason, "documents": documents, "bytes": size}


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({"funnel": [removed("exact_duplicates", "exact_duplicate", 100, 600_000),
                     removed("near_duplicates", "near_duplicate", 90, 500_000)]}, "much of it is there more than once"),
        ({"funnel": [removed("quality", "min_stop_words", 300, 2_500_000)]}, "much of it counts as junk"),
        ({"funnel": [removed("language", "en", 300, 2_500_000)]}, "much of it is in another language"),
        ({"funnel": [removed("empty", "empty", 300, 0)]}, "much of it has no text"),
        ({"sources": {"a": {"train_documents": 900, "holdout_documents": 45, "bytes": 9_400_000},
                      "b": {"train_documents": 5, "holdout_documents": 0, "bytes": 100_000}}},
         "one source has nearly all of the text"),
        ({"languages": [{"language": "en", "documents_kept": 850}, {"language": "de", "documents_kept": 100}]},
         "some of it is in another language"),
        ({"repeated_lines": [{"text": "Confidential", "documents": 400, "removed": False}]},
         "the same lines stand in many documents"),
        ({"personal_data": [{"kind": "email", "hits": 90, "documents": 60, "action": "replace"}]},
         "it holds personal data"),
        ({"licenses": [{"license": None, "licenses": 1, "documents_in": 1000, "documents_kept": 950}]},
         "its licence is not known"),
    ],
    ids=["copies", "junk", "removed language", "empty", "source", "language", "lines", "personal data", "licence"],
)  # fmt: skip
def test_each_trouble_is_found(details: dict[str, Any], expected: str, make_stages: MakeStages, config: Config) -> None:
    assert names(config, make_stages(details)) == [expected]


@pytest.mark.parametrize(
    ("step", "reason", "sentence", "remedy"),
    [
        ("quality", "min_stop_words", "broke a rule of quality; most for min stop words (300)",
         "loosen cleaning.quality.min_stop_words"),
        ("language", "en", "are in another language than cleaning.language.expected; most for en (300)",
         "name en there, or set cleaning.language.others to keep"),
        ("split", "like_train_and_holdout", "are near-copies of training and of holdout documents", "nothing has to"),
        ("decontamination", "overlap_with_evaluation", "most for overlap with evaluation (300)",
         "raise cleaning.decontamination.max_overlap"),
        ("empty", "empty", "300 documents, 25% of the text, have no text in them", "text recognition"),
    ],
)  # fmt: skip
def test_remedy_is_of_the_step_that_removed_most(
    step: str, reason: str, sentence: str, remedy: str, make_stages: MakeStages, config: Config
) -> None:
    funnel = [removed(step, reason, 300, 2_500_000), removed("quality", "min_words", 3, 90_000)]
    stages = make_stages({"funnel": funnel})
    [found] = findings(config, stages["corpus"], stages["cleaning"], None)
    assert sentence in found.sentence
    assert remedy in found.remedy
    keys = set(re.findall(r"cleaning(?:\.\w+)+", found.sentence + found.remedy))
    for key in keys:
        assert value_at(config, key) is not None


def value_at(config: Config, key: str) -> Any:
    """Raises AttributeError for a key that no YAML has."""
    return reduce(getattr, key.split("."), config)


def test_document_that_is_half_of_the_text_is_named(make_stages: MakeStages, config: Config) -> None:
    stages = make_stages()
    [found] = findings(config, stages["corpus"], stages["cleaning"], {"document_id": "local/all.txt", "share": 0.5})
    assert found.sentence == "local/all.txt alone has 50% of the training text"


def test_source_at_which_a_run_would_stop_is_said_and_let_through(
    make_stages: MakeStages, config: Config, explored_config: Config
) -> None:
    """demo.yaml permits 60%; here 82% went, most of them as junk."""
    sources = {"local": {"train_documents": 150, "holdout_documents": 30, "bytes": 2_000_000}}
    funnel = [removed("quality", "min_stop_words", 820, 8_000_000)]
    config = config.model_copy(update={"cleaning": config.cleaning.model_copy(update={"max_removed_share": 0.6})})
    verdict = judged(config, explored_config.training, make_stages({"sources": sources, "funnel": funnel}))
    assert [found.name for found in verdict.findings] == [
        "a source loses most of its documents", "much of it counts as junk",
    ]  # fmt: skip
    assert verdict.values is not None
    assert verdict.values["cleaning.max_removed_share"] == pytest.approx(0.87)
    assert verdict.first.startswith("First: a source loses most of its documents.")


# --- the page ---------------------------------------------------------------------------------------------------------


def test_page_shows_it_all_and_runs_nothing(
    make_stages: MakeStages, config: Config, explored_config: Config, tmp_path: Path
) -> None:
    stages, path = make_stages(), tmp_path / "page" / "explore.html"
    verdict = judged(config, explored_config.training, stages)
    render_explored(config, stages, verdict, "name: demo # <i>mine</i>\n", "demo.yaml", path)
    page = path.read_text()
    for part in ("More training would help".lower(), "From raw to clean", "A tiny model of it", "What more would bring",
                 "4 times the training", "a quarter", "advised", "name: demo # &lt;i&gt;mine&lt;/i&gt;"):  # fmt: skip
        assert part in page
    assert "The &lt;b&gt;" in page
    assert not re.search(r"<script|https?://|\bon\w+=", page)
    before = path.read_bytes()
    render_explored(config, stages, verdict, "name: demo # <i>mine</i>\n", "demo.yaml", path)
    assert path.read_bytes() == before


def test_page_of_a_corpus_that_is_too_small_has_the_audit_alone(
    make_stages: MakeStages, config: Config, tmp_path: Path
) -> None:
    stages = make_stages(documents=3)
    del stages["explore"]
    render_explored(
        config, stages, refused(config, stages, "the holdout is too small"), "", "a.yaml", tmp_path / "a.html"
    )
    page = (tmp_path / "a.html").read_text()
    assert "The holdout is too small." in page
    assert "From raw to clean" in page
    assert "A tiny model of it" not in page
