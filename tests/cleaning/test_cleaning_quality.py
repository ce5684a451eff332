from collections import Counter

import pytest
from cleaned import PERMIT_ALL, config
from similar_texts import random_words

from minimind.cleaning.database import connect, make_table, numbered_files, rows_of
from minimind.config import QualityConfig

# Gopher's, FineWeb's and C4's thresholds, but for the numbers of words and sentences
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
    "max_duplicate_paragraph_ratio": 0.3,
    "max_duplicate_paragraph_char_ratio": 0.2,
    "max_top_2_gram_char_ratio": 0.2,
    "max_top_3_gram_char_ratio": 0.18,
    "max_top_4_gram_char_ratio": 0.16,
    **{f"max_duplicate_{n}_gram_char_ratio": 0.2 - n / 100 for n in range(5, 11)},
    "min_punctuated_line_ratio": 0.12,
    "max_short_line_ratio": 0.67,
    "max_newline_word_ratio": 0.3,
    "min_sentences": 2,
    "min_c4_char_ratio": 0.3,
    "max_curly_brackets": 0,
    "max_lorem_ipsum_lines": 0,
    "max_javascript_line_ratio": 0.4,
    "max_policy_line_ratio": 0.4,
    "bad_words": ["bloody"],
    "max_bad_word_ratio": 0.1,
}
WORD_LISTS = {"stop_words", "bad_words"}


def twice(count: int) -> str:
    """A text in which a run of `count` words occurs twice."""
    return f"{random_words(7, count)} then again {random_words(7, count)}"


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
    ("max_duplicate_line_char_ratio", "one and the same line\n\none and the same line\na\nb\nc\nd\ne"),
    ("max_duplicate_paragraph_ratio", "same\nlines\n\nsame\nlines\n\n\nother"),
    ("max_duplicate_paragraph_char_ratio", "one long paragraph\n\none long paragraph\n\na\n\nb\n\nc\n\nd"),
    ("max_top_2_gram_char_ratio", "again and again and again and so it goes on"),
    ("max_top_3_gram_char_ratio", "so it goes and so it goes"),
    ("max_top_4_gram_char_ratio", "as the case may be, as the case may not"),
    *((f"max_duplicate_{n}_gram_char_ratio", twice(n)) for n in range(5, 11)),
    ("min_punctuated_line_ratio", "no mark\nat the end"),
    ("min_punctuated_line_ratio", "he said: “No…”"),
    ("max_short_line_ratio", "three short\n\nlines and\none long enough to be of more than thirty characters\nshort"),
    ("max_newline_word_ratio", "a line break\nfor every\nother word\nhere"),
    ("min_sentences", "One sentence is here.\nNo sentence\nToo short.\nThis goes on..."),
    ("min_c4_char_ratio", "A sentence stands here.\nthe rest of this text is much longer and it ends without a mark"),
    ("max_curly_brackets", "if (x) { y }"),
    ("max_lorem_ipsum_lines", "Lorem ipsum dolor"),
    ("max_javascript_line_ratio", "Please enable JavaScript\nnow"),
    ("max_policy_line_ratio", "Privacy Policy"),
    ("max_bad_word_ratio", "Bloody, this!"),
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
    ("max_duplicate_paragraph_ratio", "same\n\nsame\nnot\n\nsame\n\nlast"),
    ("max_top_2_gram_char_ratio", "every pair differs"),
    ("max_top_3_gram_char_ratio", "every run differs from the others"),
    *((f"max_duplicate_{n}_gram_char_ratio", twice(n - 1)) for n in range(5, 11)),
    ("min_punctuated_line_ratio", "no mark\nhere\nhere\nhere\nhere\nhere\nhere\nbut here。"),
    ("min_sentences", "Two sentences stand here. And they end in marks!"),
    ("max_javascript_line_ratio", "JavaScript\nand\nmore"),
    ("max_bad_word_ratio", "one bloody word of ten is just what is permitted"),
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


@pytest.mark.parametrize("rule", sorted(set(PAPERS) - WORD_LISTS))
def test_smallest_text_trips_its_rule_and_the_threshold_is_permitted(clean, rule):
    section = config(quality={key: PAPERS[key] for key in {rule} | WORD_LISTS})
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
    texts = good | {"a/1": "Für Überall, fürs über-", "a/2": "„Für“ und (über)", "a/3": "Fürüber für"}
    assert clean(texts, section).reasons == {"a/1": "min_stop_words", "a/3": "min_stop_words"}


def test_every_threshold_of_the_config_is_a_rule():
    rules = set(QualityConfig.model_fields) - WORD_LISTS
    assert {rule for rule, _ in TRIPPING} == rules
    assert set(PAPERS) == set(PERMIT_ALL) == rules | WORD_LISTS


def signals_of(texts: dict[str, str], tmp_path, threads: int = 2) -> dict[str, dict[str, float]]:
    """The tables of the part pass, joined, by the name of the text."""
    with connect(tmp_path, threads) as connection:
        connection.execute("create table texts (text_key varchar, text varchar, chars bigint)")
        connection.executemany("insert into texts values (?, ?, ?)", [[key, t, len(t)] for key, t in texts.items()])
        queries = dict(numbered_files("part"))
        for name in ("languages", "line_signals", "word_signals", "run_signals", "quality_signals"):
            make_table(
                connection, name, queries[name], {"stop_words": [], "bad_words": [], "identify_languages": False}
            )
        rows = rows_of(
            connection,
            "select * from quality_signals join word_signals using (text_key) join run_signals using (text_key)",
            {},
        )
    return {row["text_key"]: row for row in rows}


def test_repeated_runs_equal_a_count_by_hand(tmp_path):
    vocabulary = random_words(3, 12).split()
    texts = {str(n): " ".join(vocabulary[i * i * (n + 3) % 11] for i in range(40 * n)) for n in range(1, 6)}
    texts |= {"copy": f"{random_words(5, 30)} x {random_words(5, 30)} y {random_words(5, 12)}"}
    signals = signals_of(texts, tmp_path)
    for key, text in texts.items():
        words = text.split()
        runs = {n: Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) for n in range(2, 12)}
        for n in (2, 3, 4):
            count, chars = max((count, len(" ".join(run))) for run, count in runs[n].items())
            assert signals[key][f"top_{n}_gram_chars"] == (count * chars if count > 1 else 0)
        for n in range(5, 11):
            repeats = sum((count - 1) * len("".join(run)) for run, count in runs[n].items())
            shared = sum((count - 1) * len("".join(run[1:-1])) for run, count in runs[n + 1].items())
            assert signals[key][f"duplicate_{n}_gram_chars"] == repeats - shared
    assert signals["copy"]["duplicate_10_gram_chars"] == len(
        "".join(random_words(5, 30).split() + random_words(5, 12).split())
    )


def test_signals_do_not_depend_on_threads(tmp_path):
    texts = {str(n): f"{random_words(n % 7, 400)}.\n" * (n % 3 + 1) + random_words(n, 90) for n in range(300)}
    assert signals_of(texts, tmp_path, 1) == signals_of(texts, tmp_path, 2) == signals_of(texts, tmp_path, 4)


def test_tokens_are_words_and_the_marks_around_them(tmp_path):
    counts = {
        "word": (1, 1),
        "(word),": (4, 1),
        "“word”": (3, 1),
        "U.S.C.": (1, 1),
        "end.": (2, 1),
        "well-known": (3, 2),
        "Party's": (2, 2),
        "1,000.50": (1, 1),
        "..........": (1, 0),
        "§ 5": (2, 1),
        "https://example.org/a-b": (1, 1),
        "|": (1, 0),
    }
    signals = signals_of({text: text for text in counts}, tmp_path)
    assert {text: (row["tokens"], row["words"]) for text, row in signals.items()} == counts
