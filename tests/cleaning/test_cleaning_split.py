import hashlib
import random

import pytest
from cleaned import config
from similar_texts import all_pairs, fillers, random_words, varied

from minimind.config import SplitConfig
from minimind.errors import CorpusTooSmallError


def related(count: int, seed: int = 0) -> dict[str, str]:
    """Documents of which many resemble others, with J from 0.6 to 1."""
    chance = random.Random(f"related {seed}")
    texts: dict[str, str] = {}
    for n in range(count):
        base = random_words(chance.randrange(count // 4), 60).split()
        texts[f"s{chance.randrange(4)}/{n:04}"] = varied(base, chance.randrange(10**9), chance.randrange(6))
    return texts


def cross_split_pairs(cleaned, shingle_words):
    splits = {key: split for split in ("train", "holdout") for key in cleaned.ids(split)}
    pairs = all_pairs(cleaned.kept, shingle_words)
    assert pairs
    return [pair for pair in pairs if splits[pair[0]] != splits[pair[1]]]


def position(document_id: str) -> float:
    return int(hashlib.md5(document_id.encode()).hexdigest()[:16], 16) / 2**64


def test_no_holdout_document_resembles_a_train_document(clean):
    cleaned = clean(related(300), config(shingle_words=2, max_jaccard=0.9))
    assert len(cleaned.rows("holdout")) > 20
    assert cross_split_pairs(cleaned, 2) == []


def test_new_clusters_go_by_the_hash_of_their_smallest_id(clean):
    base = random_words(1, 60).split()
    texts = fillers(60) | {f"z/{n}": varied(base, n, 1) for n in range(3)}
    cleaned = clean(texts, config(holdout_share=0.1))
    expected = {key: "holdout" if position(key) <= 0.1 else "train" for key in fillers(60)}
    expected |= dict.fromkeys(("z/0", "z/1", "z/2"), "holdout" if position("z/0") <= 0.1 else "train")
    assert cleaned.ledger == expected
    assert cleaned.ids("holdout") == {key for key in cleaned.kept if expected[key] == "holdout"}


def test_documents_never_leave_the_holdout_as_the_corpus_grows(clean):
    texts = related(240)
    order = random.Random(5).sample(sorted(texts), len(texts))
    section = config(shingle_words=2, max_jaccard=0.9, holdout_share=0.1)
    held_out: set[str] = set()
    for size in (60, 120, 180, 240):
        cleaned = clean({key: texts[key] for key in order[:size]}, section)
        ledger = cleaned.ledger
        assert {ledger[key] for key in held_out} <= {"holdout"}
        assert not cleaned.ids("train") & held_out
        assert cross_split_pairs(cleaned, 2) == []
        held_out |= {key for key, split in ledger.items() if split == "holdout"}


def test_removed_copies_are_assigned_with_their_cluster(clean):
    base = random_words(2, 60)
    texts = {"b/1": base, "b/2": base, "b/3": base + " tail"}
    first = clean(texts | fillers(40), config())
    assert first.kept.keys() & texts.keys() == {"b/1"}
    assert len({first.ledger[key] for key in texts}) == 1
    second = clean({"b/3": texts["b/3"], "b/4": base} | fillers(40), config())  # a copy stands in for the one that left
    assert second.ledger["b/3"] == second.ledger["b/4"] == first.ledger["b/1"] == second.ledger["b/1"]


def test_cluster_that_touches_the_holdout_is_held_out(clean):
    words = random_words(3, 200).split()
    texts = fillers(40) | {"c/1": " ".join(words[:80]), "c/3": " ".join(words[24:104])}
    section = config(holdout_share=0.2)
    first = clean(texts, section)
    holdout = sorted(key for key, split in first.ledger.items() if split == "holdout")
    train = sorted(key for key, split in first.ledger.items() if split == "train")
    bridge = f"{texts[holdout[0]]} {texts[train[0]]}"
    copies = {"d/1": texts[holdout[0]] + " more", "d/2": texts[train[0]] + " more", "d/3": bridge}
    second = clean(texts | copies, section)
    assert (second.ledger["d/1"], second.ledger["d/2"]) == ("holdout", "train")


@pytest.mark.parametrize("max_jaccard", [1, 0.8])
def test_no_holdout_document_was_ever_a_training_document_whatever_joins_clusters_later(clean, max_jaccard):
    """A document that resembles one of each side joins their clusters; an earlier model has seen the one from train.

    The new ones are picked before those of the ledger, so that at 0.8 all of these are their near-duplicates.
    """
    words = random_words(3, 200).split()
    chance = random.Random(2)
    for _ in range(1000):  # names until they fall on either side
        held, trained = (f"c{chance.randrange(10**6)}/1" for _ in range(2))
        if position(held) < 0.1 and position(trained) > 0.5:
            break
    section = config(shingle_words=1, max_jaccard=max_jaccard)
    near, same = held.replace("/1", "/2"), held.replace("/1", "/3")
    texts = fillers(60) | {held: " ".join(words[:100]), trained: " ".join(words[18:118])}
    texts |= {near: " ".join([*words[:99], "another"]), same: texts[held]}
    bridge = {"bridge/1": " ".join(words[9:109]), "bridge/2": " ".join(words[9:109]), "a/copy": texts[held]}
    first = clean(texts, section)
    assert (first.ledger[held], first.ledger[trained]) == ("holdout", "train")
    assert held in first.ids("holdout")
    for month in range(2):  # the same a month later
        later = clean(texts | bridge | fillers(61 + month), section)
        assert later.ids("holdout").isdisjoint(key for key, split in first.ledger.items() if split == "train")
        assert held in later.ids("holdout")
        assert later.manifest.counts["holdout_bytes"] == sum(len(row["text"]) for row in later.rows("holdout"))
        kept_for = {row["document_id"]: (row["reason"], row["kept_document_id"]) for row in later.rows("removed")}
        assert kept_for[same] == ("exact_duplicate", held)
        assert kept_for.get(near) == (None if max_jaccard == 1 else ("near_duplicate", held))
        assert {later.reasons[key] for key in (trained, *bridge)} == {"like_train_and_holdout"}
        assert (later.ledger[held], later.ledger[trained]) == ("holdout", "train")
        assert not later.ledger.keys() & bridge.keys()


def test_ledger_remembers_documents_that_left(clean):
    texts = fillers(60)
    first = clean(texts)
    second = clean({key: text for key, text in texts.items() if key > "filler/020"})
    assert second.ledger == first.ledger
    assert clean(texts | {"new/1": "something new"}).ledger.items() >= first.ledger.items()


def test_holdout_grows_to_the_least_that_is_asked_for(clean):
    texts = fillers(100)
    by_position = sorted(texts, key=position)
    small = clean(texts, config(holdout_share=0.01, min_documents=12))
    assert small.ids("holdout") == set(by_position[:12])
    assert small.manifest.details["holdout_share"] == pytest.approx(position(by_position[11]))
    size = len(texts[by_position[0]])
    by_bytes = clean(texts, config(holdout_share=0.01, min_bytes=15 * size))
    assert by_bytes.ids("holdout") == set(by_position[:15])


def test_corpus_without_enough_for_a_holdout_is_refused(clean, store):
    with pytest.raises(CorpusTooSmallError) as error:
        clean(fillers(100) | {"a/1": "", "a/2": "x", "a/3": "x"}, config(holdout_share=0.1, min_documents=25))
    message = str(error.value)
    assert "would have 20 documents" in message
    assert "at least 25 documents" in message
    assert "of 103 documents 101 are left (removed: empty 1, exact_duplicate 1)" in message
    assert list((store.root / "cleaning").iterdir()) == []
    assert not (store.root / "ledgers").exists()


def test_corpus_of_nothing_is_refused(clean):
    with pytest.raises(CorpusTooSmallError, match="no documents"):
        clean({})


def test_corpus_of_which_nothing_is_left_is_refused(clean):
    with pytest.raises(CorpusTooSmallError, match=r"all 13 documents were removed .*min_words 11.*loosen"):
        clean(fillers(11) | {"a/1": "", "a/2": " "}, config(quality={"min_words": 100}))


def test_corpus_of_which_nothing_is_left_is_audited_where_no_document_is_asked_for(clean):
    """As `minimind explore` does, which shows the reasons."""
    split = SplitConfig.model_construct(holdout_share=0.2, min_documents=0, min_bytes=0)
    section = config(quality={"min_words": 100}).model_copy(update={"split": split})
    cleaned = clean(fillers(11) | {"a/1": "", "a/2": " "}, section)
    assert cleaned.rows("train") == cleaned.rows("holdout") == []
    assert (cleaned.manifest.counts["documents"], cleaned.manifest.counts["removed"]) == (0, 13)
    reasons = {row["reason"]: row["documents"] for row in cleaned.manifest.details["funnel"]}
    assert (reasons["min_words"], reasons["empty"]) == (11, 2)


def test_family_that_leaves_nothing_to_train_on_is_refused(clean):
    base = random_words(4, 100).split()
    chance = random.Random(1)
    for _ in range(1000):  # names until the whole family's hash falls into the holdout
        prefix = f"p{chance.randrange(10**6)}"
        if position(f"{prefix}/0") < 0.2:
            break
    with pytest.raises(CorpusTooSmallError, match="none is left to train on"):
        clean({f"{prefix}/{n}": varied(base, n, 1) for n in range(6)}, config(max_jaccard=1))
