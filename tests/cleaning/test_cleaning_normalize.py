import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cleaned import NORMALIZE_ALL, config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from similar_texts import fillers

from minimind.cleaning.database import connect, make_text_table, numbered_files
from minimind.cleaning.normalize import add_normalizing_functions
from minimind.cleaning.parameters import sql_parameters
from minimind.cleaning.parts import TEXTS

CORPUS_FILE = "documents-00000.parquet"

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
    ("fÃ¼r, fÃƒÂ¼r, donâ€™t, â‚¬, Â§\u00a01", "für, für, don’t, €, § 1"),
    ("ＬＯＵＤ “ﬁ” naïve Ångström „Fuß“ Ä“", "ＬＯＵＤ “ﬁ” naïve Ångström „Fuß“ Ä“"),
    ("&#8220;AT&amp;amp;T&#8221; &lt; &#167;&nbsp;5", "“AT&T” < § 5"),
    ("&lt;a href=x> ``&gt;`` &c; &T; R&D; &#xxx;", "&lt;a href=x> ``&gt;`` &c; &T; R&D; &#xxx;"),
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
    schema = pa.schema([("text_key", pa.string()), ("text", pa.string())])

    def run(texts):
        rows = [{"text_key": f"{n:04}", "text": text} for n, text in enumerate(texts)]
        with connect(working, threads=1) as connection:
            connection.register("raw_texts", pa.Table.from_pylist(rows, schema=schema))
            add_normalizing_functions(connection)
            query = dict(numbered_files("part"))["texts"]
            make_text_table(connection, "texts", query, sql_parameters(config()), working / "texts.parquet", TEXTS)
            return [row[0] for row in connection.execute("select text from texts order by text_key").fetchall()]

    return run


odd_characters = st.sampled_from(
    " \t\n\r\x00\x07\x0b\x0c\x80\x85\xad\u00a0\u0301\u0303\u0327\u200b\u2028\u2000\ufeffaeA\u1100\u1161ÃÂ¼©â€œ&;<"
)
odd_texts = st.text(st.one_of(odd_characters, st.characters(exclude_categories=["Cs"])), max_size=40)
odd_lines = st.sampled_from(
    [
        *("---", "a: b", "Title: c", "Author: d", "Status: e", "m00001", "adb46e47-e013-4a89-bf0e-00e3a3ab6218"),
        *("3", "4", "Page 4", "Page 5 of 6", "- 7 -", "\f", "", "", "# f", "1.  g", "```", "&amp;lt; fÃ¼r"),
        *(
            "    hanging " + "h" * 50,
            "i" * 60,
            "j " * 30,
            "kk-",
            "ll und mm " * 6,
            "words " * 11,
            "more " * 12 + "end-",
        ),
    ]
)
line_texts = st.lists(odd_lines, max_size=30).map("\n".join)
texts = st.lists(st.one_of(odd_texts, line_texts), max_size=30)


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


def test_every_switch_can_be_off(clean):
    text = "---\nTitle: a\n---\n\nfÃ¼r &amp;\n\nPage 1 of 2\n\n" + "\n".join(["words and words " * 4 + "end"] * 8)
    off = dict.fromkeys(NORMALIZE_ALL, False)
    assert clean(fillers(10) | {"odd/a": text}, config(normalize=off)).kept["odd/a"] == text


def test_raw_text_is_reachable_from_the_clean_one(clean, make_corpus):
    raw = fillers(10) | {"odd/a": "---\nTitle: a\n---\nfÃ¼r"}
    kept = clean(raw).kept
    corpus = {row["document_id"]: row["text"] for row in pq.read_table(make_corpus(raw).file(CORPUS_FILE)).to_pylist()}
    assert kept.keys() == corpus.keys()
    assert (corpus["odd/a"], kept["odd/a"]) == (raw["odd/a"], "für")


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
