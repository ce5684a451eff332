"""Which holdout documents a model has seen in its training text, and the file that remembers that text for later.

Cleaning keeps near-copies on one side and removes training documents that stand mostly in the holdout. It does not see
a short holdout document inside a long training document, and knows nothing of a champion that was trained on an older
snapshot. So the 13-grams of a model's training text travel with the model, as hashes: a sample of them, cut to so few
bits that at most one gram in 256 of other text is taken for one of these.

A model that training has started from has learned from a text of its own: its filter, and those of the models before
it, lie in the same file behind the model's own, and a gram that one of them has counts as seen.

The 13-grams are cleaning's: words of letters and digits, without case (Brown et al. 2020, appendix C).
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from minimind.cleaning.decontamination import COMMON_GRAM_DOCUMENTS
from minimind.cleaning.text_functions import folded_letters, run_set_column
from minimind.config import EvaluationConfig
from minimind.errors import CorpusTooSmallError, StoreDamagedError
from minimind.evaluation.holdout import Holdout, HoldoutDocument, read_holdout
from minimind.store import Manifest
from minimind.tokenizer.encoding import read_texts

FILE_NAME = "training_13_grams.parquet"
GRAM_WORDS = 13
ALL_WORDS = 2**31 - 1  # no text is longer: all of its grams are wanted
SAMPLED_LOG2 = 2  # a quarter of all grams; where those are too many, half of them, and so on
MAX_GRAMS = 16_000_000  # of a filter, and of what waits to be merged into it: 128 MB each
PLACES_LOG2 = 8  # 256 places or more a gram
TEXTS_AT_ONCE = 64
MERGED_GRAMS = 2_000_000  # at first; merging with every batch would take the square of the text's time

Grams = NDArray[np.uint64]


def has_filter(model_folder: Path) -> bool:
    """Whether a model remembers its training text; else documents that it was trained on are scored with the others."""
    return (model_folder / FILE_NAME).exists()


def unchecked_in_words(models: str, documents: int) -> str:
    return (
        f"of {models} there is no file of the training text's 13-grams: {documents:,} documents are not checked for "
        "leaks into it, and any that it was trained on speak for it"
    )


@dataclass(frozen=True)
class Filter:
    """Sorted, the first `bits` bits of grams, without the leading zeros by which they were sampled."""

    sampled_log2: int  # a gram is looked at if its hash begins with so many zeros
    bits: int
    grams: Grams
    common: Grams  # in 20 training documents or more: formulas that belong to no single one of them
    before: tuple["Filter", ...] = ()  # of the models that training has started from, the nearest first

    @property
    def line(self) -> tuple["Filter", ...]:
        return (self, *self.before)

    def after(self, parent: "Filter") -> "Filter":
        """With what the model to start from has seen, and those before it; texts that are the same count once."""
        others = [replace(one, before=()) for one in parent.line]
        return replace(self, before=tuple(one for one in others if not one.is_same(self)))

    def is_same(self, other: "Filter") -> bool:
        sizes = (self.sampled_log2, self.bits) == (other.sampled_log2, other.bits)
        return sizes and np.array_equal(self.grams, other.grams) and np.array_equal(self.common, other.common)

    def write(self, path: Path) -> None:
        """Parquet, with the differences of neighbours packed: some 10 bits a gram, about 0.6 MB for 10 MB of text."""
        parts = [(part, generation) for generation, one in enumerate(self.line) for part in (one.grams, one.common)]
        lengths = [len(part) for part, _ in parts]
        about = {
            "gram_words": GRAM_WORDS,
            "line": [{"sampled_log2": one.sampled_log2, "bits": one.bits} for one in self.line],
        }
        table = pa.table(
            {
                "place": np.concatenate([part for part, _ in parts]).astype(np.int64),
                "common": np.repeat([False, True] * len(self.line), lengths),
                "generation": np.repeat(np.array([generation for _, generation in parts], np.int32), lengths),
            }
        )
        pq.write_table(
            table.replace_schema_metadata({"minimind": json.dumps(about)}),
            path, use_dictionary=False, compression="zstd",
            column_encoding={"place": "DELTA_BINARY_PACKED", "common": "RLE", "generation": "DELTA_BINARY_PACKED"},
        )  # fmt: skip

    def overlap(self, grams: Grams, not_counted: Grams) -> float:
        """Share of a document's grams that stand in the training text, as far as they are sampled; 0 if none is."""
        sampled = _sampled(grams, max(one.sampled_log2 for one in self.line))
        sampled = sampled[~_among(sampled, not_counted)]
        places = [(one, _places(sampled, one.sampled_log2, one.bits)) for one in self.line]
        common = np.any([_among(there, one.common) for one, there in places], axis=0)
        seen = np.any([_among(there, one.grams) for one, there in places], axis=0)[~common]
        return float(seen.mean()) if len(seen) else 0.0


def make_filter(train: Path) -> Filter:
    """The filter of a train.parquet, in bounded memory."""
    sampled_log2 = SAMPLED_LOG2
    grams, documents = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    for new in _gathered(document_grams(read_texts(train))):
        grams, documents = _added(grams, documents, _sampled(new, sampled_log2))
        while len(grams) > MAX_GRAMS:
            sampled_log2 += 1
            kept = grams < np.uint64(1) << np.uint64(64 - sampled_log2)
            grams, documents = grams[kept], documents[kept]
    bits = min(64 - sampled_log2, PLACES_LOG2 + max(1, len(grams)).bit_length())
    often = documents >= COMMON_GRAM_DOCUMENTS
    of_few, of_many = (np.unique(_places(part, sampled_log2, bits)) for part in (grams[~often], grams[often]))
    return Filter(sampled_log2, bits, of_few, of_many)


def read_filter(path: Path) -> Filter:
    """Raises StoreDamagedError for a file that is none."""
    try:
        table = pq.read_table(path)
        about = json.loads(table.schema.metadata[b"minimind"])
        places, common = table["place"].to_numpy().astype(np.uint64), table["common"].to_numpy()
        line = about.get("line", [about])  # earlier versions knew the model's own text alone
        of = table["generation"].to_numpy() if "line" in about else np.zeros(len(places), np.int32)
        filters = [
            Filter(
                int(one["sampled_log2"]),
                int(one["bits"]),
                places[(of == number) & ~common],
                places[(of == number) & common],
            )
            for number, one in enumerate(line)
        ]
        return replace(filters[0], before=tuple(filters[1:]))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:  # pyarrow's are ValueErrors
        raise StoreDamagedError(f"{path} is no file of 13-grams as an evaluation writes it: {error}") from None


def read_unseen(cleaning: Manifest, section: EvaluationConfig) -> Holdout:
    """The holdout as it is scored, of models that were trained on nothing but this cleaning's training text."""
    whole = read_holdout(cleaning.file("holdout.parquet"), section.max_bytes)
    return without_leaks(whole, make_filter(cleaning.file("train.parquet")), section.max_overlap)[0]


def without_leaks(whole: Holdout, seen: Filter, max_overlap: float) -> tuple[Holdout, dict[str, float]]:
    """The holdout without the documents that stand in the training text, and the overlap of those by their ids.

    Raises CorpusTooSmallError where none is left.
    """
    found = leaked(whole.documents, seen, max_overlap)
    holdout = whole.without(found)
    if not holdout.documents:
        raise CorpusTooSmallError(
            f"all {len(whole.documents)} holdout documents share more than {max_overlap:g} of their 13-grams "
            "with the training text, so nothing is left to be scored; raise evaluation.max_overlap, or add documents"
        )
    return holdout, found


def leaked(documents: Sequence[HoldoutDocument], seen: Filter, max_overlap: float) -> dict[str, float]:
    """Document id -> overlap of those that share more than `max_overlap` of their 13-grams with the training text."""
    shares = zip(documents, overlaps(documents, seen).tolist(), strict=True)
    return {document.document_id: share for document, share in shares if share > max_overlap}


def overlaps(documents: Sequence[HoldoutDocument], seen: Filter) -> NDArray[np.float64]:
    """Share of each document's 13-grams that stand in the training text, one entry a document.

    N-grams of 20 of these documents or more count as little as those of 20 training documents.
    """
    found = [grams for batch in document_grams(document.text for document in documents) for grams in batch]
    if not found:
        return np.zeros(0)
    grams, counts = np.unique(np.concatenate(found), return_counts=True)
    common = grams[counts >= COMMON_GRAM_DOCUMENTS]
    return np.array([seen.overlap(grams, common) for grams in found])


def document_grams(texts: Iterable[str]) -> Iterator[list[Grams]]:
    """The different 13-grams of each text as sorted hashes, some texts at a time."""
    folded = folded_letters()
    texts = iter(texts)
    while batch := list(islice(texts, TEXTS_AT_ONCE)):
        column = pa.chunked_array([pa.array(batch, pa.string())])
        sizes, limits = (pa.chunked_array([pa.array([value])]) for value in (GRAM_WORDS, ALL_WORDS))
        lists = run_set_column(folded, column, sizes, limits)
        values, offsets = lists.values.to_numpy().astype(np.uint64), lists.offsets.to_numpy()
        yield [values[start:end] for start, end in pairwise(offsets)]


def _gathered(batches: Iterable[list[Grams]]) -> Iterator[Grams]:
    """The sampled grams of many documents at once, of twice as many each time, up to MAX_GRAMS."""
    waiting: list[Grams] = []
    size, wanted = 0, MERGED_GRAMS
    for batch in batches:
        waiting.append(_sampled(np.concatenate(batch), SAMPLED_LOG2))
        size += len(waiting[-1])
        if size >= wanted:
            yield np.concatenate(waiting)
            waiting, size, wanted = [], 0, min(2 * wanted, MAX_GRAMS)
    if waiting:
        yield np.concatenate(waiting)


def _added(grams: Grams, documents: NDArray[np.int64], new: Grams) -> tuple[Grams, NDArray[np.int64]]:
    """Sorted grams with the number of documents that have each, after those of more documents."""
    merged, inverse = np.unique(np.concatenate([grams, new]), return_inverse=True)
    counts = np.bincount(inverse, np.concatenate([documents, np.ones(len(new), np.int64)]), len(merged))
    return merged, counts.astype(np.int64)


def _sampled(grams: Grams, sampled_log2: int) -> Grams:
    return grams[grams < np.uint64(1) << np.uint64(64 - sampled_log2)]


def _places(grams: Grams, sampled_log2: int, bits: int) -> Grams:
    return (grams << np.uint64(sampled_log2)) >> np.uint64(64 - bits)


def _among(values: Grams, others: Grams) -> NDArray[np.bool_]:
    """Whether each value is one of `others`, which are sorted."""
    if not len(others):
        return np.zeros(len(values), bool)
    places = np.minimum(np.searchsorted(others, values), len(others) - 1)
    found: NDArray[np.bool_] = others[places] == values
    return found
