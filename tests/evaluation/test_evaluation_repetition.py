import pytest

from minimind.evaluation.repetition import mean_repeated_share, repeated_share


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("a b c d", 0),
        ("a b c d e f g", 0),
        ("a a a a a", 0.5),  # two 4-grams, one of them new
        ("a b c d a b c d", 0.2),  # five, and the last is the first
        (" ".join(["x"] * 103), 0.99),
    ],
)
def test_share_of_repeated_4_grams(text, share):
    assert repeated_share(text.split()) == pytest.approx(share)


def test_text_shorter_than_a_4_gram_has_no_share():
    assert repeated_share(["a", "b", "c"]) is None
    assert mean_repeated_share([[], ["a"]]) is None


def test_mean_leaves_out_short_texts_and_no_others():
    assert mean_repeated_share([["a"] * 5, list("abcd"), ["a"]]) == pytest.approx(0.25)
