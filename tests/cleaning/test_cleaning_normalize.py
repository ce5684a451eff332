import unicodedata

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from similar_texts import fillers

from minimind.cleaning.database import connect, make_text_table, numbered_files
from minimind.cleaning.parts import LONG_ROWS

NORMALISED = [
    ("one\r\ntwo\rthree\n", "one\ntwo\nthree"),
    ("page one\x0cpage two\u2028three\x85four", "page one\npage two\nthree\nfour"),
    ("Cafe\u0301 \u212b", "Café Å"),
    ("NUL\x00, bell\x07, escape\x1b, delete\x7f and C1\x9d", "NUL, bell, escape, delete and C1"),
    ("e\x00\u0301", "é"),
    ("before NUL\x00after it", "before NULafter it"),
    ("\ufeffsoft\u00adhyphen, zero\u200bwidth, word\u2060joiner", "softhyphen, zerowidth, wordjoiner"),
    ("§\u00a01\u2009and\u202f2\u3000and\u20003", "§ 1 and 2 and 3"),
    ("blanks at ends  \t\nof lines \n", "blanks at ends\nof lines"),
    ("a\n\nb\n\n\nc\n\n\n\nd\n \n\t\n\u00a0\n\n\n\ne", "a\n\nb\n\n\nc\n\n\nd\n\n\ne"),
    ("\n\n  indented\n\tby a tab\n\n", "  indented\n\tby a tab"),
    ("½ ² ٣ ３ 1 234", "½ ² ٣ ３ 1 234"),
    ("a\u200db \U0001f469\u200d\U0001f469", "a\u200db \U0001f469\u200d\U0001f469"),
]


def test_text_is_normalised(clean):
    raw = {f"odd/{n:02}": text for n, (text, _) in enumerate(NORMALISED)}
    kept = clean(fillers(10) | raw).kept
    assert [kept[key] for key in raw] == [normalised for _, normalised in NORMALISED]


@pytest.fixture(scope="module")
def normalise(tmp_path_factory):
    """Runs the SQL file that normalises, alone."""
    working = tmp_path_factory.mktemp("working")
    schema = pa.schema([("place", pa.int64()), ("text_key", pa.string()), ("text", pa.string())])

    def run(texts):
        rows = [{"place": n, "text_key": f"{n:04}", "text": text} for n, text in enumerate(texts)]
        with connect(working, threads=1) as connection:
            connection.register("raw_texts", pa.Table.from_pylist(rows, schema=schema))
            query = dict(numbered_files("part"))["texts"]
            make_text_table(connection, "texts", query, {}, working / "texts.parquet", LONG_ROWS["texts"])
            return [row[0] for row in connection.execute("select text from texts order by text_key").fetchall()]

    return run


odd_characters = st.sampled_from(" \t\n\r\x00\x07\x0b\x0c\x85\u00a0\u0301\u0327\u200b\u2028\u2000\ufeffae\u1100\u1161")
texts = st.lists(st.text(st.one_of(odd_characters, st.characters(exclude_categories=["Cs"])), max_size=40), max_size=30)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts)
def test_normalising_twice_changes_nothing(normalise, texts):
    once = normalise(texts)
    assert normalise(once) == once
    for text in once:
        assert unicodedata.is_normalized("NFC", text)
        assert not any(unicodedata.category(c) == "Cc" for c in text if c not in "\n\t")
        assert "\n\n\n\n" not in text
        assert not any(line.endswith((" ", "\t")) for line in text.split("\n"))


def test_empty_documents_are_removed(clean):
    cleaned = clean(fillers(10) | {"odd/blank": " \n\t\u00a0\r\n\x00", "odd/empty": "", "odd/one": "1"})
    assert cleaned.reasons == {"odd/blank": "empty", "odd/empty": "empty"}
    assert {row["step"] for row in cleaned.rows("removed")} == {"empty"}


def test_other_columns_stay_as_they_are(clean):
    cleaned = clean(fillers(10), dates={"filler/003": "2024-05-01"})
    rows = {row["document_id"]: row for name in ("train", "holdout") for row in cleaned.rows(name)}
    assert rows["filler/003"]["metadata"] == [("date", "2024-05-01")]
    assert rows["filler/003"]["title"] == "Title of filler/003"
    assert rows["filler/003"]["license"] == "CC0-1.0"
    assert rows["filler/002"]["license"] is None
