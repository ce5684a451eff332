"""Training documents that overlap with the holdout or an evaluation file go; common formulas do not count."""

import json
import random
import unicodedata

import pytest
from cleaned import config
from similar_texts import fillers, random_words

from minimind.errors import CorpusTooSmallError, SourceError
from minimind.store import Store


def words(seed, count):
    return random_words(100_000 + seed, count).split()


def overlapping(share, seed, text):
    """200 words of which the given share stands, in one piece, in `text`."""
    taken = int(200 * share)
    return " ".join(text.split()[:taken] + words(seed, 200 - taken))


@pytest.fixture
def question(tmp_path):
    """An evaluation file with a question of 400 words."""
    text = " ".join(words(5_000, 400))
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps({"question": text, "choices": ["yes", "no"]}) + "\n")
    return str(path), text


def test_document_that_overlaps_with_an_evaluation_file_goes(clean, question):
    path, text = question
    texts = fillers(30) | {"a/most": overlapping(0.7, 1, text), "a/some": overlapping(0.3, 2, text)}
    section = config(max_overlap=0.5, evaluation_files=[path])
    cleaned = clean(texts, section)
    assert cleaned.reasons == {"a/most": "overlap_with_evaluation"}
    assert "a/some" in cleaned.kept


def test_document_that_overlaps_with_the_holdout_goes_and_the_holdout_stays(clean):
    shared = {f"long/{n:02}": " ".join(words(7_000 + n, 300)) for n in range(40)}
    parts = {f"part/{n:02}": overlapping(0.7, 200 + n, shared[f"long/{n:02}"]) for n in range(40)}
    cleaned = clean(shared | parts, config(max_overlap=0.5))
    held_out = cleaned.ids("holdout")
    overlap = {f"part/{key[5:]}" for key in held_out if key.startswith("long/")} - held_out
    assert overlap
    assert {key for key, reason in cleaned.reasons.items() if key.startswith("part/")} == overlap
    assert set(cleaned.reasons.values()) == {"overlap_with_holdout"}
    assert not held_out & cleaned.reasons.keys()


@pytest.mark.parametrize("own_words", [60, 900], ids=["short", "long"])
def test_formulas_of_many_documents_do_not_count(clean, question, tmp_path, own_words):
    """One document is mostly formula, and so are the others if they are short; only a sample of long ones is known."""
    path, text = question
    formula = " ".join(text.split()[:140])
    texts = fillers(30) | {f"a/{n:02}": formula + " " + " ".join(words(100 + n, own_words)) for n in range(1, 20)}
    texts["a/brief"] = formula + " " + " ".join(words(100, 60))
    section = config(max_overlap=0.5, evaluation_files=[path])
    assert clean(texts, section).reasons == {}
    few = {key: value for key, value in texts.items() if key != "a/19"}
    cleaned = clean(few, section, store=Store(tmp_path / "few", "tests"))
    mostly = {key for key in few if key.startswith("a/") and (own_words == 60 or key == "a/brief")}
    assert cleaned.reasons.keys() == mostly - cleaned.ids("holdout")
    assert "a/brief" in cleaned.reasons


def test_long_documents_are_measured_by_a_sample(clean, tmp_path):
    text = " ".join(words(8_000, 6_000))
    path = tmp_path / "book.txt"
    path.write_text(text)
    halves = {
        "a/more": " ".join(text.split()[:3_600] + words(1, 2_400)),
        "a/less": " ".join(text.split()[:2_400] + words(2, 3_600)),
    }
    cleaned = clean(fillers(40) | halves, config(max_overlap=0.5, evaluation_files=[str(path)]))
    assert cleaned.reasons.keys() == {"a/more"}


def test_changed_evaluation_file_cleans_again(clean, question, tmp_path):
    section = config(max_overlap=0.5, evaluation_files=[question[0]])
    clean(fillers(20), section)
    assert clean(fillers(20), section).manifest.reused
    (tmp_path / "questions.jsonl").write_text('{"question": "another"}\n')
    assert not clean(fillers(20), section).manifest.reused


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("broken.jsonl", '{"a": "b"}\n{"a": ', "line 2: it is no valid JSON"),
        ("table.csv", "a,b", "is none of .jsonl .txt .md"),
        ("missing.txt", None, "no file matches"),
    ],
)
def test_evaluation_file_that_cannot_be_read_is_refused(clean, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(SourceError, match=message):
        clean(fillers(20), config(evaluation_files=[str(tmp_path / name)]))


def test_order_of_words_counts(clean, question):
    path, text = question
    shuffled = text.split()
    random.Random(1).shuffle(shuffled)
    section = config(max_overlap=0.5, evaluation_files=[path])
    assert clean(fillers(20) | {"a/b": " ".join(shuffled)}, section).reasons == {}


def test_evaluation_file_in_another_unicode_form_is_found(clean, tmp_path):
    text = " ".join(f"{word}ü" for word in words(9_000, 200))
    path = tmp_path / "decomposed.jsonl"
    line = json.dumps({"question": unicodedata.normalize("NFD", text), "half": "\ud800"})
    path.write_text(line + "\n")
    section = config(max_overlap=0.5, evaluation_files=[str(path)])
    assert clean(fillers(20) | {"a/b": text}, section).reasons == {"a/b": "overlap_with_evaluation"}


def test_nothing_left_to_train_on_is_refused(clean, tmp_path):
    texts = fillers(20)
    (tmp_path / "all.txt").write_text("\n".join(texts.values()))
    with pytest.raises(CorpusTooSmallError, match="every training document overlaps"):
        clean(texts, config(max_overlap=0.5, evaluation_files=[str(tmp_path / "all.txt")]))


@pytest.mark.parametrize("more", ["", " one word more"], ids=["exact", "near"])
def test_copy_of_an_overlapping_document_goes_for_the_same_reason(clean, question, more):
    path, text = question
    copies = {f"{source}/{n}": text + more * n for source in "abcdefgh" for n in range(2)}
    for source in "abcdefgh":  # each alone: some clusters are held out, the others are for training
        texts = fillers(30) | {key: value for key, value in copies.items() if key.startswith(source)}
        cleaned = clean(texts, config(max_overlap=0.5, evaluation_files=[path]))
        kept = {row["document_id"]: row["kept_document_id"] for row in cleaned.rows("removed")}
        if f"{source}/0" in kept:
            assert kept == {f"{source}/0": None, f"{source}/1": None}
            assert set(cleaned.reasons.values()) == {"overlap_with_evaluation"}
            assert {row["step"] for row in cleaned.rows("removed")} == {"decontamination"}
            return
        assert kept == {f"{source}/1": f"{source}/0"}
    raise AssertionError("no cluster was for training")
