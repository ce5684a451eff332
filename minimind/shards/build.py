"""The shards stage: train and holdout as token ids, in files that training maps into memory."""

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minimind.config import ShardsConfig
from minimind.digests import sha256_of_file
from minimind.parts import IN_TURN, Workers
from minimind.shards.mixing import Mixing
from minimind.shards.packing import pack
from minimind.shards.replay import OldDocuments, weigh_old_documents
from minimind.shards.tokenizing import PART_BYTES, TokenizingPart, documents_of, runs_of_row_groups, tokenize_part
from minimind.shards.writer import write_shard, write_token_bytes
from minimind.store import Manifest, Outcome, Store, recipe
from minimind.tokenizer.bpe import load_tokenizer, token_lengths
from minimind.tokenizer.encoding import TokenizedDocument, sampled_texts
from minimind.tokenizer.fast_encoding import choose_encoding

SPLITS = ("train", "holdout")
PARTS = ".parts"  # encoded, and not yet packed


@dataclass(frozen=True)
class ShardsInputs:
    cleaning: Manifest
    tokenizer: Manifest
    old: Path | None = None  # the ledger of the documents that the model to start from has seen; None: from scratch
    workers: Workers = IN_TURN
    part_bytes: int = PART_BYTES  # of text that one worker encodes at a time; shapes no result


def build(section: ShardsConfig, inputs: ShardsInputs, store: Store) -> Manifest:
    """`train-*.arrow`, `holdout-*.arrow` and `token_bytes.arrow`; who encodes, in how many parts, shapes no byte."""
    cleaning, tokenizer_manifest = inputs.cleaning, inputs.tokenizer
    old = inputs.old if section.old_documents_share is not None else None
    built_by = recipe(
        "shards",
        section if old else section.model_copy(update={"old_documents_share": None}),
        inputs=cleaning.matching("train.parquet")
        | cleaning.matching("holdout.parquet")
        | tokenizer_manifest.matching("tokenizer.json")
        | ({"old documents": sha256_of_file(old)} if old else {}),
        libraries=("tokenizers", "tiktoken", "pyarrow"),
        parents={"cleaning": cleaning.fingerprint, "tokenizer": tokenizer_manifest.fingerprint},
    )

    def write(folder: Path) -> Outcome:
        tokenizer = load_tokenizer(tokenizer_manifest.file("tokenizer.json"))
        lengths = token_lengths(tokenizer)
        chosen = choose_encoding(tokenizer, sampled_texts(cleaning.file("train.parquet")))
        write_token_bytes(folder / "token_bytes.arrow", lengths)
        parts = tokenizing_parts(inputs, folder / PARTS, chosen.details["library"], len(lengths))
        workers = inputs.workers if parts[0].at_once > 1 else IN_TURN
        total = sum(part.size for part in parts)
        for _ in workers.each(tokenize_part, parts, partial(store.report, "shards")):
            pass
        mixing = Mixing(section.source_weights, known_documents(section, cleaning, old))
        counts: dict[str, float] = {}
        for split in SPLITS:
            store.report("shards", total, total, f"packing {split}")
            encoded = (part.target for part in parts if part.texts.stem == split)
            documents: Iterator[TokenizedDocument] = chain.from_iterable(map(documents_of, encoded))
            if split == "train":
                documents = mixing.weighted(documents)
            counts |= _write_split(folder, split, documents, section.tokens_per_shard, lengths)
        shutil.rmtree(folder / PARTS)
        counts |= {"vocabulary_size": len(lengths), "files": len(list(folder.glob("*-*.arrow")))}
        return Outcome(counts, {"encoding": chosen.details, "sources": mixing.rows(), "ages": mixing.ages()})

    return store.build(built_by, write)


def tokenizing_parts(inputs: ShardsInputs, folder: Path, library: str, vocabulary_size: int) -> list[TokenizingPart]:
    """Those of each split in the order of its documents; makes the folder that they go to."""
    folder.mkdir()
    texts = [inputs.cleaning.file(f"{split}.parquet") for split in SPLITS]
    runs = [(path, n, run) for path in texts for n, run in enumerate(runs_of_row_groups(path, inputs.part_bytes))]
    full = math.ceil(sum(size for _, _, (_, size) in runs) / inputs.part_bytes)
    return [
        TokenizingPart(
            target=folder / f"{path.stem}-{number:05}.arrow",
            texts=path,
            row_groups=groups,
            tokenizer=inputs.tokenizer.file("tokenizer.json"),
            library=library,
            vocabulary_size=vocabulary_size,
            at_once=min(inputs.workers.at_once, full),
            size=size,
        )
        for path, number, (groups, size) in runs
    ]


def known_documents(section: ShardsConfig, cleaning: Manifest, old: Path | None) -> OldDocuments | None:
    if old is None or section.old_documents_share is None:
        return None
    train = cleaning.file("train.parquet")
    return weigh_old_documents(train, old, section.source_weights, section.old_documents_share)


def _write_split(
    folder: Path,
    split: str,
    documents: Iterator[TokenizedDocument],
    tokens_per_shard: int,
    lengths: NDArray[np.int32],
) -> dict[str, float]:
    """Writes the shard files of one split; documents in them, and tokens in one epoch of them."""
    tokens = rows = 0
    for number, shard in enumerate(pack(documents, tokens_per_shard)):
        for document in shard:
            assert lengths[document.tokens].sum() == document.text_bytes, f"{document.document_id} lost bytes"
        write_shard(folder / f"{split}-{number:05d}.arrow", shard, vocabulary_size=len(lengths))
        tokens += sum(len(document.tokens) * document.occurrences for document in shard)
        rows += len(shard)
    return {f"{split}_tokens": tokens, f"{split}_documents": rows}
