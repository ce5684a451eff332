"""Known texts that no corpus of the store has any more: counted, removed, and never missed."""

import shutil

from cleaned import config
from similar_texts import fillers, random_words, varied

from minimind.cleaning.forgotten_texts import forgotten_texts
from minimind.pruning import size_of
from minimind.store import Store


def similar(seed: int) -> dict[str, str]:
    first = random_words(1_000 + seed, 200)
    return {f"near/{seed}a": first, f"near/{seed}b": varied(first.split(), seed=1, changes=3)}


def shrunken(clean, store) -> None:
    """A store that has read 34 texts, of whose corpora only one of 22 is left."""
    clean(fillers(30) | similar(1) | similar(2))
    clean(fillers(20) | similar(1))


def test_texts_of_a_corpus_that_the_store_keeps_stay(clean, store):
    clean(fillers(30))
    assert forgotten_texts(store) == []
    assert forgotten_texts(store, remove=True) == []


def test_texts_that_left_the_corpus_go_and_the_others_are_not_read_again(clean, store, monkeypatch):
    shrunken(clean, store)
    [listed] = forgotten_texts(store)
    assert (listed.texts, listed.of) == (12, 34)
    before = size_of(listed.path)
    [removed] = forgotten_texts(store, remove=True)
    assert removed.bytes == before - size_of(listed.path) > 0
    assert forgotten_texts(store) == []
    read = []
    monkeypatch.setattr("minimind.cleaning.parts.read_part", lambda part, report: read.append(part))
    clean(fillers(20) | similar(1), config(max_removed_share=0.9))  # a value that reads no text again
    assert read == []


def test_cleaning_after_forgetting_gives_the_same_bytes(clean, store, tmp_path):
    shrunken(clean, store)
    untouched = Store(tmp_path / "untouched", store.domain)
    shutil.copytree(store.root, untouched.root)
    forgotten_texts(store, remove=True)
    texts = fillers(25) | similar(1) | similar(2)
    assert clean(texts).digests == clean(texts, store=untouched).digests


def test_texts_of_a_domain_without_a_corpus_all_go(clean, store):
    clean(fillers(20))
    shutil.rmtree(store.root / "corpus")
    [removed] = forgotten_texts(store, remove=True)
    assert (removed.texts, removed.of) == (20, 20)
    assert size_of(removed.path) == 0
