"""Encoding through tiktoken against `tokenizers`, the shards stage with each, and what learning from a sample costs.

    python -m benchmarks.tokenizing --corpora $MINIMIND_CORPORA --names legal-de,legal-en

reads `<corpora>/<name>/*.jsonl.gz` (lines with id and text), takes turns between the encoders in one process, compares
every id, and writes docs/benchmarks/tokenizing.json, a row replacing an earlier one of the same part and setting, and
the table beside it (`--table` does only that). A part alone: `--parts encode,stage,sample`.
"""

import argparse
import gzip
import hashlib
import importlib.metadata
import json
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from benchmarks.measured import busy_seconds
from benchmarks.rows import Row, merge, surroundings, write_page
from benchmarks.tokenizing_table import key_of, render
from minimind.config import ShardsConfig
from minimind.parts import cores
from minimind.shards.build import ShardsInputs
from minimind.shards.build import build as build_shards
from minimind.store import Manifest, Outcome, Recipe, Store
from minimind.tokenizer.bpe import load_tokenizer, save_tokenizer, train_bpe
from minimind.tokenizer.encoding import encode_documents, pieces, read_texts, sampled_texts, with_tokenizers
from minimind.tokenizer.fast_encoding import ChosenEncoding, choose_encoding
from minimind.tokenizer.sampling import draw_sample, drawn, sample_texts

RESULTS = Path(__file__).parents[1] / "docs" / "benchmarks" / "tokenizing.json"
LIBRARIES = ("tokenizers", "tiktoken", "pyarrow", "numpy")
HOLDOUT_SHARE = 0.02
BATCH_CHARS = 2_000_000  # handed to `encode_batch` at once; all at once, its answers would take some 30 times the text
TRAINING_BYTES = 16_000_000  # for the tokenizers of the parts encode and stage


def main() -> None:
    given = arguments().parse_args()
    if not given.table:
        with tempfile.TemporaryDirectory() as working:
            for name in given.names.split(","):
                corpus = Corpus(name, given.corpora, Path(working), given.every)
                for part in given.parts.split(","):
                    for row in PARTS[part](corpus, given):
                        about = {"part": part, "corpus": name, "every": given.every}
                        merge(given.results, about | row | environment(), key_of)
    print(write_page(given.results, render))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, help="a folder with one folder a corpus")
    parser.add_argument("--every", type=int, default=1, help="read only every so-manieth document (1)")
    parser.add_argument("--names", default="legal-de,legal-en")
    parser.add_argument("--parts", default="encode,stage,sample")
    parser.add_argument("--vocabularies", default="4096,6400,32768")
    parser.add_argument("--megabytes", type=float, default=20, help="that each encoder gets (20)")
    parser.add_argument("--rounds", type=int, default=3, help="of each encoder, in turns; the fastest counts (3)")
    parser.add_argument("--samples", default="10,25,50,1000000", help="megabytes that a vocabulary is learned from")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="only write the table anew")
    return parser


class Corpus:
    """A corpus split as cleaning would publish it: train.parquet and holdout.parquet, in order of document_id."""

    def __init__(self, name: str, corpora: Path, working: Path, every: int) -> None:
        self.folder = working / name
        self.folder.mkdir()
        rows = sorted(islice(read_lines(name, corpora / name), 0, None, every), key=lambda row: row["document_id"])
        held = [row for row in rows if drawn("holdout", row["document_id"]) < HOLDOUT_SHARE]
        kept = [row for row in rows if drawn("holdout", row["document_id"]) >= HOLDOUT_SHARE]
        self.bytes = {"train": text_bytes(kept), "holdout": text_bytes(held)}
        for split, part in (("train", kept), ("holdout", held)):
            pq.write_table(pa.Table.from_pylist(part), self.file(split), compression="zstd", row_group_size=2_048)

    def file(self, split: str) -> Path:
        return self.folder / f"{split}.parquet"

    def tokenizer(self, vocabulary_size: int, sample_bytes: int = TRAINING_BYTES) -> Tokenizer:
        sample = draw_sample(self.file("train"), sample_bytes)
        texts = sample_texts(self.file("train"), sample)
        folder = self.folder / f"{vocabulary_size}-{sample_bytes}"
        if not folder.is_dir():
            trained = train_bpe((piece for text in texts for piece in pieces(text)), vocabulary_size)
            folder.mkdir()
            save_tokenizer(trained, folder)
        return load_tokenizer(folder)


def read_lines(name: str, folder: Path) -> Iterator[dict[str, str]]:
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in map(json.loads, lines):
                text = unicodedata.normalize("NFC", line["text"])
                yield {"document_id": f"{name}/{line['id']}", "text": text, "source": name}


def text_bytes(rows: list[dict[str, str]]) -> int:
    return sum(len(row["text"].encode()) for row in rows)


def measure_encoders(corpus: Corpus, given: argparse.Namespace) -> Iterator[Row]:
    """A row a vocabulary: megabytes a second of each encoder, and whether all ids are equal."""
    sample = draw_sample(corpus.file("train"), int(given.megabytes * 1e6))
    texts = list(sample_texts(corpus.file("train"), sample))
    for vocabulary_size in map(int, given.vocabularies.split(",")):
        tokenizer = corpus.tokenizer(vocabulary_size)
        chosen = choose_encoding(tokenizer, sampled_texts(corpus.file("train")))
        encoders: dict[str, Callable[[], list[Any]]] = {
            "encode_batch": lambda tokenizer=tokenizer: encoded_at_once(tokenizer.encode_batch, texts),
            "encode_batch_fast": lambda tokenizer=tokenizer: encoded_at_once(tokenizer.encode_batch_fast, texts),
            chosen.details["library"]: lambda chosen=chosen: list(encode_documents(chosen.encode, texts)),
        }
        timed: dict[str, list[Row]] = {name: [] for name in encoders}
        ids = {}
        for _ in range(given.rounds):
            for name, encode in encoders.items():
                found, cost = timed_call(encode)
                ids[name] = digest(found, first=1 if name == chosen.details["library"] else 0)
                timed[name].append(cost)
        fastest = {name: min(costs, key=lambda cost: float(cost["cpu_seconds"])) for name, costs in timed.items()}
        yield {
            "vocabulary": vocabulary_size,
            "documents": sample.documents,
            "bytes": sample.bytes,
            "ids_equal": len(set(ids.values())) == 1,
            "encoders": fastest,
            "rounds": given.rounds,
        }


def digest(documents: list[Any], first: int) -> str:
    """Of all ids, with the borders of documents; ours begin with an end of text, which `tokenizers` does not add."""
    found = hashlib.sha256()
    for ids in documents:
        found.update(np.asarray(ids[first:], dtype=np.uint32).tobytes() + b"|")
    return found.hexdigest()


def encoded_at_once(encode_batch: Callable[..., Any], texts: list[str]) -> list[list[int]]:
    """The ids of each text, as `tokenizers` gives them for batches of whole texts."""
    ids: list[list[int]] = []
    batch: list[str] = []
    chars = 0
    for number, text in enumerate(texts):
        batch.append(text)
        chars += len(text)
        if chars >= BATCH_CHARS or number == len(texts) - 1:
            ids += [encoding.ids for encoding in encode_batch(batch, add_special_tokens=False)]
            batch, chars = [], 0
    return ids


def measure_stage(corpus: Corpus, given: argparse.Namespace) -> Iterator[Row]:
    """One row: the shards stage with tiktoken and with `tokenizers`, and whether their files are equal."""
    vocabulary_size = int(given.vocabularies.split(",")[0])
    tokenizer = corpus.tokenizer(vocabulary_size)
    slow = ChosenEncoding(with_tokenizers(tokenizer), {"library": "tokenizers"})
    costs, files = {}, {}
    for name in ("tiktoken", "tokenizers"):
        with tempfile.TemporaryDirectory() as root:
            store = Store(Path(root), corpus.file("train").parent.name)
            inputs = ShardsInputs(published_cleaning(corpus, store), published_tokenizer(tokenizer, store))
            section = ShardsConfig(tokens_per_shard=50_000_000, source_weights={}, old_documents_share=None)
            chosen = choose_encoding if name == "tiktoken" else (lambda *_: slow)
            with patch("minimind.shards.build.choose_encoding", chosen):
                manifest, costs[name] = timed_call(lambda s=section, i=inputs, t=store: build_shards(s, i, t))
            assert manifest.details["encoding"]["library"] == name, manifest.details
            files[name] = {key: entry.sha256 for key, entry in manifest.files.items()}
    yield {
        "vocabulary": vocabulary_size,
        "bytes": sum(corpus.bytes.values()),
        "files_equal": files["tiktoken"] == files["tokenizers"],
        "encoders": costs,
    }


def published_cleaning(corpus: Corpus, store: Store) -> Manifest:
    def write(folder: Path) -> Outcome:
        for split in ("train", "holdout"):
            (folder / f"{split}.parquet").hardlink_to(corpus.file(split))
        return Outcome({f"{split}_bytes": size for split, size in corpus.bytes.items()})

    return store.build(Recipe("cleaning", {}, {}, {}, {}), write)


def published_tokenizer(tokenizer: Tokenizer, store: Store) -> Manifest:
    def write(folder: Path) -> Outcome:
        save_tokenizer(tokenizer, folder)
        return Outcome({})

    return store.build(Recipe("tokenizer", {}, {}, {}, {}), write)


def measure_samples(corpus: Corpus, given: argparse.Namespace) -> Iterator[Row]:
    """A row a vocabulary and sample: seconds of training, and bytes a token holds on documents it never saw."""
    for vocabulary_size in map(int, given.vocabularies.split(",")):
        for megabytes in map(float, given.samples.split(",")):
            sample_bytes = int(megabytes * 1e6)
            sample = draw_sample(corpus.file("train"), sample_bytes)
            tokenizer, cost = timed_call(lambda v=vocabulary_size, b=sample_bytes: corpus.tokenizer(v, b))
            chosen = choose_encoding(tokenizer, sampled_texts(corpus.file("holdout")))
            encoded = encode_documents(chosen.encode, read_texts(corpus.file("holdout")))
            tokens = sum(len(ids) - 1 for ids in encoded)
            yield {
                "vocabulary": vocabulary_size,
                "sample_bytes": sample.bytes,
                "sample_documents": sample.documents,
                "holdout_bytes": corpus.bytes["holdout"],
                "bytes_per_token": round(corpus.bytes["holdout"] / tokens, 4),
                "training": cost,
            }


def timed_call(call: Callable[[], Any]) -> tuple[Any, Row]:
    """What it returns, and its seconds; `other_cores`: what other processes used meanwhile."""
    busy, wall, cpu = busy_seconds(), time.perf_counter(), time.process_time()
    returned = call()
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    other = max(busy_seconds() - busy - cpu_seconds, 0) / seconds
    return returned, {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "other_cores": round(other, 2),
    }


PARTS = {"encode": measure_encoders, "stage": measure_stage, "sample": measure_samples}


def environment() -> Row:
    return surroundings() | {
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "threads": cores(),
    }


if __name__ == "__main__":
    main()
