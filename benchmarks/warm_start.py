"""A retraining that starts from the model in use, against one from scratch: on half of a corpus, then on all of it.

    python -m benchmarks.warm_start --corpora $MINIMIND_CORPORA --name legal-en --store FOLDER --tokens 600k

reads `<corpora>/<name>/*.jsonl.gz` (lines with id and text). The first month has one half of the documents; a model is
trained on it from scratch. The second month has all of them, and every other row is a training on these, with the same
number of tokens unless its name says otherwise: for one size of model, equal tokens are equal time. Documents go
through corpus, cleaning (with the ledger of the first month), tokenizer and shards as in a retraining, by the config
of that name in configs/, but for sizes. `--old random` draws the half by the hash of the ids, `--old law` takes all
but contracts, licences and policies, which then are new in the second month.

Each run becomes a row of docs/benchmarks/warm_start.json as it ends; a row that is there is not run again, and a run
that was stopped goes on. `--table` only writes the table beside it anew.
"""

import argparse
import gzip
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import itemgetter
from pathlib import Path

from benchmarks.rows import Row, merge, read_rows, surroundings, write_page
from benchmarks.warm_start_table import render
from minimind.cleaning.build import CleaningInputs
from minimind.cleaning.build import build as build_cleaning
from minimind.config import Config, LocalFilesSource, load_config
from minimind.corpus.build import CorpusInputs
from minimind.corpus.build import build as build_corpus
from minimind.evaluation.scoring import score_folder
from minimind.shards.build import ShardsInputs
from minimind.shards.build import build as build_shards
from minimind.store import Manifest, Store
from minimind.tokenizer.build import TokenizerInputs
from minimind.tokenizer.build import build as build_tokenizer
from minimind.tokenizer.sampling import drawn
from minimind.training.build import TrainingInputs
from minimind.training.build import build as build_training
from minimind.training.metrics import read_metrics
from minimind.training.start import Start

PROJECT = Path(__file__).parents[1]
RESULTS = PROJECT / "docs" / "benchmarks" / "warm_start.json"
SIZES = {
    "micro": "{hidden_size: 64, layers: 3, heads: 2, kv_heads: 1, head_size: 32, intermediate_size: 192}",
    "tiny": "{hidden_size: 128, layers: 4, heads: 4, kv_heads: 2, head_size: 32, intermediate_size: 384}",
}
PRIVATE = ("cuad", "spdx", "choosealicense", "github-policy", "basecamp-policy", "commonpaper", "seriesseed")
KEY = ("corpus", "every", "old", "preset", "vocabulary_size", "tokens", "seed", "arm")
key_of = itemgetter(*KEY)


@dataclass(frozen=True)
class Arm:
    name: str
    says: str
    warm: bool = True
    peak_ratio: float = 0.5
    share: float | None = None  # of old documents in an epoch
    budgets: int = 1
    first_month: bool = False


ARMS = (
    Arm("first", "the first month's model as it is, trained on the half", warm=False, first_month=True),
    Arm("scratch", "from scratch on all, with a tokenizer of its own", warm=False),
    Arm("scratch-2x", "the same with twice the tokens: what both months took", warm=False, budgets=2),
    Arm("warm-1", "from the first month's model, peak 1", peak_ratio=1.0),
    Arm("warm-0.5", "peak 0.5, as in configs/", peak_ratio=0.5),
    Arm("warm-0.25", "peak 0.25", peak_ratio=0.25),
    Arm("warm-0.5-new", "peak 0.5, new documents alone", share=0.0),
    Arm("warm-0.5-quarter", "peak 0.5, a quarter of the epoch old documents", share=0.25),
)


def main() -> None:
    given = arguments().parse_args()
    if not given.table:
        for row in missing_rows(given):
            merge(given.results, row, key_of)
            print(f"{row['arm']} seed {row['seed']}: {row['bits_per_byte']:.4f} bits per byte", flush=True)
    write_page(given.results, partial(render, says={arm.name: arm.says for arm in ARMS}))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.warm_start",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--corpora", type=Path)
    parser.add_argument("--name", default="legal-en")
    parser.add_argument("--store", type=Path, help="a folder for all that is built")
    parser.add_argument("--every", type=int, default=16, help="read only every so-manieth document (16)")
    parser.add_argument(
        "--old", choices=("random", "law"), default="random", help="which documents the first month has"
    )
    parser.add_argument("--preset", choices=tuple(SIZES), default="micro")
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument("--tokens", default="600k", help="of each training (600k)")
    parser.add_argument("--arms", default=",".join(arm.name for arm in ARMS), help="names, with commas between (all)")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="only write the table anew")
    return parser


def missing_rows(given: argparse.Namespace) -> Iterator[Row]:
    known = set(map(key_of, read_rows(given.results)))
    chosen = given.arms.split(",")
    unknown = set(chosen) - {arm.name for arm in ARMS}
    if unknown or given.corpora is None or given.store is None:
        raise SystemExit(f"--corpora and --store are needed, and arms are {', '.join(arm.name for arm in ARMS)}")
    months = Months(given)
    for seed in map(int, given.seeds.split(",")):
        for arm in (arm for arm in ARMS if arm.name in chosen):
            row = {"corpus": given.name, "every": given.every, "old": given.old, "preset": given.preset}
            row |= {"vocabulary_size": given.vocabulary, "tokens": given.tokens, "seed": seed, "arm": arm.name}
            if key_of(row) not in known:
                yield row | months.run(arm, seed) | surroundings()


class Months:
    """Both months' documents, and the trainings on them; what the store has is not built again."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.store = Store(given.store / f"{given.name}-{given.every}-{given.old}", given.name)
        files = split_corpus(given, self.store.root)
        self.cleanings: list[Manifest] = []
        for names in (("old",), ("old", "new")):  # in this order: the second goes on from the ledger of the first
            sources = [LocalFilesSource(kind="local_files", name=name, paths=[str(files[name])]) for name in names]
            config = self.config(1)
            corpus = build_corpus(config.corpus.model_copy(update={"sources": sources}), CorpusInputs(), self.store)
            self.cleanings.append(build_cleaning(config.cleaning, CleaningInputs(corpus), self.store))

    def config(self, seed: int, arm: Arm = ARMS[0]) -> Config:
        given = self.given
        amount, scale = float(given.tokens.rstrip("kM")), given.tokens.lstrip("0123456789.")
        overrides = {
            "cleaning.split.holdout_share": 0.05, "cleaning.split.min_documents": 20,
            "cleaning.split.min_bytes": 300_000, "tokenizer.vocabulary_size": given.vocabulary,
            "training.sizes": SIZES[given.preset], "training.sequence_length": 256, "training.batch_tokens": 4096,
            "training.micro_batch_sequences": 16, "training.budget": f"{arm.budgets * amount:g}{scale} tokens",
            "training.threads": 1, "training.evaluations": 8, "training.seed": seed,
            "training.warm_start.peak_ratio": arm.peak_ratio, "training.checkpoint_seconds": 20,
        }  # fmt: skip
        return load_config(PROJECT / "configs" / f"{given.name}.yaml", [f"{k}={v}" for k, v in overrides.items()])

    def run(self, arm: Arm, seed: int) -> Row:
        started, cpu = time.perf_counter(), children_cpu_seconds()
        training, shards = self.train(arm, seed)
        cpu, seconds = children_cpu_seconds() - cpu, time.perf_counter() - started
        whole = not training.reused and not training.counts["resumed"]
        holdout = self.cleanings[1].file("holdout.parquet")
        scores = score_folder(training.path / "model", holdout, "cpu", self.config(seed).evaluation)
        curve = [
            {"tokens": line["tokens"], "bits_per_byte": line["holdout_bits_per_byte"]}
            for line in read_metrics(training.file("metrics.jsonl"))
            if "holdout_bits_per_byte" in line
        ]
        return {
            "bits_per_byte": scores.bits_per_byte,
            **{f"{age}_bits_per_byte": scores.of_source(age).bits_per_byte for age in ("old", "new")},
            "holdout_documents": len(scores.document_ids),
            "holdout_bytes": int(scores.text_bytes.sum()),
            "trained_tokens": training.counts["tokens"],
            "epochs": training.counts["epochs"],
            "parameters": training.counts["parameters"],
            "old_share": old_share(shards),
            "cpu_seconds": round(cpu, 1) if whole else None,
            "seconds": round(seconds, 1) if whole else None,
            "curve": curve,
        }

    def train(self, arm: Arm, seed: int) -> tuple[Manifest, Manifest]:
        first = None if not arm.warm else self.train(ARMS[0], seed)[0]
        start = Start(first.path / "model", {"seed": str(seed)}, first.fingerprint) if first else None
        config, cleaning = self.config(seed, arm), self.cleanings[0 if arm.first_month else 1]
        kept = start.folder if start else None
        tokenizer = build_tokenizer(config.tokenizer, TokenizerInputs(cleaning, kept), self.store)
        ledger = self.cleanings[0].file("ledger.parquet") if start else None
        section = config.shards.model_copy(update={"old_documents_share": arm.share})
        shards = build_shards(section, ShardsInputs(cleaning, tokenizer, ledger), self.store)
        return build_training(config.training, TrainingInputs(shards, tokenizer, start=start), self.store), shards


def split_corpus(given: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """The documents of the first month, and those that come in the second, as files of JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.jsonl" for name in ("old", "new")}
    if not all(path.exists() for path in files.values()):
        lines: dict[str, list[str]] = {"old": [], "new": []}
        for line in islice(read_lines(given.corpora / given.name), 0, None, given.every):
            lines[age_of(json.loads(line)["id"], given.old)].append(line)
        for name, path in files.items():
            path.write_text("".join(lines[name]), encoding="utf-8")
    return files


def age_of(document_id: str, old: str) -> str:
    if old == "random":
        return "old" if drawn("half", document_id) < 0.5 else "new"
    return "new" if document_id.startswith(PRIVATE) else "old"


def read_lines(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from lines


def old_share(shards: Manifest) -> float:
    """Of the tokens of an epoch; a source is one month's documents."""
    tokens = {row["source"]: row["epoch_tokens"] for row in shards.details["sources"]}
    return round(tokens.get("old", 0) / sum(tokens.values()), 4)


def children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
