import random
import time

import pytest
from cleaned import config
from similar_texts import all_pairs, fillers, random_words, varied

from minimind.cleaning import duplicates
from minimind.errors import SourceError


def family_texts(seed: int, families: int, members: int, words: int) -> dict[str, str]:
    """Families of near-copies that grow less and less similar, and documents that stand alone."""
    chance = random.Random(seed)
    texts = {}
    for family in range(families):
        base = random_words(1000 * seed + family, words).split()
        for member in range(members):
            changes = chance.randrange(1 + member * words // 40)
            texts[f"f{chance.randrange(3)}/{family:02}-{member:02}"] = varied(base, chance.randrange(10**9), changes)
    return texts | fillers(10)


def kept_in_order(texts: dict[str, str], pairs: dict[tuple[str, str], float], max_jaccard: float) -> set[str]:
    """Brute force: documents in order of their ids, each kept unless a kept one is too similar."""
    kept: list[str] = []
    for key in sorted(texts):
        if all(pairs.get((earlier, key), 0) < max_jaccard for earlier in kept):
            kept.append(key)
    return set(kept)


@pytest.mark.parametrize(
    ("seed", "shingle_words", "words"), [(1, 5, 200), (2, 3, 60), (3, 1, 40), (4, 2, 12), (5, 4, 25)]
)
def test_near_duplicates_are_those_of_all_pairs(clean, seed, shingle_words, words):
    texts = family_texts(seed, families=12, members=12, words=words)
    cleaned = clean(texts, config(shingle_words=shingle_words))
    distinct = {key: text for key, text in texts.items() if cleaned.reasons.get(key) != "exact_duplicate"}
    expected = all_pairs(distinct, shingle_words)
    assert len(expected) > 25
    assert cleaned.pairs == expected
    assert set(cleaned.kept) == kept_in_order(distinct, expected, 0.8)


@pytest.mark.parametrize(("seed", "rounds"), [(11, 8), (12, 8), (12, 1)])
def test_removed_documents_resemble_a_kept_one(clean, monkeypatch, seed, rounds):
    """Even where the rounds end before all pairs are compared, of which the first has one or two for each document."""
    monkeypatch.setattr(duplicates, "MAX_ROUNDS", rounds)
    monkeypatch.setattr(duplicates, "PARTNERS", 64 if rounds == 8 else 1)
    texts = family_texts(seed, families=6, members=30, words=80)
    cleaned = clean(texts, config(max_jaccard=0.75))
    assert (all_pairs(cleaned.kept, 5).keys() <= cleaned.pairs.keys()) == (rounds == 8)
    removed = [row for row in cleaned.rows("removed") if row["step"] == "near_duplicates"]
    assert len(removed) > 12
    for row in removed:
        assert row["kept_document_id"] in cleaned.kept
        assert cleaned.pairs[tuple(sorted((row["document_id"], row["kept_document_id"])))] >= 0.75


def test_chain_removes_only_what_resembles_a_kept_document(clean):
    words = random_words(7, 120).split()
    chain = {f"chain/{n}": " ".join(words[6 * n : 6 * n + 80]) for n in range(5)}  # each overlaps the next ones
    cleaned = clean(chain | fillers(10))
    assert [key for key in chain if key in cleaned.kept] == ["chain/0", "chain/2", "chain/4"]
    assert cleaned.pairs[("chain/0", "chain/1")] >= 0.8 > cleaned.pairs.get(("chain/0", "chain/2"), 0)


def test_newest_date_survives_then_smallest_id(clean):
    base = random_words(8, 100).split()
    texts = {f"{name}/{n}": varied(base, n, 1) for n, name in enumerate("abcd")} | fillers(10)
    assert survivors(clean(texts)) == {"a/0"}
    assert survivors(clean(texts, dates={"c/2": "2021-05-01"})) == {"c/2"}
    assert survivors(clean(texts, dates={"b/1": "2023-01-02", "c/2": "2023-01-10", "d/3": "2022"})) == {"c/2"}
    assert survivors(clean(texts, dates={"c/2": "2023-01-02", "b/1": "2023-01-02", "d/3": "last week"})) == {"b/1"}


def survivors(cleaned):
    return {key for key in cleaned.kept if not key.startswith("filler/")}


def test_exact_copies_are_found_whatever_their_length_and_layout(clean):
    texts = {
        "a/1": "short",
        "a/2": "short ",
        "a/3": "Short",
        "b/1": "two\r\nlines",
        "b/2": "two\nlines\n\n",
        "b/3": "2",
    }
    cleaned = clean(texts | fillers(10), dates={"b/2": "2020-01-01"})
    removed = {row["document_id"]: (row["step"], row["kept_document_id"]) for row in cleaned.rows("removed")}
    assert removed == {"a/2": ("exact_duplicates", "a/1"), "b/1": ("exact_duplicates", "b/2")}


def test_copy_of_a_near_duplicate_names_the_document_that_is_kept(clean):
    base = random_words(9, 100)
    cleaned = clean(fillers(10) | {"a/1": base, "a/2": base + " tail", "a/3": base + " tail"})
    kept = {row["document_id"]: row["kept_document_id"] for row in cleaned.rows("removed")}
    assert kept == {"a/2": "a/1", "a/3": "a/1"}


def test_document_of_low_quality_displaces_no_good_one(clean):
    base = random_words(10, 60)
    texts = {"a/1": base + " ...", "a/2": base + " and"}
    cleaned = clean(texts | fillers(10), config(quality={"max_symbol_word_ratio": 0}))
    assert cleaned.reasons == {"a/1": "max_symbol_word_ratio"}


def test_case_and_punctuation_hide_no_near_duplicate(clean):
    base = random_words(11, 60)
    texts = {"a/1": base, "a/2": base.upper().replace(" ", ", –\n")}
    assert clean(texts | fillers(10), config(shingle_words=2)).kept.keys() & texts.keys() == {"a/1"}


def test_thousands_of_copies_do_not_explode(clean):
    base = random_words(12, 60).split()
    texts = {f"same/{n:05}": " ".join(base) for n in range(10_000)}
    texts |= {f"similar/{n:05}": f"{' '.join(base)} {' '.join(base[: n % 5])} no {n}" for n in range(10_000)}
    started = time.process_time()
    cleaned = clean(texts | fillers(10))
    assert time.process_time() - started < 30
    assert cleaned.kept.keys() - fillers(10).keys() == {"same/00000"}
    assert len(cleaned.pairs) < 1_000_000


def test_large_family_of_little_similarity_is_compared_in_full(clean):
    base = random_words(13, 150).split()
    texts = {f"a/{n:03}": varied(base, n, 6) for n in range(400)}  # more than a round compares; J of about 0.6 to 0.9
    cleaned = clean(texts | fillers(10), config(shingle_words=2))
    pairs = all_pairs(cleaned.kept, 2)
    assert not [pair for pair, jaccard in pairs.items() if jaccard >= 0.8]
    assert pairs.keys() <= cleaned.pairs.keys()


def test_document_that_resembles_a_kept_one_is_a_version_of_it(clean):
    base = random_words(50, 200).split()
    texts = fillers(20) | {"a/1": " ".join(base), "a/2": varied(base, 1, 6), "a/3": varied(base, 2, 1)}
    pairs = all_pairs(texts, 5)
    assert 0.7 <= pairs["a/1", "a/2"] < 0.8 <= pairs["a/1", "a/3"]
    cleaned = clean(texts)
    metadata = {
        row["document_id"]: dict(row["metadata"]) for split in ("train", "holdout") for row in cleaned.rows(split)
    }
    assert cleaned.reasons == {"a/3": "near_duplicate"}
    assert metadata["a/2"] == {"version_of": "a/1"}
    assert metadata["a/1"] == {}


def test_aggressive_removes_what_the_default_tags(clean):
    base = random_words(50, 200).split()
    texts = fillers(20) | {"a/1": " ".join(base), "a/2": varied(base, 1, 6)}
    assert clean(texts, config(near_duplicates="default")).reasons == {}
    assert clean(texts, config(near_duplicates="aggressive")).reasons == {"a/2": "near_duplicate"}


def test_source_that_loses_more_than_permitted_stops_the_run(clean):
    text = random_words(60, 50)
    texts = fillers(20) | {f"copies/{n}": text for n in range(4)}
    with pytest.raises(
        SourceError, match=r"source copies lost 3 of 4 documents \(75%; exact_duplicate 3\).*permits 70%"
    ):
        clean(texts, config(max_removed_share=0.7))
    assert len(clean(texts, config(max_removed_share=0.75)).reasons) == 3
