"""How often the gate promotes luck: pairs of real trainings of one recipe, which differ in nothing but their seed.

    python -m benchmarks.promotion --corpora $MINIMIND_CORPORA --working FOLDER

reads `<corpora>/medical-en/*.jsonl.gz`, trains 3 models for the spread between seeds and 2 x 20 for the pairs, scores
all on one holdout and asks the gate, under `better`, about each pair. Then, for the other side, models of the same
recipe with twice the steps against one of each pair: those ought to be promoted. What is trained is kept in FOLDER, so
that a stopped benchmark goes on by the same command; `--minutes` stops it. docs/benchmarks/promotion.json and its table
are written when all is there.
"""

import argparse
import json
import statistics
import tempfile
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.promotion.table import render
from benchmarks.recipe.running import NeverStop
from benchmarks.tokenizing import TRAINING_BYTES, Corpus, published_cleaning, published_tokenizer
from minimind.config import ModelSizes, RegistryConfig, ShardsConfig, TrainingConfig, load_config
from minimind.evaluation.compare import compare, compare_by_source, paired
from minimind.evaluation.holdout import read_holdout
from minimind.evaluation.scoring import DocumentScores, score
from minimind.evaluation.seed_spread import Known, SeedSpread, spread_of
from minimind.machine import describe_machine, git_commit
from minimind.registry.gate import Measured, decide
from minimind.shards.build import ShardsInputs, build
from minimind.store import Manifest, Store
from minimind.tokenizer.bpe import load_tokenizer
from minimind.training.budget import make_plan
from minimind.training.loop import Trainer

RESULTS = Path(__file__).parents[2] / "docs" / "benchmarks" / "promotion.json"
PROJECT = Path(__file__).parents[2]
SIZES = ModelSizes(hidden_size=64, layers=2, heads=2, kv_heads=1, head_size=32, intermediate_size=192)
VOCABULARY = 1024
FIRST_SEED, FIRST_PAIRED, FIRST_LONGER = 1, 101, 501
MAX_TRIPLES = 500
MAX_BYTES = 4_000_000  # of holdout text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--name", default="medical-en")
    parser.add_argument("--working", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--longer", type=int, default=5, help="models with twice the steps")
    parser.add_argument("--every", type=int, default=4, help="read only every so-manieth document (4)")
    parser.add_argument("--tokens", type=int, default=24_576, help="of a training")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so many, to be continued")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    stages, store = prepare(given)
    runs = {
        "seeds": [(FIRST_SEED + number, given.tokens) for number in range(given.seeds)],
        "pairs": [(FIRST_PAIRED + number, given.tokens) for number in range(2 * given.pairs)],
        "longer": [(FIRST_LONGER + number, 2 * given.tokens) for number in range(given.longer)],
    }
    deadline = time.monotonic() + 60 * given.minutes
    scored: dict[str, list[DocumentScores]] = {}
    for kind, wanted in runs.items():
        scored[kind] = []
        for seed, tokens in wanted:
            if time.monotonic() > deadline:
                raise SystemExit(f"stopped before seed {seed}; the same command goes on")
            scored[kind].append(trained_and_scored(seed, tokens, stages, store, given.working))
    results = judge_all(scored) | describe(given, stages)
    given.results.write_text(json.dumps(results, indent=1) + "\n")
    given.results.with_suffix(".md").write_text(render(results))


def prepare(given: argparse.Namespace) -> tuple[dict[str, Manifest], Store]:
    """Cleaning, tokenizer and shards; made once."""
    store = Store(given.working / "store", given.name)
    found = {stage: store.newest(stage) for stage in ("cleaning", "tokenizer", "shards")}
    if any(manifest is None for manifest in found.values()):
        given.working.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=given.working) as temporary:
            corpus = Corpus(given.name, given.corpora, Path(temporary), given.every)
            found["tokenizer"] = published_tokenizer(corpus.tokenizer(VOCABULARY, TRAINING_BYTES), store)
            found["cleaning"] = published_cleaning(corpus, store)
        section = ShardsConfig(tokens_per_shard=50_000_000, source_weights={}, old_documents_share=None)
        found["shards"] = build(section, ShardsInputs(found["cleaning"], found["tokenizer"]), store)
    return {stage: manifest for stage, manifest in found.items() if manifest}, store


def section_of(seed: int, tokens: int) -> TrainingConfig:
    """The recipe of configs/demo.yaml for a model of seconds."""
    section = load_config(PROJECT / "configs" / "demo.yaml").training.model_dump()
    section |= {
        "preset": None, "sizes": SIZES.model_dump(), "sequence_length": 128, "batch_tokens": 1024,
        "micro_batch_sequences": 8, "budget": f"{tokens} tokens", "devices": 1, "device": "cpu", "threads": 1,
        "compile": False, "evaluations": 1, "seed": seed,
    }  # fmt: skip
    return TrainingConfig(**section)


def trained_and_scored(
    seed: int, tokens: int, stages: dict[str, Manifest], store: Store, working: Path
) -> DocumentScores:
    """Of the model with this seed; trained in this process, once."""
    kept = working / f"scores-{seed}-{tokens}.npz"
    holdout = read_holdout(stages["cleaning"].file("holdout.parquet"), MAX_BYTES)
    if not kept.exists():
        started = time.process_time()
        plan = make_plan(section_of(seed, tokens), stages["shards"], store)
        trainer, stop = Trainer(plan, stages["shards"].path), NeverStop()
        for _ in range(plan.steps):
            trainer.train_step(stop)
        scores = score(trainer.model, load_tokenizer(stages["tokenizer"].path), holdout, stride_ratio=1.0)
        np.savez(kept, nats=scores.nats, tokens=scores.tokens, cpu_seconds=time.process_time() - started)
        print(f"seed {seed}, {tokens} tokens: {scores.bits_per_byte:.4f} bits per byte", flush=True)
    with np.load(kept) as found:
        return DocumentScores(
            [document.document_id for document in holdout.documents],
            [document.source for document in holdout.documents],
            np.array([document.text_bytes for document in holdout.documents]),
            found["tokens"],
            found["nats"],
        )


# --- the gate ---------------------------------------------------------------------------------------------------------


def judge_all(scored: dict[str, list[DocumentScores]]) -> dict[str, Any]:
    spread = spread_of_scores(scored["seeds"])
    pairs = list(zip(scored["pairs"][::2], scored["pairs"][1::2], strict=True))
    rows = [judged(champion, candidate, spread) for champion, candidate in pairs]
    longer = [
        judged(champion, candidate, spread)
        for candidate, (champion, _) in zip(scored["longer"], pairs[: len(scored["longer"])], strict=True)
    ]
    everyone = [*scored["seeds"], *scored["pairs"]]
    values = [one.bits_per_byte for one in everyone]
    return {
        "spread": {
            "share": spread.share,
            "seeds": spread.seeds,
            "of_all_runs": statistics.stdev(values) / statistics.fmean(values),
        },
        "runs": len(everyone),
        "pairs": rows,
        "longer": longer,
        "other_triples": other_triples(everyone[: spread.seeds], pairs, everyone),
    }


def spread_of_scores(scores: list[DocumentScores]) -> SeedSpread:
    return spread_of([one.bits_per_byte for one in scores], {})


def judged(champion: DocumentScores, candidate: DocumentScores, spread: SeedSpread) -> dict[str, Any]:
    before, now = paired(champion, candidate)
    whole, alone = compare(before, now, spread), compare(before, now, None)
    section = RegistryConfig(
        experiment="benchmark", promote_when="better", min_improvement=0, max_regression=1, seed_spread="measured",
        max_figures={}, required_tasks={},
    )  # fmt: skip
    decision = decide(
        section,
        Measured(
            version="2", bits_per_byte=now.bits_per_byte, figures={}, taken_out=False, champion="1", unreadable=None,
            incomparable=None, documents=len(now.document_ids), whole=whole,
            sources=compare_by_source(before, now, spread), champion_figures={},
            spread=Known(spread, "measured"),
        ),
    )  # fmt: skip
    return {
        "champion": before.bits_per_byte,
        "candidate": now.bits_per_byte,
        "change": list(whole.change),
        "documents_alone": list(alone.change),
        "promoted": decision.promoted,
        "better_by_documents_alone": alone.effect.high < 0,
    }


def other_triples(
    used: list[DocumentScores], pairs: list[tuple[DocumentScores, DocumentScores]], everyone: list[DocumentScores]
) -> dict[str, float]:
    """What would have come out with the spread of three other runs: the share of pairs promoted, over many triples."""
    triples = list(combinations(range(len(everyone)), len(used)))
    chosen = np.random.default_rng(1).choice(len(triples), min(MAX_TRIPLES, len(triples)), replace=False)
    reaches = [compare(*paired(*pair), None) for pair in pairs]
    wrong = []
    for number in chosen:
        spread = spread_of_scores([everyone[index] for index in triples[number]])
        half = spread.half_width(0.95)
        promoted = 0
        for one in reaches:
            seeds = half * float(np.hypot(one.baseline, one.candidate))
            promoted += one.effect.value + float(np.hypot(one.effect.high - one.effect.value, seeds)) < 0
        wrong.append(promoted)
    return {
        "triples": len(wrong),
        "promoted_share": float(np.mean(wrong)) / len(pairs),
        "more_than_one_promoted": float(np.mean(np.array(wrong) > 1)),
    }


def describe(given: argparse.Namespace, stages: dict[str, Manifest]) -> dict[str, Any]:
    cpu = [float(np.load(path)["cpu_seconds"]) for path in given.working.glob("scores-*.npz")]
    return {
        "corpus": f"{given.name}, every {given.every}th document",
        "train_bytes": stages["cleaning"].counts["train_bytes"],
        "holdout_bytes": stages["cleaning"].counts["holdout_bytes"],
        "holdout_documents": len(read_holdout(stages["cleaning"].file("holdout.parquet"), MAX_BYTES).documents),
        "sizes": SIZES.model_dump(),
        "vocabulary": VOCABULARY,
        "tokens": given.tokens,
        "cpu_seconds": sum(cpu),
        "torch": torch.__version__,
        "machine": describe_machine(),
        "git_commit": git_commit(),
    }


if __name__ == "__main__":
    main()
