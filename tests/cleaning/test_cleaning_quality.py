import pytest
from cleaned import PERMIT_ALL, config
from similar_texts import random_words

from minimind.config import QualityConfig

# Gopher's and FineWeb's thresholds, but for the number of words
PAPERS = {
    "min_words": 5,
    "max_words": 50,
    "min_mean_word_length": 3,
    "max_mean_word_length": 10,
    "max_symbol_word_ratio": 0.1,
    "max_bullet_line_ratio": 0.9,
    "max_ellipsis_line_ratio": 0.3,
    "min_alpha_word_ratio": 0.8,
    "stop_words": ["the", "be", "to", "of", "and", "that", "have", "with"],
    "min_stop_words": 2,
    "max_duplicate_line_ratio": 0.3,
    "max_duplicate_line_char_ratio": 0.2,
    "max_top_2_gram_char_ratio": 0.2,
    "min_punctuated_line_ratio": 0.12,
    "max_short_line_ratio": 0.67,
    "max_newline_word_ratio": 0.3,
}

TRIPPING = [
    ("min_words", "only four words here"),
    ("max_words", "word " * 51),
    ("min_mean_word_length", "a bc d ef"),
    ("max_mean_word_length", "Straßenverkehr"),
    ("max_symbol_word_ratio", "nine words stand here and one is #a #b"),
    ("max_symbol_word_ratio", "words... and so on… for ever"),
    ("max_bullet_line_ratio", "• first\n- second\n  * third"),
    ("max_ellipsis_line_ratio", "ends here...\nends there…\nends."),
    ("min_alpha_word_ratio", "three words with § 2,3"),
    ("min_stop_words", "Theology, bandwidth, THE the"),
    ("max_duplicate_line_ratio", "same\nsame\nother"),
    ("max_duplicate_line_char_ratio", "one and the same line\n\n  one and the same line\na\nb\nc\nd\ne"),
    ("max_top_2_gram_char_ratio", "again and again and again and so it goes on"),
    ("min_punctuated_line_ratio", "no mark\nat the end"),
    ("max_short_line_ratio", "three short\n\nlines and\none long enough to be of more than thirty characters\nshort"),
    ("max_newline_word_ratio", "a line break\nfor every\nother word\nhere"),
]
PASSING = [
    ("min_words", "five words stand here now"),
    ("max_words", " ".join(f"word{n}" for n in range(50))),
    ("max_symbol_word_ratio", "of ten words that stand here one is a #hashtag"),
    ("max_symbol_word_ratio", "a row of dots leads to the last of ten words .............. 7"),
    ("max_bullet_line_ratio", "- first\n-5 degrees are no bullet"),
    ("max_ellipsis_line_ratio", "this line... goes on\nthis one as well\nand here it ends...\nor does it"),
    ("min_alpha_word_ratio", "four words with § 5a"),
    ("min_stop_words", "It is to-day: (AND) to"),
    ("max_duplicate_line_ratio", "same\nsame\nother\nlast"),
    ("max_duplicate_line_ratio", "a\n*\n*\n*\nb\n-----\n-----\n-----"),
    ("max_top_2_gram_char_ratio", "every pair differs"),
    ("min_punctuated_line_ratio", "no mark\nhere\nhere\nhere\nhere\nhere\nhere\nbut “here.”"),
    ("max_short_line_ratio", "one short line\nand one long enough to be of more than thirty characters"),
]


def good_documents(count: int) -> dict[str, str]:
    return {
        f"good/{n:02}": f"The {random_words(3 * n, 10)}.\n\nIt has {random_words(3 * n + 1, 10)} that are wide,\n"
        f"and {random_words(3 * n + 2, 10)}!"
        for n in range(count)
    }


def test_good_documents_pass_all_rules(clean):
    assert clean(good_documents(12), config(quality=PAPERS)).reasons == {}


@pytest.mark.parametrize("rule", sorted(set(PAPERS) - {"stop_words"}))
def test_smallest_text_trips_its_rule_and_the_threshold_is_permitted(clean, rule):
    section = config(quality={rule: PAPERS[rule], "stop_words": PAPERS["stop_words"]})
    bad = {f"bad/{n}": text for n, (tripped, text) in enumerate(TRIPPING) if tripped == rule}
    borderline = {f"borderline/{n}": text for n, (permitted, text) in enumerate(PASSING) if permitted == rule}
    cleaned = clean(good_documents(12) | bad | borderline, section)
    assert cleaned.reasons == dict.fromkeys(bad, rule)
    assert {(row["step"], row["kept_document_id"]) for row in cleaned.rows("removed")} == {("quality", None)}


def test_first_broken_rule_is_the_reason(clean):
    assert clean(good_documents(12) | {"bad/1": "# # # #"}, config(quality=PAPERS)).reasons == {"bad/1": "min_words"}


def test_stop_words_are_whole_words_of_any_script(clean):
    section = config(quality={"stop_words": ["für", "über"], "min_stop_words": 2})
    good = {key: text + " für über" for key, text in good_documents(12).items()}
    texts = good | {"a/1": "Für Überall, fürs über_", "a/2": "„Für“ und (über)", "a/3": "ÜBER\u00adFÜR über für"}
    assert clean(texts, section).reasons == {"a/1": "min_stop_words"}


def test_every_threshold_of_the_config_is_a_rule():
    rules = set(QualityConfig.model_fields) - {"stop_words"}
    assert {rule for rule, _ in TRIPPING} == rules
    assert set(PAPERS) == set(PERMIT_ALL) == rules | {"stop_words"}
