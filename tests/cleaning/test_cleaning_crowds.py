"""Crowds of copies and documents of unusual length cost time in proportion, and leave what they should."""

import random
import unicodedata

import pytest
from cleaned import config
from similar_texts import fillers, random_words


def identical(count: int) -> dict[str, str]:
    text = random_words(1, 300)
    return {f"copies/{number:06}": text for number in range(count)}


def near_identical(count: int) -> dict[str, str]:
    """Copies of one text of 300 words with one to three words exchanged: two of them have J above 0.8."""
    base = random_words(1, 300).split()
    texts = {}
    for number in range(count):
        chance, words = random.Random(number), list(base)
        for _ in range(chance.randrange(1, 4)):
            words[chance.randrange(len(words))] = f"x{chance.randrange(10**6)}"
        texts[f"copies/{number:06}"] = " ".join(words)
    return texts


def check_identical(clean, count):
    cleaned = clean(fillers(20) | identical(count))
    assert [key for key in cleaned.kept if key.startswith("copies/")] == ["copies/000000"]
    assert set(cleaned.reasons.values()) == {"exact_duplicate"}
    assert cleaned.manifest.counts["removed"] == count - 1


def check_near_identical(clean, count):
    """Few are kept; each removed one has a kept one with a verified similarity at or above the threshold."""
    cleaned = clean(fillers(20) | near_identical(count), config(max_jaccard=0.8))
    kept = {key for key in cleaned.kept if key.startswith("copies/")}
    assert 1 <= len(kept) < count / 20
    assert set(cleaned.reasons.values()) == {"near_duplicate"}
    pairs = cleaned.pairs
    for row in cleaned.rows("removed"):
        assert row["kept_document_id"] in kept
        pair = tuple(sorted((row["document_id"], row["kept_document_id"])))
        assert pairs[pair] >= 0.8


def test_identical_documents_leave_one(clean):
    check_identical(clean, 3_000)


def test_crowd_of_near_identical_documents_leaves_few(clean):
    check_near_identical(clean, 1_000)


@pytest.mark.parametrize("megabytes", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_documents_of_one_character_and_of_many_megabytes(clean, megabytes):
    chance = random.Random(1)
    words = [random_words(seed, 50) for seed in range(100)]
    long = "\n".join(words[chance.randrange(100)] for _ in range(megabytes * 1_000_000 // 350))
    assert len(long) >= megabytes * 999_000
    cleaned = clean(fillers(20) | {"a/short": "x", "a/long": long, "a/same": long + "\n"})
    assert cleaned.kept["a/short"] == "x"
    assert cleaned.kept["a/long"] == long
    assert cleaned.reasons == {"a/same": "exact_duplicate"}


@pytest.mark.timeout(60)
def test_texts_made_to_be_slow_are_not(clean):
    hostile = {
        "a/marks": "e" + "\u0301\u0316" * 50_000,
        "a/fields": "---\nspec: a\n" + "    - item\n" * 2_000,
        "a/letter": "Title: a\nAuthor: b\nStatus: c\nDate: d\n" + "    more\n" * 2_000 + "text",
    }
    cleaned = clean(fillers(20) | hostile)
    assert hostile.keys() <= cleaned.kept.keys()
    assert cleaned.kept["a/marks"] == unicodedata.normalize("NFC", hostile["a/marks"][:31])  # a letter, 30 marks


@pytest.mark.slow
def test_hundred_thousand_identical_documents_leave_one(clean):
    check_identical(clean, 100_000)


@pytest.mark.slow
def test_crowd_of_fifty_thousand_near_identical_documents_leaves_few(clean):
    check_near_identical(clean, 50_000)
