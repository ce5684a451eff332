"""The named parameters of the SQL files, from the config and from constants that are no choice of the domain's."""

from typing import Any

from minimind.cleaning.decontamination import decontamination_parameters
from minimind.cleaning.duplicates import near_duplicate_parameters
from minimind.cleaning.encodings import PAIR
from minimind.cleaning.language import language_parameters
from minimind.cleaning.long_texts import long_text_parameters
from minimind.cleaning.personal_data import personal_data_parameters
from minimind.cleaning.split import split_parameters
from minimind.cleaning.stop_words import stop_word_entries
from minimind.cleaning.text_functions import FLAGS
from minimind.config import CleaningConfig, DecontaminationConfig, QualityConfig, RepeatedLinesConfig
from minimind.quality_presets import NONE


def sql_parameters(section: CleaningConfig) -> dict[str, Any]:
    """Name -> value, and under `needless` the tables that stay empty because no rule would look at them."""
    return (
        section.normalize.model_dump()
        | {"mojibake": PAIR}
        | FLAGS
        | repeated_lines_parameters(section.repeated_lines)
        | near_duplicate_parameters(section.near_duplicates)
        | section.quality.model_dump()
        | {"stop_words": stop_word_entries(section.quality.stop_words)}
        | language_parameters(section.language)
        | decontamination_parameters(section.decontamination)
        | long_text_parameters()
        | personal_data_parameters(section.personal_data)
        | {"max_removed_share": section.max_removed_share}
        | split_parameters(section.split)
        | {"needless": needless_tables(section)}
    )


def repeated_lines_parameters(section: RepeatedLinesConfig) -> dict[str, Any]:
    return {
        "cut_repeated_lines": section.action == "remove",
        "repeated_min_documents": section.min_documents,
        "repeated_min_chars": section.min_chars,
        "max_cut_share": section.max_cut_share,
    }


def needless_tables(section: CleaningConfig) -> list[str]:
    lines = {"lines", "repeated_lines", "cut_texts"} if section.repeated_lines.action == "ignore" else set()
    return sorted(lines | needless_signals(section.quality) | needless_grams(section.decontamination))


def needless_signals(quality: QualityConfig) -> set[str]:
    """Signals whose thresholds permit everything."""
    asking = {key for key, value in quality.model_dump().items() if value != NONE[key]} - {"stop_words", "bad_words"}
    if not asking:
        return {"line_signals", "word_signals", "run_signals", "quality_signals"}
    return set() if any("_gram_" in key for key in asking) else {"run_signals"}


def needless_grams(decontamination: DecontaminationConfig) -> set[str]:
    grams = {"gram_samples", "reference_grams", "shared_grams", "contaminated"}
    return grams if decontamination.max_overlap == 1 else set()
