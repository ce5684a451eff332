import shutil

import pyarrow.parquet as pq
import pytest
from cleaned import config
from similar_texts import fillers, formula_texts, random_words, varied

from minimind.cleaning import duplicates
from minimind.cleaning.build import CleaningInputs, build
from minimind.cleaning.known_texts import TEXT_LIBRARIES
from minimind.errors import SourceError
from minimind.store import Outcome, Recipe, Store

RULES = {"quality": {"min_words": 3}, "min_documents": 5, "min_bytes": 500}
SECTION = config(**RULES)


@pytest.fixture(scope="module")
def mixed():
    """A little of everything that a step removes."""
    base = random_words(1, 80).split()
    texts = fillers(150, words=30) | {f"near/{n:02}": varied(base, n, n % 7) for n in range(60)}
    texts |= {f"same/{n:02}": "one\r\nand the same" for n in range(5)} | {f"short/{n:02}": f"s {n}" for n in range(9)}
    return texts | {
        "empty/1": "\x00",
        "long/1": random_words(2, 5_000),
        "odd/1": "e\u0301\u00a0ü " + random_words(3, 20),
    }


def test_same_bytes_for_any_threads_row_groups_and_slices_of_bands(clean, mixed, tmp_path, monkeypatch):
    formula, texts = formula_texts()
    (tmp_path / "asked.txt").write_text(formula)
    section = config(**RULES, max_overlap=0.5, evaluation_files=[str(tmp_path / "asked.txt")])

    def cleaned(name, **layout):
        return clean(mixed | texts, section, store=Store(tmp_path / name, "tests"), **layout)

    whole = cleaned("whole", threads=1)
    assert len(whole.digests) == 5
    assert {"overlap_with_evaluation", "near_duplicate"} <= set(whole.reasons.values())
    for layout in ({"threads": 4}, {"threads": 4, "group_rows": 7}, {"threads": 2, "files": 3, "group_rows": 50}):
        assert cleaned(str(layout), **layout).digests == whole.digests
    monkeypatch.setattr(duplicates, "BINS_AT_ONCE", 1_000)  # two bands at a time
    assert cleaned("sliced").digests == whole.digests


def test_files_are_ordered_and_in_groups_that_later_stages_share_out(clean):
    cleaned = clean(fillers(5_000, words=6), config())
    ids = [row["document_id"] for row in cleaned.rows("train")]
    assert ids == sorted(ids)
    groups = pq.ParquetFile(cleaned.manifest.file("train.parquet")).metadata
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [2048, len(ids) - 2048]
    assert [row["document_id"] for row in cleaned.rows("ledger")] == sorted(cleaned.ledger)
    assert not list(cleaned.manifest.path.glob(".*"))


def test_every_document_is_kept_or_removed_once_and_counted(clean, mixed):
    cleaned = clean(mixed, SECTION)
    train, holdout, removed = cleaned.ids("train"), cleaned.ids("holdout"), cleaned.ids("removed")
    assert train | holdout | removed == set(mixed)
    counts, details = cleaned.manifest.counts, cleaned.manifest.details
    assert counts == {
        "documents_in": len(mixed),
        "bytes_in": sum(len(text.encode()) for text in mixed.values()),
        "documents": len(train) + len(holdout),
        "bytes": sum(len(text.encode()) for text in cleaned.kept.values()),
        "train_documents": len(train),
        "train_bytes": sum(len(cleaned.kept[key].encode()) for key in train),
        "holdout_documents": len(holdout),
        "holdout_bytes": sum(len(cleaned.kept[key].encode()) for key in holdout),
        "removed": len(removed),
    }
    assert len(train) + len(holdout) + len(removed) == len(mixed)
    funnel = details["funnel"]
    assert [(row["step"], row["reason"]) for row in funnel] == [
        ("normalize", "blanks_and_control_characters"),
        ("empty", "empty"),
        ("exact_duplicates", "exact_duplicate"),
        ("quality", "min_words"),
        ("near_duplicates", "near_duplicate"),
    ]
    assert [row["documents"] for row in funnel][:4] == [0, 1, 4 + 8, 9]
    assert sum(row["documents"] for row in funnel) == counts["removed"]
    assert counts["bytes_in"] - sum(row["bytes"] for row in funnel) == counts["bytes"]
    assert set(details["sources"]) == {"filler", "near", "same", "short", "empty", "long", "odd"}
    assert sum(source["bytes"] for source in details["sources"].values()) == counts["bytes"]
    assert sum(source["train_documents"] for source in details["sources"].values()) == counts["train_documents"]
    lengths = details["lengths"]
    assert [(row["min_chars"], row["max_chars"]) for row in lengths[:3]] == [(0, 0), (2, 3), (16, 31)]
    kept = [len(text) for text in cleaned.kept.values()]
    found = kept + [len(row["text"]) for row in cleaned.rows("removed")]
    for row in lengths:
        assert row["documents_in"] == sum(row["min_chars"] <= chars <= row["max_chars"] for chars in found)
        assert row["documents_kept"] == sum(row["min_chars"] <= chars <= row["max_chars"] for chars in kept)
    assert sum(row["documents_in"] for row in lengths) == len(mixed)


def test_fingerprint_knows_config_corpus_and_libraries_but_not_threads(clean):
    first = clean(fillers(20))
    assert clean(fillers(20), threads=1).manifest.reused
    assert not clean(fillers(20), config(max_jaccard=0.9)).manifest.reused
    assert set(first.manifest.libraries) == {*TEXT_LIBRARIES, "pyarrow"}
    assert {"cleaning/sql/part/1_texts.sql", "cleaning/sql/functions.sql"} <= set(first.manifest.code)
    assert "documents-00000.parquet" in first.manifest.inputs
    assert set(first.manifest.parents) == {"corpus"}


def test_progress_names_every_step(clean, tmp_path):
    steps = []
    store = Store(tmp_path / "store", "tests", lambda *step: steps.append(step))
    clean(fillers(20), store=store)
    assert {stage for stage, _, _, _ in steps} == {"cleaning"}
    done = [done for _, done, _, _ in steps]
    assert done == sorted(done)
    assert done[0] == 0
    assert done[-1] == steps[-1][2]
    assert {"texts", "candidates, round 1", "clusters"} <= {text for _, _, _, text in steps}


def test_id_that_stands_twice_is_refused(make_corpus, store):
    once = make_corpus(fillers(10))

    def write(folder):
        for part in ("documents-00000.parquet", "documents-00001.parquet"):
            shutil.copy(once.file("documents-00000.parquet"), folder / part)
        return Outcome({}, {"sources": {"filler": {}}})

    twice = store.build(Recipe("corpus", {}, {"texts": "twice"}, {}, {}), write)
    with pytest.raises(SourceError, match="filler/000 stands twice"):
        build(config(), CleaningInputs(twice), store)
