"""Corpora of any size, made of given ones: first the documents as they are, then seeded edits of them.

    python -m benchmarks.cleaning.enlarged --input legal-de/*.jsonl.gz legal-en/*.jsonl.gz --megabytes 1000 --output DIR

The same files, size, seed and share give the same bytes. Documents come from the input files in turn, from the one
that has given the fewest bytes so far, so that several corpora are mixed evenly. When all are used up, the files are
read again, and every document becomes an edited one:

- 1 in 50 is an exact copy,
- 1 in 5 a near-copy: each word is, with a probability drawn for the document, exchanged for another of its words
  (half of the edits), left out (a quarter) or doubled by another of its words (a quarter). The probability is the one
  that gives a Jaccard similarity between 0.5 and 1 to the original, drawn uniformly (see `edits_for`);
- all others are new documents: a third of their words is exchanged, which leaves a similarity below 0.1.

Near-copies of one document in several rounds resemble each other less than each the original, so that chains arise.
`edited_share` puts edits of earlier documents among the originals, for measurements on small corpora. An edit's id is
`<original>~<round>-<kind>`. Random numbers come from numpy's RandomState, whose stream never changes.
"""

import argparse
import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

SEED = 3
EXACT_SHARE, NEAR_SHARE = 0.02, 0.2
NEW_DOCUMENT_EDITS = 0.35  # of the words; leaves a Jaccard similarity of about 0.06 over 5-word shingles
SHINGLE_WORDS = 5
EDIT = re.compile(r"~\d+-(exact|near|new)$")  # at the end of an id
PARTS = 2  # files; one for each core that a tool with one process a file may use


class Document(NamedTuple):
    id: str
    text: str


def enlarge(
    inputs: Sequence[Path], size_bytes: int, folder: Path, seed: int = SEED, edited_share: float = 0.0
) -> dict[str, int]:
    """How many documents were written to `folder/part-*.jsonl`, by kind, and their bytes of text.

    Files are balanced by bytes. One document is in memory at a time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = {"bytes": 0}
    sizes = [0] * PARTS
    files = [(folder / f"part-{number}.jsonl").open("w", encoding="utf-8") for number in range(PARTS)]
    try:
        for document in documents(inputs, seed, edited_share):
            size = len(document.text.encode("utf-8", "surrogatepass"))
            if counts["bytes"] + size > size_bytes and counts["bytes"]:
                break
            part = sizes.index(min(sizes))
            files[part].write(json.dumps(document._asdict(), ensure_ascii=False) + "\n")
            sizes[part] += size
            counts["bytes"] += size
            edit = EDIT.search(document.id)
            kind = edit[1] if edit else "original"
            counts[kind] = counts.get(kind, 0) + 1
    finally:
        for file in files:
            file.close()
    return counts


def documents(inputs: Sequence[Path], seed: int = SEED, edited_share: float = 0.0) -> Iterator[Document]:
    """The originals, then edits of them without end."""
    for original in in_turn(inputs):
        yield original
        if edited_share and random_state(seed, "put in", original.id).random_sample() < edited_share:
            yield edited(original, 0, seed, EXACT_SHARE / (EXACT_SHARE + NEAR_SHARE), 1.0)
    number = 0
    while True:
        number += 1
        for original in in_turn(inputs):
            yield edited(original, number, seed, EXACT_SHARE, EXACT_SHARE + NEAR_SHARE)


def edited(original: Document, number: int, seed: int, exact_below: float, near_below: float) -> Document:
    """An exact copy, a near-copy or a new document, as the seed has it for this id and round."""
    chance = random_state(seed, str(number), original.id)
    kind = chance.random_sample()
    if kind < exact_below:
        return Document(f"{original.id}~{number}-exact", original.text)
    if kind < near_below:
        edits = edits_for(0.5 + 0.5 * chance.random_sample())
        return Document(f"{original.id}~{number}-near", with_edits(original.text, edits, chance))
    return Document(f"{original.id}~{number}-new", with_edits(original.text, NEW_DOCUMENT_EDITS, chance))


def edits_for(jaccard: float) -> float:
    """The share of edited words that leaves about this Jaccard similarity to the original.

    A shingle stays if none of its words is edited; with a share s of shingles left in both of two sets of about one
    size, J = s / (2 - s).
    """
    return 1 - (2 * jaccard / (1 + jaccard)) ** (1 / SHINGLE_WORDS)


def with_edits(text: str, edits: float, chance: np.random.RandomState) -> str:
    """The text with this share of its words exchanged, left out or doubled; line breaks stay with their words."""
    words = text.split(" ")
    places = np.flatnonzero(chance.random_sample(len(words)) < edits)
    others = (chance.random_sample(len(places)) * len(words)).astype(np.int64)
    kinds = (chance.random_sample(len(places)) * 4).astype(np.int64)
    changed = list(words)
    for place, other, kind in zip(places.tolist(), others.tolist(), kinds.tolist(), strict=True):
        if kind < 2:
            changed[place] = words[other]
        elif kind == 2:
            changed[place] = ""
        else:
            changed[place] = f"{words[place]} {words[other]}"
    return " ".join(filter(None, changed))


def random_state(seed: int, *names: str) -> np.random.RandomState:
    digest = hashlib.sha256("\n".join([str(seed), *names]).encode("utf-8", "surrogatepass")).digest()
    return np.random.RandomState(np.frombuffer(digest, np.uint32))


def in_turn(inputs: Sequence[Path]) -> Iterator[Document]:
    """Every document of the files once, always from the file that has given the fewest bytes and has more."""
    readers = {number: read(path) for number, path in enumerate(inputs)}
    given = dict.fromkeys(readers, 0)
    while readers:
        number = min(readers, key=lambda n: (given[n], n))
        document = next(readers[number], None)
        if document is None:
            del readers[number]
            continue
        given[number] += len(document.text)
        yield document


def read(path: Path) -> Iterator[Document]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        for line in lines:
            record = json.loads(line)
            yield Document(record["id"], record["text"])


def sha256_of(folder: Path) -> str:
    """One digest for all parts, in order."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("part-*.jsonl")):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, nargs="+", required=True, help="JSON lines with id and text, .gz or not")
    parser.add_argument("--megabytes", type=float, required=True, help="of text, UTF-8")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--edited-share", type=float, default=0.0, help="edits put among the originals, by documents")
    given = parser.parse_args()
    counts = enlarge(given.input, int(given.megabytes * 1e6), given.output, given.seed, given.edited_share)
    print(json.dumps(counts | {"sha256": sha256_of(given.output)}))


if __name__ == "__main__":
    main()
