"""The shards stage: train and holdout as token ids, in files that training maps into memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minimind.config import ShardsConfig
from minimind.shards.mixing import Mixing
from minimind.shards.packing import pack
from minimind.shards.replay import OldDocuments, weigh_old_documents
from minimind.shards.writer import write_shard, write_token_bytes
from minimind.store import Manifest, Outcome, Store, recipe, sha256_of_file
from minimind.tokenizer.bpe import load_tokenizer, token_lengths
from minimind.tokenizer.encoding import TokenizedDocument, sampled_texts, tokenized_documents
from minimind.tokenizer.fast_encoding import choose_encoding

SPLITS = ("train", "holdout")


@dataclass(frozen=True)
class ShardsInputs:
    cleaning: Manifest
    tokenizer: Manifest
    old: Path | None = None  # the ledger of the documents that the model to start from has seen; None: from scratch


def build(section: ShardsConfig, inputs: ShardsInputs, store: Store) -> Manifest:
    """`train-*.arrow`, `holdout-*.arrow` and `token_bytes.arrow`; the bytes do not depend on the number of threads."""
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
        total_bytes = cleaning.counts["train_bytes"] + cleaning.counts["holdout_bytes"]
        done_bytes = 0.0
        mixing = Mixing(section.source_weights, known_documents(section, cleaning, old))
        counts: dict[str, float] = {}
        for split in SPLITS:
            documents = tokenized_documents(chosen.encode, cleaning.file(f"{split}.parquet"))
            documents = _reported(documents, split, done_bytes, total_bytes, store)
            if split == "train":
                documents = mixing.weighted(documents)
            counts |= _write_split(folder, split, documents, section.tokens_per_shard, lengths)
            done_bytes += cleaning.counts[f"{split}_bytes"]
        counts |= {"vocabulary_size": len(lengths), "files": len(list(folder.glob("*-*.arrow")))}
        return Outcome(counts, {"encoding": chosen.details, "sources": mixing.rows(), "ages": mixing.ages()})

    return store.build(built_by, write)


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


def _reported(
    documents: Iterator[TokenizedDocument], split: str, done_bytes: float, total_bytes: float, store: Store
) -> Iterator[TokenizedDocument]:
    """The documents as they are; on the way, how far the encoding is."""
    for number, document in enumerate(documents):
        if number % 200 == 0:
            store.report("shards", done_bytes, total_bytes, f"encoding {split}")
        yield document
        done_bytes += document.text_bytes
    store.report("shards", done_bytes, total_bytes, f"encoding {split}")
