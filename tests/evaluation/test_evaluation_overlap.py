import json
import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minimind.errors import StoreDamagedError
from minimind.evaluation import overlap
from minimind.evaluation.holdout import HoldoutDocument
from minimind.evaluation.overlap import make_filter, overlaps, read_filter


def words(seed: int, count: int) -> list[str]:
    chance = random.Random(seed)
    return [f"w{chance.randrange(50_000)}" for _ in range(count)]


def text(seed: int, count: int) -> str:
    return " ".join(words(seed, count))


def train_file(folder, texts):
    path = folder / "train.parquet"
    rows = {"document_id": [f"a/{n}" for n in range(len(texts))], "source": ["a"] * len(texts), "text": texts}
    pq.write_table(pa.table(rows), path)
    return path


def documents(*texts: str) -> list[HoldoutDocument]:
    return [HoldoutDocument(f"h/{n}", "h", len(text.encode()), text) for n, text in enumerate(texts)]


def test_planted_leaks_are_found_and_nothing_else(tmp_path):
    """A copy in other case and marks, one inside a long document, one half copied, and text that was not seen."""
    leaked, inside = text(1, 400), text(2, 300)
    half = words(3, 400)
    train = [leaked, text(4, 3_000) + " " + inside + " " + text(5, 3_000), " ".join(half[:200])]
    train += [text(100 + number, 500) for number in range(40)]
    seen = make_filter(train_file(tmp_path, train))
    shouted = leaked.upper().replace(" ", ", ")
    shares = overlaps(documents(shouted, inside, " ".join(half), text(6, 2_000), "short", ""), seen)
    assert shares[:2].tolist() == [1, 1]
    assert 0.35 < shares[2] < 0.6
    assert shares[3] < 0.02
    assert shares[4:].tolist() == [0, 0]


def test_formulas_of_many_documents_are_no_leak(tmp_path):
    formula = text(7, 200)
    train = [f"{formula} {text(200 + number, 30)}" for number in range(25)]
    seen = make_filter(train_file(tmp_path, train))
    assert overlaps(documents(formula + " " + text(8, 200)), seen)[0] < 0.05
    few = make_filter(train_file(tmp_path, train[:5]))
    assert overlaps(documents(formula + " " + text(8, 200)), few)[0] > 0.3
    crowd = documents(*[f"{formula} {text(300 + number, 30)}" for number in range(20)])
    assert overlaps(crowd, few).max() < 0.2


def test_file_is_small_and_says_the_same(tmp_path):
    """1.2 MB of text: below 0.12 MB, as 10 MB have to stay below 1 MB."""
    train = [text(400 + number, 1_000) for number in range(200)]
    seen = make_filter(train_file(tmp_path, train))
    seen.write(tmp_path / overlap.FILE_NAME)
    assert (tmp_path / overlap.FILE_NAME).stat().st_size < 0.1 * sum(map(len, train))
    read = read_filter(tmp_path / overlap.FILE_NAME)
    holdout = documents(train[3], train[5][:2_000] + text(9, 300), text(10, 500))
    np.testing.assert_array_equal(overlaps(holdout, read), overlaps(holdout, seen))


def test_text_of_the_models_before_counts_as_seen_and_travels_on(tmp_path):
    """Three generations of very different size, each sampled and cut in its own way."""
    texts = [[text(1000 + number, 300) for number in range(count)] for count in (200, 3, 40)]
    texts = [[f"{one} of {generation}" for one in part] for generation, part in enumerate(texts)]
    first, second, third = (make_filter(train_file(tmp_path, part)) for part in texts)
    line = third.after(second.after(first))
    line.write(tmp_path / overlap.FILE_NAME)
    read = read_filter(tmp_path / overlap.FILE_NAME)
    assert len(read.before) == 2
    holdout = documents(texts[0][150], text(1, 300) + " " + texts[1][2], text(2, 3_000))
    shares = overlaps(holdout, read)
    assert shares[0] == 1
    assert 0.4 < shares[1] < 0.6
    assert shares[2] < 0.02
    np.testing.assert_array_equal(shares, overlaps(holdout, line))
    assert overlaps(holdout, third)[0] < 0.5
    assert third.after(read).before == read.before  # the same text again


def test_file_of_an_earlier_version_is_read(tmp_path):
    seen = make_filter(train_file(tmp_path, [text(1, 300)]))
    about = {"sampled_log2": seen.sampled_log2, "bits": seen.bits, "gram_words": 13}
    table = pa.table({"place": seen.grams.astype(np.int64), "common": [False] * len(seen.grams)})
    pq.write_table(table.replace_schema_metadata({"minimind": json.dumps(about)}), tmp_path / "old.parquet")
    assert overlaps(documents(text(1, 300)), read_filter(tmp_path / "old.parquet")).tolist() == [1]


def test_at_most_one_gram_in_256_of_other_text_is_taken_for_a_seen_one(tmp_path):
    seen = make_filter(train_file(tmp_path, [text(number, 2_000) for number in range(500, 550)]))
    shares = overlaps(documents(*[text(number, 20_000) for number in range(600, 605)]), seen)
    assert 0 < shares.mean() < 1 / 256


def test_more_text_is_sampled_more_coarsely(tmp_path, monkeypatch):
    path = train_file(tmp_path, [text(number, 1_000) for number in range(700, 720)])
    whole = make_filter(path)
    monkeypatch.setattr(overlap, "MAX_GRAMS", len(whole.grams) // 3)
    monkeypatch.setattr(overlap, "TEXTS_AT_ONCE", 3)
    coarse = make_filter(path)
    assert (whole.sampled_log2, coarse.sampled_log2) == (2, 4)
    assert len(coarse.grams) <= len(whole.grams) // 3
    assert overlaps(documents(text(705, 1_000), text(1, 1_000)), coarse).tolist() == [1, pytest.approx(0, abs=0.02)]


def test_filter_is_that_of_the_plain_way_whenever_grams_are_merged(tmp_path, monkeypatch):
    """Counted document by document; formulas in many of them, and so many grams that fewer are sampled in the end."""
    formula = text(7, 100)
    train = [f"{formula} {text(800 + number, 300)}" for number in range(30)] + ["short", ""]
    path = train_file(tmp_path, train)
    monkeypatch.setattr(overlap, "TEXTS_AT_ONCE", 3)
    monkeypatch.setattr(overlap, "MAX_GRAMS", 1_000)
    counts = Counter(gram for batch in overlap.document_grams(train) for grams in batch for gram in grams.tolist())
    sampled_log2 = next(log2 for log2 in range(2, 64) if sum(gram < 2 ** (64 - log2) for gram in counts) <= 1_000)
    kept = {gram: count for gram, count in counts.items() if gram < 2 ** (64 - sampled_log2)}
    bits = 8 + len(kept).bit_length()
    places = [
        sorted({(gram << sampled_log2) % 2**64 >> (64 - bits) for gram, count in kept.items() if (count >= 20) == many})
        for many in (False, True)
    ]
    for merged in (1, 500, 2_000_000):
        monkeypatch.setattr(overlap, "MERGED_GRAMS", merged)
        seen = make_filter(path)
        assert (seen.sampled_log2, seen.bits) == (sampled_log2, bits)
        assert [seen.grams.tolist(), seen.common.tolist()] == places
    assert places[1]


def test_grams_are_merged_in_growing_parts_and_not_with_every_batch(tmp_path, monkeypatch):
    path = train_file(tmp_path, [text(number, 100) for number in range(900, 964)])
    merges, added = [], overlap._added
    monkeypatch.setattr(overlap, "_added", lambda *parts: merges.append(len(parts[2])) or added(*parts))
    monkeypatch.setattr(overlap, "TEXTS_AT_ONCE", 1)
    monkeypatch.setattr(overlap, "MERGED_GRAMS", 50)
    make_filter(path)
    assert 2 < len(merges) < 10


def test_damaged_file_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    pq.write_table(pa.table({"place": [1]}), tmp_path / "b.parquet")
    for name in ("a", "b"):
        with pytest.raises(StoreDamagedError, match=f"{name}.parquet is no file of 13-grams"):
            read_filter(tmp_path / f"{name}.parquet")
