"""The near-duplicate benchmark: its inputs, its truth, its scores and its page."""

import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from similar_texts import all_pairs, random_words, shingles, varied

from benchmarks.cleaning import enlarged, ours
from benchmarks.cleaning.oracle import true_pairs
from benchmarks.cleaning.results import key_of, render
from benchmarks.cleaning.stability import leave_out
from benchmarks.cleaning.tools import Found, clusters_of, found_by, scores
from benchmarks.measured import CommandError, Measured, measure
from benchmarks.rows import merge, read_rows
from minimind.cleaning.parts import Resources


@pytest.fixture
def corpora(tmp_path: Path) -> list[Path]:
    """Two small corpora as JSON lines."""
    paths = []
    for name, count in (("laws", 30), ("contracts", 20)):
        path = tmp_path / f"{name}.jsonl"
        records = [{"id": f"{name}/{n}", "text": random_words(n, 150), "title": "T"} for n in range(count)]
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        paths.append(path)
    return paths


def written(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("part-*.jsonl"))]


def write_texts(folder: Path, texts: dict[str, str]) -> list[Path]:
    folder.mkdir()
    path = folder / "part-0.jsonl"
    path.write_text("".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in texts.items()))
    return [path]


# --- the input --------------------------------------------------------------------------------------------------------


def test_enlarged_corpus_is_the_same_for_the_same_seed(corpora: list[Path], tmp_path: Path) -> None:
    counts = [enlarged.enlarge(corpora, 200_000, tmp_path / name, edited_share=0.2) for name in ("a", "b")]
    enlarged.enlarge(corpora, 200_000, tmp_path / "other", seed=4, edited_share=0.2)
    assert counts[0] == counts[1]
    assert written(tmp_path / "a") == written(tmp_path / "b")
    assert written(tmp_path / "a") != written(tmp_path / "other")
    assert enlarged.sha256_of(tmp_path / "a") == enlarged.sha256_of(tmp_path / "b")


def test_enlarged_corpus_has_every_original_once_and_all_kinds_of_edits(corpora: list[Path], tmp_path: Path) -> None:
    counts = enlarged.enlarge(corpora, 400_000, tmp_path / "large")
    ids = [document.id for path in sorted((tmp_path / "large").glob("*")) for document in enlarged.read(path)]
    assert counts["original"] == 50
    assert {name for name in ids if "~" not in name} == {
        *(f"laws/{n}" for n in range(30)),
        *(f"contracts/{n}" for n in range(20)),
    }
    assert len(ids) == len(set(ids))
    assert min(counts[kind] for kind in ("exact", "near", "new")) > 0
    assert 0.95 * 400_000 < counts["bytes"] <= 400_000


@pytest.mark.parametrize("jaccard", [0.55, 0.7, 0.8, 0.95])
def test_edits_leave_the_similarity_that_was_asked_for(jaccard: float) -> None:
    original = random_words(1, 20_000)
    changed = enlarged.with_edits(original, enlarged.edits_for(jaccard), enlarged.random_state(1, "x"))
    a, b = shingles(original, 5), shingles(changed, 5)
    assert len(a & b) / len(a | b) == pytest.approx(jaccard, abs=0.03)


def test_new_documents_resemble_their_originals_hardly(corpora: list[Path]) -> None:
    stream = islice(enlarged.documents(corpora), 50, 100)
    originals = {document.id: document.text for document in enlarged.in_turn(corpora)}
    new = [document for document in stream if document.id.endswith("-new")]
    assert new
    for document in new:
        a, b = shingles(document.text, 5), shingles(originals[document.id.partition("~")[0]], 5)
        assert len(a & b) / len(a | b) < 0.25


def test_increment_is_left_out_of_the_input_first(corpora: list[Path], tmp_path: Path) -> None:
    enlarged.enlarge(corpora, 400_000, tmp_path / "input")
    (tmp_path / "less").mkdir()
    count, bytes_share = leave_out(tmp_path / "input", 0.1, 1, tmp_path / "less")

    def documents(name: str) -> set[enlarged.Document]:
        return {document for path in (tmp_path / name).glob("*.jsonl") for document in enlarged.read(path)}

    left_out = documents("input") - documents("less")
    assert documents("less") < documents("input")
    assert count == len(left_out) == round(0.1 * len(documents("input")))
    texts = [sum(len(document.text) for document in some) for some in (left_out, documents("input"))]
    assert bytes_share == pytest.approx(texts[0] / texts[1], rel=0.1)


# --- the truth --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_exact_join_finds_the_pairs_of_brute_force(seed: int, tmp_path: Path) -> None:
    texts = {}
    for family in range(8):
        base = random_words(100 * seed + family, 120).split()
        texts |= {f"{family}/{n}": varied(base, 1000 * seed + 10 * family + n, n) for n in range(8)}
    texts |= {"short/a": "Über vier kurze Wörter", "short/b": "über vier kurze wörter", "empty": "", "blank": " "}
    texts |= {"few/a": "nur drei Wörter", "few/b": "nur drei Wörter"}
    found = true_pairs(write_texts(tmp_path / "input", texts), tmp_path / "working").to_pylist()
    pairs = {(row["a"], row["b"]): row["jaccard"] for row in found}
    truth = all_pairs(texts, 5)
    assert len(truth) > 20
    assert pairs == pytest.approx(truth | {("few/a", "few/b"): 1.0})


# --- scores -----------------------------------------------------------------------------------------------------------


def test_a_pair_counts_as_found_in_one_cluster_and_a_removal_as_right_with_a_kept_twin() -> None:
    found = Found(kept={"a", "d", "f"}, removed={"b", "c", "e"}, links=[("a", "b"), ("b", "c"), ("e", "f")])
    truth = [("a", "b", 0.9), ("b", "c", 0.85), ("a", "c", 0.72), ("d", "f", 0.81), ("e", "f", 0.75)]
    said = scores(found, truth, 0.8)
    assert said == {
        "kept": 3, "removed": 3, "threshold": 0.8,
        "pairs_0.8": 3, "recall_0.8": 0.66667, "pairs_left_0.8": 1,
        "pairs_0.7": 5, "recall_0.7": 0.8, "pairs_left_0.7": 1,
        "removed_rightly": 0.33333,
    }  # fmt: skip
    assert scores(found, truth, 0.7)["removed_rightly"] == 1


def test_clusters_are_connected_components() -> None:
    clusters = clusters_of([("a", "b"), ("c", "d"), ("b", "e"), ("e", "a")])
    assert clusters["a"] == clusters["b"] == clusters["e"]
    assert clusters["c"] == clusters["d"] != clusters["a"]


def test_ours_finds_what_the_exact_join_finds(corpora: list[Path], tmp_path: Path) -> None:
    source, target = tmp_path / "input", tmp_path / "ours"
    enlarged.enlarge(corpora, 150_000, source, edited_share=0.3)
    target.mkdir()
    result = ours.run(ours.least_config(source), target / "store", Resources(threads=1))
    (target / "steps.json").write_text(json.dumps(result))
    pairs = true_pairs(sorted(source.glob("*.jsonl")), tmp_path / "truth").to_pylist()
    said = scores(found_by("ours", source, target), [(row["a"], row["b"], row["jaccard"]) for row in pairs], 0.8)
    assert said["pairs_0.8"]
    assert (said["recall_0.8"], said["pairs_left_0.8"], said["removed_rightly"]) == (1, 0, 1)
    assert said["kept"] == sum(1 for path in source.glob("*.jsonl") for _ in enlarged.read(path)) - said["removed"]
    assert {"train.parquet", "removed.parquet"} <= set(result["digests"])


# --- what a process costs ---------------------------------------------------------------------------------------------


def test_memory_of_child_processes_is_counted(tmp_path: Path) -> None:
    child = "import time; held = b'x' * 150_000_000; time.sleep(1)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    measured = measure([sys.executable, "-c", parent], tmp_path / "log", cores=1)
    assert measured.peak_rss_mb > 150
    assert measured.peak_pss_mb > 150
    assert measured.seconds > 1


def test_failed_command_is_said_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"ended with 3(?s:.)*no such corpus"):
        measure([sys.executable, "-c", "print('no such corpus'); raise SystemExit(3)"], tmp_path / "log", cores=1)


# --- the page ---------------------------------------------------------------------------------------------------------


def row_of(tool: str, seconds: float, **changed: Any) -> dict[str, Any]:
    described = {"sha256": "0" * 64, "megabytes": 40.0, "made_of": ["laws"], "original": 1_500, "near": 20}
    measured = Measured(seconds, 2 * seconds, 500, 400, 0.5).as_dict()
    score = {"threshold": 0.8, "recall_0.8": 1.0, "recall_0.7": 0.99, "pairs_left_0.8": 0, "removed_rightly": None}
    score |= {"pairs_0.8": 10, "pairs_0.7": 12}
    machine = {"processor": "a processor", "cores": 2, "python": "3.11"}
    return {
        "tool": tool, "part": "speed", "version": "1.0", "input": described, "cores": 2, "commit": "abc" * 10,
        "machine": machine, "at": "2026-11-23T02:00:00+00:00", "scores": score,
        "steps": {
            "cleaning: words": {"seconds": 3.0, "cpu_seconds": 1.5},
            "cleaning: run signals": {"seconds": 2.0, "cpu_seconds": 1.0},
        },
    } | measured | changed  # fmt: skip


def test_page_says_how_many_times_faster(tmp_path: Path) -> None:
    page = render([row_of("ours", 4), row_of("datatrove", 90), row_of("text_dedup", 36)])
    [line] = [line for line in page.splitlines() if line.startswith("| datatrove")]
    assert line.split(" | ")[2:6] == ["90.0", "22.5×", "180.0", "22.5×"]
    assert "1,500 originals, 20 near-copies" in page
    assert "words 1.5" in page
    assert "1.0 CPU seconds are for other ends" in page
    assert "(run signals); 1.5 are left" in page
    assert "True pairs: 10 with J ≥ 0.8" in page


def test_page_renders_with_ours_alone_and_without_scores() -> None:
    page = render([row_of("datatrove", 90, scores={}), row_of("ours", 4, part="increment", summary="1% more: 3%.")])
    assert "| datatrove | 1.0 | 90.0 | – |" in page
    assert "1% more: 3%." in page


def test_a_later_row_of_ours_replaces_the_earlier_one_and_leaves_the_peers(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    for row in (
        row_of("ours", 4, version="one"),
        row_of("datatrove", 90),
        row_of("datatrove", 80, version="2.0"),
        row_of("ours", 3, version="two"),
    ):
        merge(results, row, key_of)
    assert [(row["tool"], row["version"], row["seconds"]) for row in read_rows(results)] == [
        ("ours", "two", 3), ("datatrove", "1.0", 90), ("datatrove", "2.0", 80)
    ]  # fmt: skip
