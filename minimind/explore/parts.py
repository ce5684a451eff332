"""Parts of the training documents as shards of their own: the same holdout and tokenizer, less text."""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minimind.shards.packing import pack
from minimind.shards.reader import ShardReader
from minimind.shards.writer import write_shard
from minimind.store import Manifest, Outcome, Store, recipe
from minimind.tokenizer.encoding import TokenizedDocument


def part_of(shards: Manifest, share: float, tokens_per_shard: int, store: Store) -> Manifest:
    """Shards with the training documents that come first by the hashes of their ids, up to `share` of all tokens.

    So a smaller part lies within a larger one; the document that passes the limit belongs to it.
    """
    train = ShardReader(shards.path, "train")
    built_by = recipe(
        "explore",
        {"share": share, "tokens_per_shard": tokens_per_shard},
        inputs={name: digest for name, digest in shards.matching("").items() if name.endswith(".arrow")},
        libraries=("pyarrow",),
        parents={"shards": shards.fingerprint},
    )

    def write(folder: Path) -> Outcome:
        for name in shards.files:
            if not name.startswith("train-"):
                shutil.copyfile(shards.file(name), folder / name)
        numbers = first_documents(train.document_ids, train.lengths * train.occurrences, share)
        documents = [document_of(train, number) for number in numbers]
        vocabulary = int(shards.counts["vocabulary_size"])
        for number, shard in enumerate(pack(documents, tokens_per_shard)):
            write_shard(folder / f"train-{number:05d}.arrow", shard, vocabulary_size=vocabulary)
        tokens = sum(len(document.tokens) * document.occurrences for document in documents)
        return Outcome({"train_tokens": tokens, "train_documents": len(documents), "vocabulary_size": vocabulary})

    return store.build(built_by, write)


def first_documents(document_ids: Sequence[str], sizes: NDArray[np.int64], share: float) -> list[int]:
    """Their numbers, ascending."""
    order = sorted(range(len(document_ids)), key=lambda number: hashlib.sha256(document_ids[number].encode()).digest())
    before = np.cumsum(sizes[order]) - sizes[order]
    return sorted(number for number, reached in zip(order, before, strict=True) if reached < share * sizes.sum())


def document_of(reader: ShardReader, number: int) -> TokenizedDocument:
    return TokenizedDocument(
        reader.document_ids[number],
        reader.sources[number],
        int(reader.text_bytes[number]),
        reader.document(number),
        int(reader.occurrences[number]),
    )
