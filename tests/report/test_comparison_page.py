"""The page of a comparison, from the JSON object that the registry makes."""

import re

import pytest

from minimind.report.comparison import render_comparison

SCRIPT = "<script>alert('planted')</script>"


def difference(baseline, candidate, reach, verdict, documents=40):
    percent = 100 * (candidate / baseline - 1)
    interval = [None, None] if reach is None else [percent - reach, percent + reach]
    absolute = [None, None] if reach is None else [edge * baseline / 100 for edge in interval]
    return {
        "verdict": verdict,
        "effect": {"bits_per_byte": candidate - baseline, "percent": percent},
        "interval": {"bits_per_byte": absolute, "percent": interval, "level": 0.95, "covers": ["documents", "seeds"]},
        "bits_per_byte": {"baseline": baseline, "candidate": candidate},
        "documents": documents,
        "bytes": 123_456,
    }


def version(number, value, seconds=200.0, **more):
    costs = {"parameters": 1_312_128, "tokens": 819_200, "training_seconds": seconds, "cost": seconds / 100,
             "train_documents": 951, "train_bytes": 7_600_000}  # fmt: skip
    return {"version": str(number), "champion": number == 3, "created_at": 1_764_000_000_000 + number, "run_id": "f00d",
            "bits_per_byte": value, "by_source": {"law": value}, "costs": costs} | more  # fmt: skip


def row(document_id, baseline, candidate, **more):
    return {"document_id": document_id, "source": "law", "bytes": 2000, "baseline": baseline, "candidate": candidate,
            "text": f"§ 1 {SCRIPT} of the act", "cut": True} | more  # fmt: skip


def comparison(**changed):
    main = {
        "baseline": "3", "candidate": "4", "sentence": "version 4 needs 5.00% fewer bits per byte than version 3",
        **difference(2.0, 1.9, 1.5, "better"),
        "by_source": {
            "law": difference(2.0, 1.8, 2, "better"), f"tax {SCRIPT}": difference(2.0, 2.05, 6, "no_difference"),
        },
    }  # fmt: skip
    texts = [
        {"version": "3", "text": f" of law {SCRIPT}", "ended": True},
        {"version": "4", "text": " of", "ended": False},
    ]
    return {
        "name": "laws",
        **main,
        "comparisons": [main],
        "versions": [version(3, 2.0), version(4, 1.9, 250.0)],
        "unchecked": None,
        "seed_spread": "0.50% between seeds, measured with 3",
        "holdout": {"version": "4", "sha256": "0" * 64, "documents": 49, "bytes": 400_000, "read_documents": 52,
                    "all_documents": 52},
        "changed_documents": {"better": [row("law/1", 2.0, 1.5)], "worse": [row("law/2", 2.0, 2.2)]},
        "samples": [{"prompt": "A & B", "document_id": None, "texts": texts}],
        "history": [
            {"version": str(number), "created_at": 0, "gate": "passed", "bits_per_byte": 2.2 - number / 10,
             "train_bytes": 1e6 * number, "training_seconds": 100.0 * number if number > 1 else None,
             "cost": number / 80 if number > 1 else None}
            for number in range(1, 5)
        ],
    } | changed  # fmt: skip


def rendered(tmp_path, **changed):
    render_comparison(comparison(**changed), tmp_path / "deep" / "comparison.html")
    return (tmp_path / "deep" / "comparison.html").read_text()


def test_page_says_the_verdict_the_effect_and_where_it_comes_from(tmp_path):
    page = rendered(tmp_path)
    for told in (
        "Version 4 is better than version 3", "Version 4 needs 5.00% fewer bits per byte than version 3.",
        "-10.00%", "-12.00% to -8.00%", "+2.50%", "no difference", "0.50% between seeds, measured with 3",
        "Better in version 4", "2.000 → 1.500", "law/2", "49 documents",
        "3 of its 52 documents stand in the training text", "3 min 20 s", "7.6 MB", "1.31M",
    ):  # fmt: skip
        assert told in page, told


def test_page_is_one_file_without_scripts_and_planted_ones_are_text(tmp_path):
    page = rendered(tmp_path)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 4
    assert not re.search(r'(src|href)="|url\(', page)


@pytest.mark.parametrize(
    ("verdict", "heading"),
    [
        ("worse", "Version 4 is worse than version 3"),
        ("no_difference", "Version 4 differs from version 3 by no more than chance"),
        ("unclear", "Whether version 4 is better than version 3 is not clear"),
    ],
)
def test_heading_is_the_verdict(tmp_path, verdict, heading):
    assert f"<h1>{heading}</h1>" in rendered(tmp_path, verdict=verdict)


def test_interval_that_is_not_known_is_a_dash_and_seeds_left_out_are_said(tmp_path):
    few = difference(2.0, 1.9, None, "unclear", documents=3)
    few["interval"]["covers"] = ["documents"]
    page = rendered(tmp_path, **few, by_source={"law": few})
    assert "another seed of the training would have changed: they are too narrow" in page
    assert 'data-label="95% interval">–</td>' in page


def test_history_is_drawn_where_at_least_two_versions_say_a_figure(tmp_path):
    assert "Training, seconds: version 2 200 s, version 3 300 s, version 4 400 s." in rendered(tmp_path)
    page = rendered(tmp_path, history=comparison()["history"][:2])
    assert "Training text, MB: version 1 1 MB, version 2 2 MB." in page
    assert "Training, seconds:" not in page
    assert "Over time" not in rendered(tmp_path, history=[])


def test_money_is_drawn_where_every_version_has_a_price(tmp_path):
    page = rendered(tmp_path)
    assert "Bits per byte over cost of training: version 3: 2.00, 2.0000; version 4: 2.50, 1.9000." in page
    assert 'data-label="Cost">2.50</td>' in page
    assert "Training, cost: version 2 0.025, version 3 0.037, version 4 0.05." in page
    free = {key: value for key, value in version(3, 2.0)["costs"].items() if key != "cost"}
    page = rendered(tmp_path, versions=[version(3, 2.0, costs=free), version(4, 1.9)])
    assert "over cost of training" not in page
    assert 'data-label="Cost">–</td>' in page
    page = rendered(tmp_path, versions=[version(3, 2.0, costs=free), version(4, 1.9, costs=free)])
    assert 'data-label="Cost"' not in page
    assert "Bits per byte over seconds of training" in page


def test_several_versions_are_each_held_against_the_first(tmp_path):
    whole = comparison()
    third = whole["comparisons"][0] | {"candidate": "5"}
    page = rendered(
        tmp_path, comparisons=[whole["comparisons"][0], third], versions=[*whole["versions"], version(5, 1.8)]
    )
    assert "All of them against version 3." in page
    assert "version 5" in page


def test_equal_models_and_unknown_costs_leave_a_page(tmp_path):
    same = difference(2.0, 2.0, 0, "no_difference")
    page = rendered(tmp_path, **same, by_source={"law": same}, versions=[version(3, 2.0), version(4, 2.0, costs={})],
                    changed_documents={"better": [], "worse": []}, samples=[])  # fmt: skip
    assert "+0.00%" in page
    assert "What they write" not in page


def test_same_comparison_gives_the_same_bytes(tmp_path):
    assert rendered(tmp_path / "a") == rendered(tmp_path / "b")
