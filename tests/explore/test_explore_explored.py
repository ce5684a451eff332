"""What a corpus says of itself before it is cleaned."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minimind.explore import explored
from minimind.explore.explored import SMALL_BYTES, seen_in
from minimind.store import Manifest, Outcome, Recipe, Store


def corpus_of(store: Store, counts: dict[str, int]) -> Manifest:
    """So many documents that begin with a language's name, in two files; blank ones begin with nothing."""
    texts = [f"{language} words" if language else " " for language, number in counts.items() for _ in range(number)]

    def write(folder):
        for number in range(2):
            part = texts[number::2]
            ids = [f"local/{number}-{place}" for place in range(len(part))]
            pq.write_table(pa.table({"document_id": ids, "text": part}), folder / f"documents-{number}.parquet")
        return Outcome({"bytes": SMALL_BYTES})

    return store.build(Recipe("corpus", counts, {}, {}, {}), write)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"en": 60, "de": 40}, ["en"]),
        ({"en": 40, "de": 35, "fr": 25}, ["en", "de"]),
        ({"it": 20, "en": 22, "de": 20, "fr": 20, "es": 18}, ["en", "de", "fr"]),
        ({"en": 30, "de": 25, "zxx": 45}, ["en", "de"]),
        ({"en": 40, "zxx": 60}, None),
        ({"unknown": 60, "en": 40}, None),
        ({"": 60, "en": 30, "de": 10}, ["en"]),
        ({"": 3}, None),
    ],
)
def test_languages_of_most_documents_are_expected(store: Store, monkeypatch, counts, expected):
    """py3langid is spared; test_cleaning_language has it."""

    def named(texts: pa.ChunkedArray) -> pa.Array:
        words = [text.split()[0] for text in texts.to_pylist()]
        found = [None if word == "unknown" else {"language": word, "probability": 1.0} for word in words]
        return pa.array(found, pa.struct([("language", pa.string()), ("probability", pa.float32())]))

    monkeypatch.setattr(explored, "languages_of", named)
    assert seen_in(corpus_of(store, counts)) == ({"cleaning.language.expected": expected} if expected else {})
