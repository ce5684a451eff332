import json

import pytest
from cleaned import config
from similar_texts import fillers, random_words

from minimind.errors import LedgerError
from minimind.store import Store

A = fillers(40)
B = A | {f"later/{n:03}": text for n, text in enumerate(list(fillers(80).values())[40:])}


def records(store: Store):
    return [json.loads(line) for line in (store.root / "ledgers" / "tests.jsonl").read_text().splitlines()]


def test_repeating_a_run_changes_nothing(clean, store):
    first, again = clean(A), clean(A)
    assert again.manifest.reused
    assert again.manifest.fingerprint == first.manifest.fingerprint
    assert len(records(store)) == 1
    assert "previous_ledger" not in first.manifest.inputs


def test_next_corpus_goes_on_from_the_ledger_of_the_last(clean, store):
    first, second, again = clean(A), clean(B), clean(B)
    assert second.manifest.inputs["previous_ledger"] == first.manifest.files["ledger.parquet"].sha256
    assert second.ledger.items() >= first.ledger.items()
    assert again.manifest.reused
    assert [record["cleaning"] for record in records(store)] == [
        first.manifest.fingerprint,
        second.manifest.fingerprint,
    ]


def test_going_back_to_an_earlier_corpus_goes_on_from_the_newest_ledger(clean, store):
    clean(A)
    second, back = clean(B), clean(A)
    assert not back.manifest.reused
    assert back.manifest.inputs["previous_ledger"] == second.manifest.files["ledger.parquet"].sha256
    assert back.ledger == second.ledger
    assert clean(A).manifest.reused
    forth, back_again = clean(B), clean(A)
    assert forth.digests == second.digests
    assert back_again.manifest.reused
    assert clean(B).manifest.reused
    assert len({record["ledger"] for record in records(store)}) == 2


def test_run_with_other_sources_leaves_no_ledger_for_the_domains_own(clean, store):
    replaced = {f"local/{n:03}": text for n, text in enumerate(fillers(60).values())}
    first, other = clean(A), clean(replaced)
    assert "previous_ledger" not in other.manifest.inputs
    assert clean(A).manifest.reused
    assert clean(B).manifest.inputs["previous_ledger"] == first.manifest.files["ledger.parquet"].sha256
    assert clean(replaced).manifest.reused


def test_sources_that_were_cleaned_apart_keep_their_splits_when_they_come_together(clean, store):
    """The holdouts have grown to twelve each; by the share alone, all of these would be for training."""
    section = config(holdout_share=0.001, min_documents=12)
    others = {f"other/{n:03}": random_words(1_000 + n, 40) for n in range(60)}
    apart = [clean(texts, section) for texts in (B, others)]
    assert [len(each.ids("holdout")) for each in apart] == [12, 12]
    both = clean(B | others, section)
    assert both.ledger == apart[0].ledger | apart[1].ledger
    assert both.ids("holdout") == apart[0].ids("holdout") | apart[1].ids("holdout")
    assert clean(B | others, section).manifest.reused
    grown = clean(B | others | {"more/1": random_words(2_000, 40)}, section)
    assert grown.manifest.inputs["previous_ledger"] == both.manifest.files["ledger.parquet"].sha256


def test_records_of_earlier_versions_count_for_any_sources(clean, store):
    first = clean(A)
    [record] = records(store)
    del record["sources"]
    (store.root / "ledgers" / "tests.jsonl").write_text(json.dumps(record) + "\n")
    assert clean(B).manifest.inputs["previous_ledger"] == first.manifest.files["ledger.parquet"].sha256


def test_other_config_on_the_same_corpus_starts_from_the_same_ledger(clean):
    clean(A)
    inputs = clean(B).manifest.inputs
    assert clean(B, config(max_jaccard=0.9)).manifest.inputs == inputs


def test_ledger_outlives_the_build_that_left_it(clean, store, tmp_path):
    first = clean(A)
    first.manifest.path.rename(tmp_path / "pruned")
    assert clean(B).ledger.items() >= {"filler/000": "train"}.items()


def test_run_killed_before_its_record_is_recorded_by_the_next(clean, store):
    first = clean(A)
    (store.root / "ledgers" / "tests.jsonl").unlink()
    for ledger in (store.root / "ledgers").glob("*.parquet"):
        ledger.unlink()
    again = clean(A)
    assert again.manifest.reused
    assert [record["cleaning"] for record in records(store)] == [first.manifest.fingerprint]
    assert clean(B).manifest.inputs["previous_ledger"] == records(store)[0]["ledger"]


def test_domains_have_ledgers_of_their_own(clean, store):
    clean(A)
    assert "previous_ledger" not in clean(B, store=Store(store.root, "others")).manifest.inputs


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_lost_ledger_is_said(clean, store, damage):
    clean(A)
    [ledger] = (store.root / "ledgers").glob("*.parquet")
    if damage == "missing":
        ledger.unlink()
    else:
        ledger.write_bytes(b"PAR1")
    with pytest.raises(LedgerError, match=damage):
        clean(B)


def test_damaged_records_are_said(clean, store):
    clean(A)
    (store.root / "ledgers" / "tests.jsonl").write_text('{"corpus": 1}\n')
    with pytest.raises(LedgerError, match=r"tests\.jsonl is damaged"):
        clean(B)
