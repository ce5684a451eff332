"""The compiled functions give what SQL and plain Python give."""

import unicodedata
from collections import Counter
from functools import reduce

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind.cleaning.database import connect, numbered_files, used_by
from minimind.cleaning.long_texts import add_search
from minimind.cleaning.normalize import add_normalizing_functions
from minimind.cleaning.parameters import sql_parameters
from minimind.cleaning.text_functions import character_classes, folded_letters, may_compose
from tests.cleaning.cleaned import config

WORDS = r"select regexp_extract_all(lower(text), '[\p{L}\p{N}_]+') from given"
TIDY = r"""
    select regexp_replace(
        trim(regexp_replace(
            regexp_replace(text, '[\x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]', ' ', 'g'),
            '[ \t]+([\n\f]|\z)', '\1', 'g'
        ), chr(10)),
        '\n{4,}', repeat(chr(10), 3), 'g'
    )
    from given
"""
MASK = 2**64 - 1

words = st.lists(st.sampled_from(["a", "b", "Ä", "ß", "İ", "Σ", "x_1", "7", "漢字", "𐐀", "e\u0301"]), max_size=40)
blanks = st.text(st.sampled_from(" \t\n\n\n\f\xa0\u2003xé漢"), max_size=30)
odd = st.text(
    st.one_of(st.sampled_from(" \n\r\x00\x85\xad\u0301\u200b\xa0ÃÂ¼&;\u1100\u1161"), st.characters()), max_size=30
)
texts = st.one_of(
    words.map(" ".join), words.map(", ".join), blanks, odd.map(lambda t: t.encode("utf-8", "replace").decode())
)


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Runs a query over the view `given` of some texts, and gives its first column."""
    with connect(tmp_path_factory.mktemp("working"), threads=1) as connection:
        add_normalizing_functions(connection)

        def run(query, texts, parameters=None):
            rows = pa.table({"text_key": [str(n) for n in range(len(texts))], "text": pa.array(texts, pa.string())})
            connection.register("given", rows)
            connection.register("raw_texts", rows)
            return [row[0] for row in connection.execute(query, parameters or {}).fetchall()]

        yield run


def hash_of(word: str) -> int:
    bits = 0xCBF29CE484222325
    for letter in word:
        bits = (bits ^ ord(letter)) * 0x100000001B3 & MASK
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 & MASK
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB & MASK
    return bits ^ bits >> 31


def rotated(bits: int, places: int) -> int:
    return (bits << places | bits >> 64 - places) & MASK


def runs_of(found: list[str], size: int) -> set[int]:
    hashes = [hash_of(word) for word in found]
    return {
        reduce(lambda run, place: run ^ rotated(hashes[first + place], place), range(size), 0)
        for first in range(len(hashes) - size + 1)
    }


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=4), st.integers(1, 5))
def test_runs_and_signatures_are_those_of_the_words_that_sql_finds(ask, given_texts, size):
    expected = [runs_of(found, size) for found in ask(WORDS, given_texts)]
    assert [set(runs) for runs in ask(f"select run_set_of(text, {size}, 1000) from given", given_texts)] == expected
    assert ask(f"select run_set_of(text, {size}, 1000) from given", given_texts) == [sorted(each) for each in expected]
    for signature, runs in zip(
        ask(f"select signature_of(text, {size}, 16) from given", given_texts), expected, strict=True
    ):
        lowest: dict[int, int] = {}
        for run in runs:
            lowest[run % 16] = min(run, lowest.get(run % 16, MASK))
        assert dict(zip(signature["bins"], signature["lows"], strict=True)) == lowest
        assert signature["bins"] == sorted(lowest)


def test_of_a_long_text_the_lowest_eighth_of_its_runs_is_taken(ask):
    found = [f"w{n}" for n in range(2_000)]
    [runs] = ask("select run_set_of(text, 13, 2000) from given", [" ".join(found)])
    assert set(runs) == {run for run in runs_of(found, 13) if run < 1 << 61}
    assert 150 < len(runs) < 350
    [all_runs] = ask("select run_set_of(text, 13, 2001) from given", [" ".join(found)])
    assert set(all_runs) == runs_of(found, 13)


def test_search_finds_the_wanted_runs_of_a_long_text_beyond_its_sample(tmp_path):
    found = [f"w{n}" for n in range(2_000)]
    beyond = {run for run in runs_of(found, 13) if run >= 1 << 61}
    wanted = set(sorted(beyond)[::3]) | {1, 1 << 63}
    with connect(tmp_path, threads=1) as connection:
        add_search(connection, np.array(sorted(wanted), np.uint64))
        query = "select long_text_runs(text, 13, 2000) from (values (1, $long), (2, $short)) given (n, text) order by n"
        asked = {"long": " ".join(found), "short": " ".join(found[1:])}
        (long,), (short,) = connection.execute(query, asked).fetchall()
    assert beyond & wanted <= set(long) <= beyond
    assert len(long) < len(beyond & wanted) + 0.1 * len(beyond)
    assert short == []


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=4))
def test_repetition_is_counted_as_by_hand(ask, given_texts):
    for text, found in zip(given_texts, ask("select repetition_of(text) from given", given_texts), strict=True):
        split = [word for word in text.replace("\n", " ").replace("\t", " ").split(" ") if word]
        runs = {n: Counter(tuple(split[i : i + n]) for i in range(len(split) - n + 1)) for n in range(2, 12)}
        for n in (2, 3, 4):
            top = max(((count, len(" ".join(run))) for run, count in runs[n].items()), default=(0, 0))
            assert found[f"top_{n}_gram_chars"] == (top[0] * top[1] if top[0] > 1 else 0)
        for n in range(5, 11):
            repeats = sum((count - 1) * len("".join(run)) for run, count in runs[n].items())
            shared = sum((count - 1) * len("".join(run[1:-1])) for run, count in runs[n + 1].items())
            assert found[f"duplicate_{n}_gram_chars"] == repeats - shared


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=4))
def test_blanks_are_tidied_as_by_regular_expressions(ask, given_texts):
    assert ask("select with_tidy_blanks(text) from given", given_texts) == ask(TIDY, given_texts)


@settings(deadline=None, max_examples=12)
@given(st.lists(texts, min_size=10, max_size=30))
def test_a_text_that_looks_clean_would_not_have_been_changed(ask, given_texts):
    query = dict(numbered_files("part"))["texts"]
    assert query.count("flags_of(text)") == 1
    parameters = used_by(query, sql_parameters(config()))
    in_order = "select text from ({}) order by text_key::int"
    everything = query.replace("flags_of(text)", "255::uinteger")
    assert ask(in_order.format(query), given_texts, parameters) == ask(
        in_order.format(everything), given_texts, parameters
    )


def test_letters_and_their_lower_case_are_those_of_sql(ask):
    letters = [chr(point) for point in range(1, 0x40000) if not 0xD800 <= point < 0xE000]
    beyond = [chr(point) for point in range(0x40000, 0x110000, 7)]
    [found] = ask(WORDS, [" ".join([*letters, *beyond])])
    table = folded_letters()
    assert [ord(word) for word in found] == [table[ord(letter)] for letter in letters if table[ord(letter)]]


def test_every_character_that_composes_is_looked_at():
    classes = character_classes()
    for point in range(0x30000):
        character = chr(point)
        if unicodedata.combining(character) or not unicodedata.is_normalized("NFC", character):
            assert classes[point] & 2, hex(point)
    # the second halves of all pairs that compose
    for point in range(0x30000):
        halves = unicodedata.decomposition(chr(point)).split()
        if len(halves) == 2 and not halves[0].startswith("<"):
            assert may_compose(chr(int(halves[1], 16))), hex(point)
    assert not np.any(classes[:0x300] & 2)
