"""Corpus sections of a config that name only their sources and the limits that a test is about."""

from typing import Any

from minimind.config import CorpusConfig

Source = dict[str, Any]


def section_of(sources: list[Source], **limits: Any) -> CorpusConfig:
    defaults = {
        "max_unreadable_share": 0.0, "max_download_bytes": 10**8, "max_expanded_bytes": 10**8,
        "parallel_downloads": 4, "requests_per_second": 1000.0, "exclude_ids": [],
    }  # fmt: skip
    return CorpusConfig.model_validate(defaults | limits | {"sources": sources})
