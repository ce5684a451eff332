import sys

from hypothesis import given
from hypothesis import strategies as st

from minimind.audit.difference import WINDOW_CHARS, Piece, difference
from minimind.audit.visible import on_one_line, visible, visible_change

TEXTS = st.lists(st.sampled_from(["law", "the", "of", "§", "7", " ", "  ", "\n", ".", "é"]), max_size=40).map("".join)


@given(TEXTS, TEXTS)
def test_pieces_of_short_texts_put_both_together_again(before, after):
    pieces = difference(before, after, max_chars=10_000)
    if before == after:
        assert pieces == []
    elif "skipped" not in {piece.kind for piece in pieces}:
        assert "".join(piece.text for piece in pieces if piece.kind in ("same", "removed")) == before
        assert "".join(piece.text for piece in pieces if piece.kind in ("same", "added")) == after


def test_one_changed_word_is_one_change():
    assert difference("may appeal to the court", "must appeal to the court") == [
        Piece("removed", "may"),
        Piece("added", "must"),
        Piece("same", " appeal to the court"),
    ]


def test_blank_space_is_compared_apart_from_words():
    assert difference("one  two \nthree", "one two\nthree") == [
        Piece("same", "one"),
        Piece("removed", " "),
        Piece("same", " two"),
        Piece("removed", " "),
        Piece("same", "\nthree"),
    ]


def test_what_is_alike_far_from_a_change_is_left_out():
    words = [f"word{n}" for n in range(2_000)]
    other = [*words[:1_000], "inserted", *words[1_000:]]
    pieces = difference(" ".join(words), " ".join(other))
    assert Piece("added", "inserted ") in pieces or Piece("added", "inserted") in pieces
    assert pieces[0].kind == pieces[-1].kind == "skipped"
    assert sum(len(piece.text) for piece in pieces) < 400


def test_long_and_hostile_texts_take_no_more_steps_than_a_window():
    for before, after in (
        ("a " * 1_000_000, "b a " * 500_000),
        ("x" * 5_000_000, "x" * 5_000_000 + "y"),
        ("".join(chr(97 + n * n % 7) + " " for n in range(9_000)), "".join(chr(97 + n % 3) for n in range(90_000))),
    ):
        assert steps_of_difference(before, after) < 20 * WINDOW_CHARS


def steps_of_difference(before: str, after: str) -> int:
    """How many lines of Python it runs, those of difflib included."""
    steps, tracer = 0, sys.gettrace()

    def count(frame, event, argument):
        nonlocal steps
        steps += event == "line"
        return count

    sys.settrace(count)
    try:
        difference(before, after)
    finally:
        sys.settrace(tracer)
    return steps


def test_difference_is_as_short_as_asked_for():
    pieces = difference("a b c " * WINDOW_CHARS, "d e f " * WINDOW_CHARS, max_chars=200)
    assert 0 < sum(len(piece.text) for piece in pieces) <= 200
    assert pieces[-1].kind == "skipped"


def test_characters_that_act_unseen_are_shown_by_their_numbers():
    assert visible("a\u202eb\x1b[31m\u200bc\ud800") == "a‹202E›b‹1B›[31m‹200B›c‹D800›"
    assert visible("Grüße, § 1\n\t東京 👍") == "Grüße, § 1\n\t東京 👍"
    assert visible_change(" \u00a0\t\u2002\n") == "·⍽⇥‹2002›↵"
    assert visible_change("two\nlines\n") == "two↵\nlines↵"
    assert on_one_line("a\n b  c", 10) == "a b c"
    assert on_one_line("word " * 1_000_000, 12) == "word word w…"
