"""The signals and decisions of this project on Parquet files of (id, text), from the SQL that the cleaning runs.

    python -m benchmarks.cleaning.our_filters INPUT_FOLDER OUTPUT_FOLDER THREADS FILTERS

Runs of words are counted only for Gopher's repetition filter, as in a cleaning.

Each filter of datatrove is a set of thresholds: those of the preset `published`, and all others permit everything.
"""

import sys
from pathlib import Path
from typing import Any

import duckdb

from minimind.cleaning.database import connect, make_table, numbered_files
from minimind.cleaning.stop_words import stop_word_entries
from minimind.quality_presets import QUALITY_PRESETS

PUBLISHED, NONE = QUALITY_PRESETS["published"], QUALITY_PRESETS["none"]
SIGNALS = ("languages", "line_signals", "word_signals", "run_signals", "quality_signals")
REPEATS = [key for key in PUBLISHED if key.startswith(("max_duplicate_", "max_top_"))]
ANY_LANGUAGE = {"remove_other_languages": False, "expected_languages": [], "min_language_probability": 1}
FINEWEB = ["min_punctuated_line_ratio", "max_short_line_ratio", "max_duplicate_line_char_ratio"]
FINEWEB += ["max_newline_word_ratio"]
C4 = ["min_sentences", "max_curly_brackets", "max_lorem_ipsum_lines"]
QUALITY = list(PUBLISHED)[: list(PUBLISHED).index("min_stop_words") + 1]
FILTERS: dict[str, dict[str, Any]] = {
    "fineweb": {key: PUBLISHED[key] for key in FINEWEB},
    "gopher_quality": {key: PUBLISHED[key] for key in QUALITY},
    "gopher_repetition": {key: PUBLISHED[key] for key in REPEATS} | {"max_duplicate_line_char_ratio": 0.2},
    "c4": {key: PUBLISHED[key] for key in C4},
}


def main(source: Path, target: Path, threads: int, filters: list[str]) -> None:
    target.mkdir(parents=True)
    with connect(target, threads) as connection:
        connection.execute(
            "create table texts as select id as text_key, text, length(text)::bigint as chars "
            f"from read_parquet('{source}/*.parquet')"
        )
        queries = dict(numbered_files("part"))
        words = {"stop_words": stop_word_entries(PUBLISHED["stop_words"]), "bad_words": PUBLISHED["bad_words"]}
        if "gopher_repetition" not in filters:
            queries["run_signals"] = f"select * from ({queries['run_signals']}) where false"
        for name in SIGNALS:
            make_table(connection, name, queries[name], words | {"identify_languages": False})
        for name in filters:
            make_decisions(connection, name)
        columns = ", ".join(f"coalesce({name}.reason, '') as {name}" for name in filters)
        joins = " ".join(f"left join {name} using (text_key)" for name in filters)
        connection.execute(
            f"copy (select text_key as id, {columns} from texts {joins} order by id) to '{target}/decisions.parquet'"
        )


def make_decisions(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """A table of (text_key, reason) for the documents that break a rule of the filter."""
    connection.execute("create or replace view catalogue as select text_key, text_key as number from texts")
    connection.execute("create or replace view exact_duplicates as select '' as number where false")
    make_table(
        connection, name, dict(numbered_files("whole"))["quality_failures"], {**NONE, **FILTERS[name], **ANY_LANGUAGE}
    )
    connection.execute(f"alter table {name} rename number to text_key")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4].split(","))
