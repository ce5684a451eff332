"""The named parameters of the SQL files, from the config and from constants that are no choice of the domain's."""

from typing import Any

from minimind.cleaning.decontamination import decontamination_parameters
from minimind.cleaning.duplicates import near_duplicate_parameters
from minimind.cleaning.encodings import DAMAGED
from minimind.cleaning.language import language_parameters
from minimind.cleaning.personal_data import personal_data_parameters
from minimind.cleaning.split import split_parameters
from minimind.cleaning.stop_words import stop_word_entries
from minimind.config import CleaningConfig, DecontaminationConfig, QualityConfig
from minimind.quality_presets import NONE


def sql_parameters(section: CleaningConfig) -> dict[str, Any]:
    """Name -> value, and under `needless` the tables that stay empty because no rule would look at them."""
    return (
        section.normalize.model_dump()
        | {"damaged": DAMAGED}
        | near_duplicate_parameters(section.near_duplicates)
        | section.quality.model_dump()
        | {"stop_words": stop_word_entries(section.quality.stop_words)}
        | language_parameters(section.language)
        | decontamination_parameters(section.decontamination)
        | personal_data_parameters(section.personal_data)
        | {"max_removed_share": section.max_removed_share}
        | split_parameters(section.split)
        | {"needless": needless_tables(section)}
    )


def needless_tables(section: CleaningConfig) -> list[str]:
    return sorted(needless_signals(section.quality) | needless_grams(section.decontamination))


def needless_signals(quality: QualityConfig) -> set[str]:
    """Signals whose thresholds permit everything."""
    asking = {key for key, value in quality.model_dump().items() if value != NONE[key]} - {"stop_words", "bad_words"}
    if not asking:
        return {"line_signals", "word_signals", "run_signals", "quality_signals"}
    return set() if any("_gram_" in key for key in asking) else {"run_signals"}


def needless_grams(decontamination: DecontaminationConfig) -> set[str]:
    return {"gram_samples", "reference_grams", "contaminated"} if decontamination.max_overlap == 1 else set()
