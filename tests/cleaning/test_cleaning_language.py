"""Languages: what is found, what is removed, and that it is what py3langid itself would find."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pyarrow as pa
import pytest
from cleaned import config

from minimind.cleaning import language
from minimind.cleaning.language import LANGUAGES, encode, identified, languages_of, model
from minimind.cleaning.stop_words import STOP_WORDS
from minimind.errors import ConfigError
from minimind.store import Store

GERMAN = "Der Vertrag ist schriftlich zu schließen und von beiden Seiten mit Datum zu unterschreiben, Absatz {n}."
ENGLISH = "The contract must be made in writing and signed by both of the parties with the date, paragraph {n}."
NUMBERS = [
    "null",
    "eins",
    "zwei",
    "drei",
    "vier",
    "fünf",
    "sechs",
    "sieben",
    "acht",
    "neun",
    "zehn",
    "elf",
    "zwölf",
]
FRENCH = "Le contrat est conclu par écrit et signé par les deux parties avec la date dans l'alinéa numéro {n}."


def texts(german: int = 12) -> dict[str, str]:
    return {
        f"de/{n:02}": " ".join(GERMAN.format(n=NUMBERS[(n * k) % 13]) for k in (1, 2, 3)) for n in range(german)
    } | {
        "en/1": ENGLISH.format(n="one") + " " + ENGLISH.format(n="two"),
        "fr/1": FRENCH.format(n="un") + " " + FRENCH.format(n="deux"),
        "signs/1": "1 2 3 § 4",
        "signs/2": "7",
    }


def test_other_languages_are_removed_with_the_language_as_reason(clean):
    cleaned = clean(texts(), config(max_jaccard=1, language={"expected": ["de"]}))
    removed = {row["document_id"]: (row["step"], row["reason"]) for row in cleaned.rows("removed")}
    assert removed["en/1"] == ("language", "en")
    assert removed["fr/1"] == ("language", "fr")
    assert {"signs/1", "signs/2"}.isdisjoint(removed)
    languages = {row["language"]: row for row in cleaned.manifest.details["languages"]}
    assert [(languages[name]["documents"], languages[name]["documents_kept"]) for name in ("en", "fr")] == [
        (1, 0),
        (1, 0),
    ]
    assert sum(row["documents_kept"] for row in languages.values()) == len(cleaned.kept)


def test_other_languages_are_kept_by_configuration_and_told_in_the_metadata(clean):
    cleaned = clean(texts(), config(max_jaccard=1, language={"expected": ["de"], "others": "keep"}))
    metadata = {
        row["document_id"]: dict(row["metadata"]) for name in ("train", "holdout") for row in cleaned.rows(name)
    }
    assert metadata["en/1"]["language"] == "en"
    assert metadata["de/00"]["language"] == "de"


def test_languages_are_not_looked_at_where_none_is_expected(clean):
    cleaned = clean(texts())
    assert cleaned.manifest.details["languages"] == []
    assert all("language" not in dict(row["metadata"]) for row in cleaned.rows("train"))


def test_unlikely_language_counts_as_an_expected_one(clean):
    section = config(max_jaccard=1, language={"expected": ["de"], "min_probability": 1})
    assert not any(row["step"] == "language" for row in clean(texts(), section).rows("removed"))


def test_stop_words_are_those_of_the_documents_language(clean):
    section = config(
        max_jaccard=1,
        quality={"stop_words": [], "min_stop_words": 2},
        language={"expected": ["de"], "others": "keep"},
    )
    listed = texts() | {"de/list": "Steuererklärung Grundbuchamt Landgericht Verwaltungsgericht Straßenverkehr " * 4}
    assert clean(listed, section).reasons == {"de/list": "min_stop_words"}


def test_languages_do_not_depend_on_threads(clean, tmp_path):
    section = config(max_jaccard=1, language={"expected": ["de"]})
    digests = [clean(texts(40), section, threads=n, store=Store(tmp_path / str(n), "tests")).digests for n in (1, 2, 4)]
    assert digests[0] == digests[1] == digests[2]


def test_language_that_cannot_be_told_is_refused(clean):
    with pytest.raises(ConfigError, match=r"tlh cannot be told; these can: ac.*de"):
        clean(texts(), config(language={"expected": ["de", "tlh"]}))


def test_languages_that_a_config_may_name_are_those_of_the_model():
    assert set(model().languages) == LANGUAGES


def test_languages_equal_those_of_the_library():
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    library = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    samples = [
        *texts().values(),
        "ALL IS IN UPPER CASE HERE",
        "Ελληνικά είναι αυτά",
        "日本語の文です。",
        "e\u0301te\u0301",
        "x",
    ]
    for sample, found in zip(samples, identified(samples), strict=True):
        language, probability = library.classify(sample)
        assert (found or {"language": language})["language"] == language
        assert found is None or found["probability"] == pytest.approx(probability, abs=1e-4)


def test_a_text_is_the_same_in_any_company():
    samples = list(texts().values())
    together = languages_of(pa.chunked_array([samples])).to_pylist()
    assert together == [languages_of(pa.chunked_array([[sample]])).to_pylist()[0] for sample in samples]


def test_text_without_any_known_feature_has_no_language():
    assert identified(["", "7"]) == [None, None]
    assert encode("ABC") == b"abc"


def test_stop_words_are_distinct_and_lower_case():
    for words in STOP_WORDS.values():
        assert len(set(words.split())) == len(words.split()) >= 8
        assert words == words.lower()


def test_threads_that_ask_at_the_same_time_read_the_model_once(monkeypatch):
    read = []

    @cache
    def slow():
        read.append(1)
        time.sleep(0.1)

    monkeypatch.setattr(language, "read_model", slow)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: model(), range(2)))
    assert read == [1]
