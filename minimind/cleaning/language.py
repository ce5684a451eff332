"""The language of a text, by py3langid: a naive Bayes classifier of byte n-grams whose model lies in its package.

The library walks its automaton over one text at a time, byte by byte in Python. Here all texts of a batch take each
step together, which gives the same languages (a test compares them) at several times the speed.
"""

import unicodedata
from functools import cache
from threading import Lock
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from minimind.config import LanguageConfig
from minimind.errors import ConfigError

BATCH = 256  # texts that walk together
CODES = """
ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et eu ext fa fi fo fr fuv
fy ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id ig is it ja jv ka kab kik kk km kn ko ku ky
la lb lg lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne nl nn no nso oc om or pa pcm pl ps pt qu ro ru rw sa sdh
se si sk sl sn so sq sr st sv sw ta te tg th tk tl tr tt ug uk ur uz uzs vec vi vo wa wuu xh yo yue zh zu zxx
"""
LANGUAGES = frozenset(CODES.split())  # of the model, so that a config is checked without the seconds of reading it


class Model(NamedTuple):
    languages: list[str]
    priors: npt.NDArray[np.float32]  # languages
    weights: npt.NDArray[np.float32]  # features x languages
    next_state: npt.NDArray[np.uint32]  # by row of the automaton, 256 each
    row_start: npt.NDArray[np.int64]  # state -> where its row begins
    feature: npt.NDArray[np.int32]  # state -> the feature seen on reaching it, or -1


READING = Lock()


def model() -> Model:
    """The package's model, read once in a process, by the first of the threads that ask; that takes a second or two."""
    with READING:
        return read_model()


@cache
def read_model() -> Model:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    read: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return Model(
        list(read.nb_classes),
        np.asarray(read.nb_pc, np.float32),
        np.asarray(read.nb_ptc, np.float32),
        np.frombuffer(read.tk_nextmove, np.uint32),
        np.asarray(read.tk_row, np.int64) << 8,
        np.asarray(read.tk_output, np.int32),
    )


def language_parameters(section: LanguageConfig) -> dict[str, Any]:
    """Raises ConfigError for a language that cannot be told."""
    if unknown := sorted(set(section.expected) - LANGUAGES):
        raise ConfigError(
            "cleaning.language.expected",
            [f"{', '.join(unknown)} cannot be told; these can: {', '.join(sorted(LANGUAGES))}"],
        )
    return {
        "identify_languages": bool(section.expected),
        "expected_languages": section.expected,
        "min_language_probability": section.min_probability,
        "remove_other_languages": section.others == "remove",
    }


def add_language_function(connection: duckdb.DuckDBPyConnection) -> None:
    """Gives SQL `language_of(text)`: {language, probability} of a text, null for one without any known n-gram."""
    found = duckdb.struct_type({"language": "VARCHAR", "probability": "FLOAT"})
    connection.create_function("language_of", languages_of, ["VARCHAR"], found, type="arrow", null_handling="special")  # type: ignore[call-overload]


def languages_of(texts: pa.ChunkedArray) -> pa.Array:
    found = [
        each for start in range(0, len(texts), BATCH) for each in identified(texts[start : start + BATCH].to_pylist())
    ]
    return pa.array(found, pa.struct([("language", pa.string()), ("probability", pa.float32())]))


def identified(texts: list[str]) -> list[dict[str, Any] | None]:
    languages = model().languages
    found: list[dict[str, Any] | None] = []
    encoded = [encode(text) for text in texts]
    for text, features in zip(encoded, features_of(encoded), strict=True):
        if not len(features):
            found.append(None)
            continue
        kinds, counts = np.unique(features, return_counts=True)
        scores = (np.log1p(counts.astype(np.float32))[:, None] * model().weights[kinds]).sum(axis=0) + model().priors
        odds = np.exp((scores - scores.max()) / np.sqrt(np.float32(len(text))))  # calibrated as the library does
        best = languages[int(odds.argmax())]
        share = odds[[language == best for language in languages]].sum() / odds.sum()  # some stand there twice
        found.append({"language": best, "probability": float(share)})
    return found


def encode(text: str) -> bytes:
    """As the model was trained: composed, and in lower case where all is upper case."""
    return unicodedata.normalize("NFC", text.lower() if text.isupper() else text).encode("utf-8", "surrogatepass")


def features_of(texts: list[bytes]) -> list[npt.NDArray[np.int32]]:
    """The features that the automaton meets on its way through each text."""
    automaton = model()
    order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
    longest = len(texts[order[0]])
    letters = np.zeros((longest, len(texts)), np.int64)
    for column, place in enumerate(order):
        letters[: len(texts[place]), column] = np.frombuffer(texts[place], np.uint8)
    met = np.full((len(texts), longest), -1, np.int32)
    walking = np.array([len(texts[place]) for place in order])
    state = np.zeros(len(texts), np.int64)
    for step in range(longest):
        ahead = int(np.searchsorted(-walking, -step))  # those longer than this step stand first
        state = automaton.next_state[automaton.row_start[state[:ahead]] + letters[step, :ahead]].astype(np.int64)
        met[:ahead, step] = automaton.feature[state]
    features: list[npt.NDArray[np.int32]] = [met[0]] * len(texts)
    for column, place in enumerate(order):
        features[place] = met[column][met[column] >= 0]
    return features
