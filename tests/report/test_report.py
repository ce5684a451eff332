"""The report, from manifests that are published to a real store with the details that the stages write."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from minimind.config import load_config
from minimind.report.figures import (
    Series,
    duration,
    line_chart,
    nice_ticks,
    percent,
    short,
    size,
    smoothed,
    thinned,
)
from minimind.report.page import render_report
from minimind.store import STAGES, Outcome, Recipe

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"
SCRIPT = "<script>alert('planted')</script>"


def metrics(steps):
    lines = [
        {
            "step": step,
            "time": 1.7e9 + step,
            "tokens": 4096 * step,
            "loss": 8 - 4 * step / steps,
            "learning_rate": 1e-3,
            "gradient_norm": None if step == 2 else 1.5,
            "tokens_per_second": 5_000.0 + step,
        }
        for step in range(1, steps + 1)
    ]
    for line in lines[steps // 4 - 1 :: steps // 4]:
        line |= {"holdout_loss": line["loss"] + 0.25, "holdout_bits_per_byte": 2.0}
    return "".join(json.dumps(line) + "\n" for line in lines)


def with_dynamics(text, layers=8):
    """The same metrics with what training observes inside the model every 20 steps."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        line |= {"skipped_steps": 3, "mfu": 0.41, "data_stall": 0.08, "peak_memory_bytes": 3_210_000_000}
    for line in [lines[0], *lines[19::20]]:
        line["update_ratio/embedding"] = 1e-3
        for layer in range(layers):
            name, share = f"layer_{layer:02}", line["step"] / len(lines)
            line |= {
                f"update_ratio/{name}": 3e-3 * (1 - share / 2) * (1 + layer / 20),
                f"contribution/{name}": 0 if layer == 2 else 0.3 * min(1, 5 * share) / (1 + layer),
                f"activation_max/{name}": (2 + layer) * (1 + 3 * share),
                f"attention_logit_max/{name}": 4 + 9 * share - layer / 2,
            }
    return "".join(json.dumps(line) + "\n" for line in lines)


DECISION = {
    "outcome": "promoted",
    "reasons": ["version 3 needs 5.60% fewer bits per byte than the champion"],
    "rules": [
        {"rule": "fewer bits per byte than the champion", "value": 0.056, "sign": "at least", "limit": 0.01,
         "unit": "share", "remark": "", "verdict": "passed"},
        {"rule": "more bits per byte than the champion on tax", "value": 0.0312, "sign": "at most", "limit": 0.05,
         "unit": "share", "remark": "9 documents", "verdict": "passed"},
        {"rule": "memorised share", "value": None, "sign": "at most", "limit": 0.125, "unit": "number", "remark": "",
         "verdict": "not measured"},
    ],
    "champion": "3",
    "previous_champion": "2",
    "bits_per_byte": 1.8762,
    "champion_bits_per_byte": 1.9876,
    "change": [-0.056, -0.07, -0.04],
    "seed_spread": "1.00% between seeds, as registry.seed_spread states",
    "documents": 49,
    "compared_documents": 47,
}  # fmt: skip

BUILDS = {
    "corpus": Outcome(
        {"documents": 1234, "bytes": 9_876_543, "files": 3, "unreadable": 0},
        {"sources": {"law": {"documents": 1000, "bytes": 9e6, "licenses": {"CC0": 900, "MIT": 100}}}, "unreadable": []},
    ),
    "cleaning": Outcome(
        {
            "documents_in": 1234, "bytes_in": 9_876_543, "documents": 1000, "bytes": 8_000_000, "removed": 234,
            "train_documents": 951, "train_bytes": 7_600_000, "holdout_documents": 49, "holdout_bytes": 400_000,
        },
        {
            "funnel": [
                {"step": "exact_duplicates", "reason": "exact_duplicate", "documents": 200, "bytes": 1_500_000},
                {"step": "quality", "reason": "min_words", "documents": 30, "bytes": 300_000},
                {"step": "quality", "reason": "max_symbol_word_ratio", "documents": 4, "bytes": 76_543},
                {"step": "quality", "reason": "never_tripped", "documents": 0, "bytes": 0},
            ],
            "sources": {
                "law": {"train_documents": 900, "holdout_documents": 40, "bytes": 7_500_000},
                "tax": {"train_documents": 51, "holdout_documents": 9, "bytes": 500_000},
            },
            "lengths": [
                {"min_chars": 2**n, "max_chars": 2 ** (n + 1) - 1, "documents_in": 10 * n, "documents_kept": 9 * n}
                for n in range(14)
            ],
            "holdout_share": 0.05,
        },
    ),
    "tokenizer": Outcome(
        {"vocabulary_size": 4096, "holdout_tokens": 100_000, "holdout_bytes_per_token": 3.987},
        {"longest_words": ["Rechtsverordnung", "<b>"]},
    ),
    "shards": Outcome({"train_tokens": 2_100_000, "holdout_tokens": 100_049, "vocabulary_size": 4096}),
    "training": Outcome(
        {
            "steps": 200, "tokens": 819_200, "epochs": 0.39, "parameters": 1_312_128, "loss": 4.1,
            "holdout_loss": 4.25, "tokens_per_second": 5100.0, "training_seconds": 161.0, "resumed": 0,
        },
        {
            "started_from": {"name": "demo", "version": "2"},
            "expected": {
                "seconds": 158.9, "cost": 1.0, "bits_per_byte": {"value": 1.9, "low": 1.7, "high": 1.87},
            },
        },
    ),
    "evaluation": Outcome(
        {
            "documents": 49, "bytes": 400_000, "tokens": 100_000, "loss": 4.2345, "bits_per_byte": 1.8762,
            "xz_bits_per_byte": 2.7654, "zstd_bits_per_byte": 2.1357, "samples_repeated_4_grams": 0.031,
            "holdout_repeated_4_grams": 0.0, "generated_tokens_per_second": 123.4, "scored_tokens_per_second": 9e3,
            "bits_per_byte_low": 1.8012, "bits_per_byte_high": 1.9534, "first_token_seconds": 0.034,
            "batched_tokens_per_second": 1234.0, "weights_bytes": 5_300_000, "generation_memory_bytes": 812_000_000,
        },
        {
            "holdout": {"documents": 49, "bytes": 400_000, "all_documents": 51, "all_bytes": 420_000},
            "device": "cpu",
            "sources": {
                name: {"documents": 20, "bytes": 2e5, "tokens": 5e4, "loss": 4.2, "bits_per_byte": value,
                       "xz_bits_per_byte": 2.7, "zstd_bits_per_byte": 2.1}
                for name, value in (("law", 1.8111), ("tax", 1.9222))
            },
            "leaks": {"documents": 2, "bytes": 12_000, "max_overlap": 0.5, "sampled_share": 0.25, "left_out": []},
            "lengths": {
                "from_0_bytes": {"documents": 3, "bits_per_byte": 2.2222},
                "from_4096_bytes": {"documents": 46, "bits_per_byte": 1.7777, "bits_per_byte_low": 1.6,
                                    "bits_per_byte_high": 1.9},
            },
            "positions": {
                "from_0_bytes": {"documents": 49, "bits_per_byte": 2.5, "bits_per_byte_low": 2.4,
                                 "bits_per_byte_high": 2.6},
                "from_256_bytes": {"documents": 49, "bits_per_byte": 1.8},
            },
            "generated_questions": {
                "continuation": {"questions": 60, "chance": 0.25, "accuracy": 0.55, "accuracy_low": 0.42,
                                 "accuracy_high": 0.67},
            },
            "tasks": {"bar-exam": {"questions": 9, "exact_match": 0.1234, "exact_match_low": 0.05,
                                   "exact_match_high": 0.31}},
            "harness": {"arc_easy": {"acc": 0.31, "acc_stderr": 0.01, "perplexity": 41.0}},
            "memorisation": {"training_passages": 40, "training_share": 0.05, "training_share_low": 0.01,
                             "training_share_high": 0.16, "holdout_passages": 40, "holdout_share": 0.0,
                             "holdout_share_low": 0.0, "holdout_share_high": 0.09},
            "personal_data": {"texts": 200, "texts_share": 0.005, "texts_share_low": 0.001, "texts_share_high": 0.03,
                              "hits": 1, "hits_in_training_text": 0, "email_hits": 1},
            "degeneration": {"texts": 200, "degenerate_share": 0.0, "degenerate_share_low": 0.0,
                             "degenerate_share_high": 0.02},
            "references": {"xz": "each document alone by xz -9", "zstd": "each document alone by zstd -19"},
            "samples": [
                {"kind": "prompt", "prompt": "A & B", "text": f" goes {SCRIPT} on", "tokens": 9, "ended": True},
                {"kind": "holdout", "prompt": "§ 1", "text": " of it", "tokens": 9, "ended": False,
                 "document_id": "law/1", "original": " of the law"},
            ],
        },
    ),
    "registry": Outcome(
        {"version": 3},
        {"name": "demo", "version": "3", "uri": "models:/demo/3", "aliases": ["champion"], "run_id": "f00d",
         "decision": DECISION},
    ),
}  # fmt: skip


@pytest.fixture
def config():
    return load_config(DEMO, ["name=demo", f"description=Laws {SCRIPT}"])


@pytest.fixture
def stages(store):
    def build(stage):
        def write(folder):
            if stage == "training":
                (folder / "metrics.jsonl").write_text(metrics(200))
            return BUILDS[stage]

        return store.build(Recipe(stage, {"steps": 200, "seed": 1}, {}, {}, {"torch": "2.13.0"}), write)

    return {stage: build(stage) for stage in STAGES}


def rendered(config, stages, folder):
    render_report(config, stages, folder / "reports" / "report.html")
    return (folder / "reports" / "report.html").read_text()


def test_report_compares_the_plan_with_what_happened(config, stages, tmp_path):
    page = text_of(rendered(config, stages, tmp_path))
    assert "Minutes 2.6 2.7 +1.3%" in page
    assert "Cost 1.00 1.01 +1.3%" in page
    assert "Bits per byte 1.900 (1.700 to 1.870) 1.876 -1.3%, outside the range" in page
    stages["training"].details["expected"] = {"seconds": None, "cost": None, "bits_per_byte": None}
    page = text_of(rendered(config, stages, tmp_path))
    assert "Minutes not measured 2.7 – Bits per byte outside what was measured 1.876 –" in page
    del stages["training"].details["expected"]
    assert "what came of it" not in text_of(rendered(config, stages, tmp_path))


class Elements(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.text = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)


def text_of(page):
    return " ".join("".join(Elements(page).text).split())


def test_report_tells_the_numbers_of_every_stage(config, stages, tmp_path):
    text = text_of(rendered(config, stages, tmp_path))
    for told in (
        "Version 3 is the new champion", "models:/demo/3", "@champion", "1.31M parameters", "819k tokens",
        "1.876", "2.136", "2.765", "1.988", "12% fewer than zstd -19", "32% fewer than xz -9",  # the scores
        "5.60%", "at least 1.00%", "3.12%", "not measured", "at most 0.125", "1.00% between seeds",  # the decision
        "1,234", "−200", "−34", "min words 30", "951", "49",  # the funnel and the sources
        "3.99 bytes", "4,096", "2.1M", "Rechtsverordnung",
        "4.234", "1.811", "1.922", "123", "fixed sample of the holdout's 51",
        "3.1% of its four-word sequences", "How the document really goes on", "law/1",
        "Started from", "version 2", "2 min 41 s", "seed: 1", "torch 2.13.0", stages["corpus"].fingerprint,
    ):  # fmt: skip
        assert told in text, told
    assert "never tripped" not in text


def test_report_is_one_file_that_asks_nothing_of_a_network(config, stages, tmp_path):
    page = rendered(config, stages, tmp_path)
    elements = Elements(page).found
    assert not {"script", "link", "img", "iframe", "object", "embed", "video"} & {tag for tag, _ in elements}
    for _, attributes in elements:
        assert not {"src", "href", "srcset", "data"} & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(attributes for tag, attributes in elements if "http-equiv" in attributes)
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_text_of_the_corpus_and_of_the_model_is_escaped(config, stages, tmp_path):
    page = rendered(config, stages, tmp_path)
    assert "<script" not in page
    assert page.count(html.escape(SCRIPT, quote=False).replace("'", "&#39;")) == 3  # sentence, sample, config
    assert "<b>" not in page.split('class="tokens"')[1].split("</p>")[0]
    assert "A &amp; B" in page


@pytest.mark.parametrize("last", STAGES)
def test_report_of_an_unfinished_run_shows_what_there_is(config, stages, tmp_path, last):
    built = {stage: stages[stage] for stage in STAGES[: STAGES.index(last) + 1]}
    text = text_of(rendered(config, built, tmp_path))
    headings = {
        "corpus": "No model yet",
        "training": "A model, not measured yet",
        "evaluation": "A model, measured and not registered",
        "registry": "Version 3 is the new champion",
    }
    assert headings.get(last, "No model yet") in text
    assert ("From raw to clean" in text) == ("cleaning" in built)
    assert ("What it writes" in text) == ("evaluation" in built)


def test_empty_bins_between_lengths_are_drawn_and_the_outer_ones_not(config, stages, tmp_path):
    rows = [(0, 1), (2, 5), (16, 3), (32, 0)]
    lengths = [
        {"min_chars": n, "max_chars": max(2 * n - 1, 0), "documents_in": k, "documents_kept": 0} for n, k in rows
    ]
    details = stages["cleaning"].details | {"lengths": lengths}
    cleaning = stages["cleaning"].model_copy(update={"details": details})
    page = rendered(config, stages | {"cleaning": cleaning}, tmp_path)
    labels = [attributes.get("aria-label", "") for _, attributes in Elements(page).found]
    (lengths,) = [label for label in labels if label.startswith("Documents by length")]
    assert re.findall(r"from (\d+): (\d+)", lengths) == [
        ("0", "1"), ("1", "0"), ("2", "5"), ("4", "0"), ("8", "0"), ("16", "3"),
    ]  # fmt: skip


def test_step_that_removes_nothing_says_so(config, stages, tmp_path):
    row = {"step": "normalize", "reason": "blanks", "documents": 0, "bytes": 2_345}
    details = stages["cleaning"].details | {"funnel": [row, *stages["cleaning"].details["funnel"]]}
    cleaning = stages["cleaning"].model_copy(update={"details": details})
    text = text_of(rendered(config, stages | {"cleaning": cleaning}, tmp_path))
    assert "normalize 2.35 kB none exact duplicates 1.5 MB −200 quality 377 kB −34 min words 30" in text


def test_excluded_documents_stand_before_what_was_read(config, stages, tmp_path):
    counts = stages["corpus"].counts | {"excluded": 7}
    corpus = stages["corpus"].model_copy(update={"counts": counts})
    page = rendered(config, stages | {"corpus": corpus}, tmp_path)
    assert "kept out corpus.exclude_ids −7 read 9.88 MB 1,234" in text_of(page)
    assert "7 documents kept out; 1,234 documents read" in page


def test_report_of_no_stage_at_all_is_still_a_page(config, tmp_path):
    assert "No model yet" in rendered(config, {}, tmp_path)


@pytest.mark.parametrize(
    ("outcome", "heading"),
    [
        ("first", "Version 3 is the first champion"),
        ("kept_champion", "Version 3 did not replace the champion"),
        ("already_champion", "Version 3 is the champion already"),
        ("not_promoted", "Version 3 may not become champion"),
    ],
)
def test_headline_is_the_decision(config, stages, tmp_path, outcome, heading):
    decision = DECISION | {"outcome": outcome}
    if outcome == "first":
        decision |= {"rules": [], "champion_bits_per_byte": None, "previous_champion": None}
    registry = stages["registry"].model_copy(update={"details": stages["registry"].details | {"decision": decision}})
    page = rendered(config, stages | {"registry": registry}, tmp_path)
    assert heading in page
    assert ('class="held"' in page) == (outcome in ("kept_champion", "not_promoted"))
    assert ("Champion before, version 2 measured then" in page) == (outcome == "already_champion")


def test_bar_beside_the_champions_is_of_the_same_documents(config, stages, tmp_path):
    decision = DECISION | {"bits_per_byte": 1.7654}
    registry = stages["registry"].model_copy(update={"details": stages["registry"].details | {"decision": decision}})
    page = rendered(config, stages | {"registry": registry}, tmp_path)
    assert "on the 47 of 49 documents that the champion never saw: 1.765" in page


def test_model_worse_than_the_references_is_called_so(config, stages, tmp_path):
    counts = stages["evaluation"].counts | {"bits_per_byte": 3.0, "zstd_bits_per_byte": 2.0, "xz_bits_per_byte": 3.0}
    evaluation = stages["evaluation"].model_copy(update={"counts": counts})
    text = text_of(rendered(config, stages | {"evaluation": evaluation}, tmp_path))
    assert "50% more than zstd -19" in text
    assert "just as many as xz -9" in text


def test_same_manifests_give_the_same_page(config, stages, tmp_path):
    assert rendered(config, stages, tmp_path / "a") == rendered(config, stages, tmp_path / "b")


def test_every_drawing_says_in_words_what_it_shows(config, stages, tmp_path):
    drawings = [
        attributes for _, attributes in Elements(rendered(config, stages, tmp_path)).found if "role" in attributes
    ]
    labels = [attributes["aria-label"] for attributes in drawings]
    assert len(labels) == 8
    assert all(len(label) > 30 for label in labels)
    model = "This model, version 3 on the 47 of 49 documents that the champion never saw: 1.876"
    assert any(model in label for label in labels)
    assert any("exact duplicates removed 200; quality removed 34" in label for label in labels)


def test_dynamics_are_diagnosed_in_words_and_drawn_by_layer(config, store, stages, tmp_path):
    training = store.build(
        Recipe("training", {"steps": 200, "with": "dynamics"}, {}, {}, {}),
        lambda folder: (folder / "metrics.jsonl").write_text(with_dynamics(metrics(200))) and BUILDS["training"],
    )
    page = rendered(config, stages | {"training": training}, tmp_path)
    text = text_of(page)
    for told in (
        "Dead layers. Layer 02 of 8", "Data stall. 8% of the time", "Skipping. 3 of 200 steps", "At most 3.21 GB",
        "Share of the device's peak (MFU)",
    ):  # fmt: skip
        assert told in text, told
    labels = [attributes["aria-label"] for _, attributes in Elements(page).found if "role" in attributes]
    assert len(labels) == 8 + 2 + 4
    (contribution,) = [label for label in labels if label.startswith("What a layer adds")]
    assert "layer 00 0.3" in contribution
    assert "layer 02 0," in contribution
    assert "Training dynamics" not in text_of(rendered(config, stages, tmp_path))


def test_training_without_trouble_is_said_to_be_so(config, store, stages, tmp_path):
    healthy = with_dynamics(metrics(200), layers=2).replace('"data_stall": 0.08', '"data_stall": 0.01')
    training = store.build(
        Recipe("training", {"steps": 200, "with": "health"}, {}, {}, {}),
        lambda folder: (
            (folder / "metrics.jsonl").write_text(healthy.replace('"skipped_steps": 3', '"skipped_steps": 0'))
            and BUILDS["training"]
        ),
    )
    assert "None of the known patterns of trouble shows" in text_of(
        rendered(config, stages | {"training": training}, tmp_path)
    )


@pytest.mark.parametrize(
    ("device", "told"),
    [("cpu", "the whole program took 812 MB at most."), ("cuda", "on the GPU, tensors took 812 MB at most.")],
)
def test_memory_is_said_to_be_of_what_was_measured_on_the_device(config, stages, tmp_path, device, told):
    details = stages["evaluation"].details | {"device": device}
    evaluation = stages["evaluation"].model_copy(update={"details": details})
    assert told in text_of(rendered(config, stages | {"evaluation": evaluation}, tmp_path))


def test_curves_stay_inside_their_chart():
    chart = line_chart([Series("a", "train", range(1, 2_001), [8 - n / 400 for n in range(2_000)])])
    places = [tuple(map(float, place.split(","))) for place in chart.curves[0].points.split()]
    assert len(places) <= 400
    assert all(0 <= x <= 100 and 0 <= y <= 100 for x, y in places)
    assert places[0][1] < places[-1][1]  # a falling curve goes down the page
    assert [tick.at for tick in chart.y_ticks] == sorted(tick.at for tick in chart.y_ticks)
    assert (chart.y_ticks[0].at, chart.y_ticks[-1].at) == (0, 100)


def test_chart_of_a_single_or_constant_value_is_drawn():
    for ys in ([3.0], [3.0, 3.0], [0.0, 0.0]):
        chart = line_chart([Series("a", "train", range(1, len(ys) + 1), ys, dots=True)])
        assert len(chart.curves[0].dots) == len(ys)


def test_ticks_are_round_and_enclose_the_values():
    assert nice_ticks(0, 1) == [0, 0.25, 0.5, 0.75, 1]
    assert nice_ticks(4.13, 8.32) == [4, 6, 8, 10]
    assert nice_ticks(0, 0.003) == [0, 0.001, 0.002, 0.003]


def test_means_are_means():
    assert thinned([1, 3, 5, 7, 100], max_points=3) == [2, 6, 100]
    assert thinned([1, 2], max_points=3) == [1, 2]
    assert smoothed([1, 3, 5, 7], 2) == [1, 2, 4, 6]


def test_evaluation_is_told_in_words_with_intervals(config, stages, tmp_path):
    text = text_of(rendered(config, stages, tmp_path))
    for words in (
        "(95% interval 1.801 to 1.953)",
        "2 more share over 50% of their 13-word sequences with the training text (12 kB) and were left out",
        "of the holdout's 51 (420 kB). 2 more", "By length of the document", "below 1.02 kB",
        "By place in the document", "from 4.1 kB", "1.600 to 1.900",
        "Which of four passages goes on here", "42% to 67%", "bar-exam", "arc_easy, acc (lm-eval)",
        "continues word for word", "40 passages, 50 tokens each", "1 found, 0 of them in the training text",
        "The first token of an answer to half a window of text comes after 34 ms",
    ):  # fmt: skip
        assert words in text
    assert "perplexity" not in text


def test_evaluation_without_intervals_or_extra_parts_is_told_too(config, stages, tmp_path):
    """As of a small holdout, and with all parts left out by their number 0."""
    parts = ("lengths", "positions", "generated_questions", "tasks", "harness", "memorisation", "personal_data")
    empty = {part: dict[str, float]() for part in (*parts, "degeneration")}
    absent = ("bits_per_byte_low", "bits_per_byte_high", "first_token_seconds", "generated_tokens_per_second")
    evaluation = stages["evaluation"]
    counts = {name: value for name, value in evaluation.counts.items() if name not in absent}
    evaluation = evaluation.model_copy(update={"counts": counts, "details": evaluation.details | empty})
    text = text_of(rendered(config, stages | {"evaluation": evaluation}, tmp_path))
    for words in ("What it knows", "What it gives away", "By length", "The first token"):
        assert words not in text
    assert "How good it is" in text


def test_numbers_in_words():
    assert [short(n) for n in (0, 12, 999, 1_312_128, 250_000, 2.5e9)] == ["0", "12", "999", "1.31M", "250k", "2.5B"]
    assert [size(n) for n in (12, 1_500, 9_876_543, 3e9)] == ["12 bytes", "1.5 kB", "9.88 MB", "3 GB"]
    assert [duration(n) for n in (0, 0.01, 3.21, 59.96, 61, 7_325)] == [
        "0.0 s", "under 0.1 s", "3.2 s", "1 min 0 s", "1 min 1 s", "2 h 2 min",
    ]  # fmt: skip
    assert [percent(n) for n in (0, 0.0001, 0.031, 0.31, 0.9999, 1)] == ["0%", "0.01%", "3.1%", "31%", "99.99%", "100%"]
