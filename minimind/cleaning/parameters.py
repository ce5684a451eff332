"""The named parameters of the SQL files, from the config and from constants that are no choice of the domain's."""

from typing import Any

from minimind.cleaning.decontamination import decontamination_parameters
from minimind.cleaning.duplicates import near_duplicate_parameters
from minimind.cleaning.language import language_parameters
from minimind.cleaning.split import split_parameters
from minimind.cleaning.stop_words import stop_word_entries
from minimind.config import CleaningConfig


def sql_parameters(section: CleaningConfig) -> dict[str, Any]:
    return (
        near_duplicate_parameters(section.near_duplicates)
        | section.quality.model_dump()
        | {"stop_words": stop_word_entries(section.quality.stop_words)}
        | language_parameters(section.language)
        | decontamination_parameters(section.decontamination)
        | {"max_removed_share": section.max_removed_share}
        | split_parameters(section.split)
    )
