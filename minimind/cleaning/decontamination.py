"""Training documents that overlap with what the model is measured on: how they are found, and in which files to look.

A document goes if more than a share of its 13-grams stands in the holdout or in an evaluation file (13: Brown et al.
2020, appendix C). Any shared n-gram at all, as is usual for web text, would remove a third of a corpus of statutes.
"""

import glob
import json
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from minimind.config import DecontaminationConfig
from minimind.digests import sha256_of_file
from minimind.errors import SourceError

COMMON_GRAM_DOCUMENTS = 20  # an n-gram in so many documents belongs to no single one of them
LONG_TEXT_WORDS = 1_024  # of longer texts, an eighth of the n-grams is looked at: 128, an error of 4% at half
SUFFIXES = (".jsonl", ".txt", ".md")


def decontamination_parameters(section: DecontaminationConfig) -> dict[str, Any]:
    """The named parameters of the SQL files about decontamination."""
    return {
        "max_overlap": section.max_overlap,
        "common_gram_documents": COMMON_GRAM_DOCUMENTS,
        "long_text_words": LONG_TEXT_WORDS,
    }


def evaluation_inputs(section: DecontaminationConfig) -> dict[str, str]:
    """Name -> sha256 of the evaluation files. Raises SourceError if a glob matches nothing that can be read."""
    return {f"evaluation {path}": sha256_of_file(path) for path in evaluation_paths(section.evaluation_files)}


def check_evaluation_files(section: DecontaminationConfig) -> None:
    """Raises SourceError for a file that is not there or that cannot be read to its end."""
    for path in evaluation_paths(section.evaluation_files):
        for _ in texts_of(path):
            pass


def evaluation_paths(patterns: Sequence[str]) -> list[Path]:
    paths: set[Path] = set()
    for pattern in patterns:
        found = [Path(path) for path in glob.glob(str(Path(pattern).expanduser()), recursive=True)]
        files = {path for path in found if path.is_file()}
        if not files:
            raise SourceError(f"no file matches {pattern}; correct cleaning.decontamination.evaluation_files")
        unknown = sorted(path for path in files if path.suffix not in SUFFIXES)
        if unknown:
            raise SourceError(
                f"{unknown[0]} is none of {' '.join(SUFFIXES)}; correct cleaning.decontamination.evaluation_files"
            )
        paths |= files
    return sorted(paths)


def read_evaluation_texts(connection: duckdb.DuckDBPyConnection, section: DecontaminationConfig) -> None:
    """Makes the table `evaluation_texts`: one row for each line of JSON, with all strings in it, and for each text."""
    connection.execute("create table evaluation_texts (text varchar)")
    texts = [[composed(text)] for path in evaluation_paths(section.evaluation_files) for text in texts_of(path)]
    if texts:
        connection.executemany("insert into evaluation_texts values (?)", texts)


def composed(text: str) -> str:
    """The text in Unicode's composed form, as all clean texts are; half a surrogate pair becomes U+FFFD."""
    return unicodedata.normalize("NFC", text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def texts_of(path: Path) -> Iterator[str]:
    try:
        content = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 (byte {error.start:,}); save it as UTF-8") from None
    if path.suffix != ".jsonl":
        yield content
        return
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            try:
                yield "\n".join(strings_in(json.loads(line)))
            except ValueError as error:
                raise SourceError(f"{path}, line {number:,}: it is no valid JSON ({error}); mend it") from None


def strings_in(value: Any) -> Iterator[str]:
    """Every string of a JSON value, in its order; keys are none of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings_in(part)
