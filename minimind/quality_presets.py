"""Complete sets of quality thresholds; what each was calibrated on stands in docs/cleaning.md.

`published` is what the papers say, for English web pages: Gopher (Rae et al. 2021, A.1.1 and table A1), FineWeb (Penedo
et al. 2024, section 3.5), C4 (Raffel et al. 2020, section 2.2). The others start from it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

PUBLISHED: Mapping[str, Any] = MappingProxyType(
    {
        # Gopher, quality
        "min_words": 50,
        "max_words": 100_000,
        "min_mean_word_length": 3,
        "max_mean_word_length": 10,
        "max_symbol_word_ratio": 0.1,
        "max_bullet_line_ratio": 0.9,
        "max_ellipsis_line_ratio": 0.3,
        "min_alpha_word_ratio": 0.8,
        "stop_words": ["the", "be", "to", "of", "and", "that", "have", "with"],
        "min_stop_words": 2,
        # Gopher, repetition; the paper's share of repeated characters in lines is 0.2, FineWeb's 0.01
        "max_duplicate_line_ratio": 0.3,
        "max_duplicate_paragraph_ratio": 0.3,
        "max_duplicate_line_char_ratio": 0.01,
        "max_duplicate_paragraph_char_ratio": 0.2,
        "max_top_2_gram_char_ratio": 0.2,
        "max_top_3_gram_char_ratio": 0.18,
        "max_top_4_gram_char_ratio": 0.16,
        "max_duplicate_5_gram_char_ratio": 0.15,
        "max_duplicate_6_gram_char_ratio": 0.14,
        "max_duplicate_7_gram_char_ratio": 0.13,
        "max_duplicate_8_gram_char_ratio": 0.12,
        "max_duplicate_9_gram_char_ratio": 0.11,
        "max_duplicate_10_gram_char_ratio": 0.1,
        # FineWeb
        "min_punctuated_line_ratio": 0.12,
        "max_short_line_ratio": 0.67,
        "max_newline_word_ratio": 0.3,
        # C4; it cuts lines out where these rules judge whole documents, so that four of them have no published value
        "min_sentences": 5,
        "min_c4_char_ratio": 0,
        "max_curly_brackets": 0,
        "max_lorem_ipsum_lines": 0,
        "max_javascript_line_ratio": 1,
        "max_policy_line_ratio": 1,
        "bad_words": [],
        "max_bad_word_ratio": 1,
    }
)

# no rule looks at runs of words: they are most of the work
ANY_RUNS: Mapping[str, Any] = {
    **{f"max_top_{n}_gram_char_ratio": 1 for n in (2, 3, 4)},
    **{f"max_duplicate_{n}_gram_char_ratio": 1 for n in range(5, 11)},
}

# Statutes repeat themselves on purpose, are hard-wrapped, and mark every number: what is looked for is running text.
LEGAL: Mapping[str, Any] = {
    **PUBLISHED,
    **ANY_RUNS,
    "min_words": 30,
    "max_words": 1_000_000,
    "max_mean_word_length": 14,
    "max_symbol_word_ratio": 0.2,
    "max_bullet_line_ratio": 1,
    "min_alpha_word_ratio": 0.35,
    "stop_words": [],
    "max_duplicate_line_ratio": 0.8,
    "max_duplicate_paragraph_ratio": 0.8,
    "max_duplicate_line_char_ratio": 0.8,
    "max_duplicate_paragraph_char_ratio": 0.8,
    "min_punctuated_line_ratio": 0,
    "max_short_line_ratio": 1,
    "max_newline_word_ratio": 1,
    "min_sentences": 0,
    "max_curly_brackets": 1_000_000,
    "max_lorem_ipsum_lines": 1_000_000,
}

# Articles, questions with answers, textbooks: running text, also short, with lists and headings
GENERAL: Mapping[str, Any] = {
    **PUBLISHED,
    "min_words": 30,
    "max_words": 1_000_000,
    "max_mean_word_length": 12,
    "min_alpha_word_ratio": 0.6,
    "stop_words": [],
    "max_duplicate_line_char_ratio": 0.3,
    "max_duplicate_paragraph_char_ratio": 0.3,
    **{f"max_top_{n}_gram_char_ratio": 0.45 for n in (2, 3, 4)},
    **{f"max_duplicate_{n}_gram_char_ratio": 0.5 for n in range(5, 11)},
    "min_punctuated_line_ratio": 0,
    "max_short_line_ratio": 0.85,
    "max_newline_word_ratio": 0.5,
    "min_sentences": 0,
    "max_curly_brackets": 20,
}

# Prose with listings: marks and brackets belong to it, lines end as code does
CODE_DOCS: Mapping[str, Any] = {
    **PUBLISHED,
    **ANY_RUNS,
    "max_words": 1_000_000,
    "max_mean_word_length": 12,
    "max_symbol_word_ratio": 0.2,
    "min_alpha_word_ratio": 0.3,
    "stop_words": [],
    "max_duplicate_line_ratio": 0.4,
    "max_duplicate_line_char_ratio": 0.4,
    "min_punctuated_line_ratio": 0.03,
    "max_short_line_ratio": 0.85,
    "max_newline_word_ratio": 0.5,
    "min_sentences": 2,
    "max_curly_brackets": 1_000_000,
    "max_lorem_ipsum_lines": 1_000_000,
}

# nothing is removed
NONE: Mapping[str, Any] = {
    **dict.fromkeys(PUBLISHED, 0),
    **{key: 1 if key.endswith("_ratio") else 1_000_000_000 for key in PUBLISHED if key.startswith("max_")},
    "max_mean_word_length": 1e9,
    "max_symbol_word_ratio": 1e9,
    "max_newline_word_ratio": 1e9,
    "stop_words": [],
    "bad_words": [],
}

QUALITY_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "none": NONE,
    "published": PUBLISHED,
    "legal": LEGAL,
    "general": GENERAL,
    "code-docs": CODE_DOCS,
}
