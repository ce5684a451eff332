"""Three trainings of a tiny model: on all of the training text, on a half and on a quarter of it; the same holdout.

Half of the budget goes to the whole; the half and the quarter get half as many tokens each. So the whole and the half
tell what text and training bring together, the half and the quarter what text alone does. All three end with a rate
that has decayed: an evaluation in the middle of a training is not what a shorter one would have reached.
"""

import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from minimind.config import EvaluationConfig, OptimizerConfig, SamplingConfig, TrainingConfig, parse_budget
from minimind.errors import ConfigError, CorpusTooSmallError
from minimind.evaluation.holdout import Holdout
from minimind.evaluation.overlap import read_unseen
from minimind.evaluation.references import make_dictionary, zstd_bytes
from minimind.evaluation.samples import all_prompts, write_samples
from minimind.evaluation.scoring import Progress, Scores, choose_device, score
from minimind.explore.parts import part_of
from minimind.model.hugging_face import load_model
from minimind.shards.reader import ShardReader
from minimind.store import Manifest, Outcome, Store, recipe
from minimind.tokenizer.bpe import load_tokenizer
from minimind.training.budget import plan_training
from minimind.training.build import TrainingInputs
from minimind.training.build import build as build_training
from minimind.training.metrics import read_metrics
from minimind.training.plan import Plan
from minimind.training.schedule import least_steps

SHARES = (1.0, 0.5, 0.25)
MAX_EPOCHS = 8  # of the whole; the quarter sees its text 16 times then, and a time more is worth a third of fresh text
PRESET = "tiny"
TRIED = {  # of the section: the recipe that the ladder was measured with
    "start_from": "scratch", "preset": PRESET, "sizes": None, "sequence_length": 256, "batch_tokens": 4096,
    "micro_batch_sequences": 16, "evaluations": 10, "permanent_checkpoint_steps": None,
}  # fmt: skip
OPTIMIZER = {"schedule": "linear", "warmup_ratio": 0.05, "decay_ratio": 0.5}
SCORED_BYTES = 500_000  # of the holdout
STRIDE_RATIO = 1.0
SCORED_BY = ("max_bytes", "max_overlap", "seed")  # of the evaluation's keys
PART_TOKENS = 50_000_000  # in a shard file
SAMPLING = SamplingConfig(prompts=[], holdout_prompts=2, max_new_tokens=80, temperature=0.8, top_p=0.95, seed=1)


@dataclass(frozen=True)
class ExploreInputs:
    cleaning: Manifest
    tokenizer: Manifest
    shards: Manifest


def tried(section: TrainingConfig, budget: str) -> TrainingConfig:
    """The section as the three trainings share it; `budget` is that of all. Raises ConfigError for no budget."""
    try:
        amount, unit = parse_budget(budget)
    except ValueError as error:
        raise ConfigError("--budget", [str(error)]) from None
    half = f"{amount / 2:.4f}".rstrip("0").rstrip(".") + ("s" if unit == "seconds" else f" {unit}")
    optimizer = OptimizerConfig.model_validate(section.optimizer.model_dump() | OPTIMIZER)
    return TrainingConfig.model_validate(
        section.model_dump() | TRIED | {"optimizer": optimizer.model_dump(), "budget": half}
    )


def build(section: TrainingConfig, evaluation: EvaluationConfig, inputs: ExploreInputs, store: Store) -> Manifest:
    """Details: `trials`, the first of them of all text, its `curve`, `samples` of what it writes, `holdout`.

    One turn of the store is held for all of it. Each training is a build of its own, so that what was trained before a
    stop is found again. The parts of the text lie in the folder of this build and go with it, finished or not: another
    exploration of the same text has its own. Raises ConfigError for a budget that is too short, CorpusTooSmallError for
    a corpus that cannot be quartered, or whose holdout stands in the training text.
    """
    evaluation = evaluation.model_copy(
        update={"max_bytes": min(SCORED_BYTES, evaluation.max_bytes), "stride_ratio": STRIDE_RATIO}
    )
    cleaning, tokenizer, shards = inputs.cleaning, inputs.tokenizer, inputs.shards
    made_from = recipe(
        "explore",
        {"training": section.model_dump(mode="json"), **{key: getattr(evaluation, key) for key in SCORED_BY}},
        inputs=shards.matching("")
        | tokenizer.matching("tokenizer.json")
        | cleaning.matching("train.parquet")
        | cleaning.matching("holdout.parquet"),
        libraries=("torch", "tokenizers", "numpy", "zstandard", "duckdb"),
        parents={"cleaning": cleaning.fingerprint, "tokenizer": tokenizer.fingerprint, "shards": shards.fingerprint},
    )

    check_quarters(section, shards)

    def write(folder: Path) -> Outcome:
        holdout = read_unseen(cleaning, evaluation)
        within = replace(store, turn=nullcontext)
        of_parts = replace(within, root=folder / "parts")
        plan = plan_of_whole(section, shards, within)
        parts = [shards, *(part_of(shards, share, PART_TOKENS, of_parts) for share in SHARES[1:])]
        trained = [
            build_training(section, TrainingInputs(part, tokenizer, plan=plan_of(plan, number, part)), within)
            for number, part in enumerate(parts)
        ]
        outcome = describe(trained, parts, holdout, evaluation.seed, inputs, store)
        shutil.rmtree(of_parts.root)
        return outcome

    return store.build(made_from, write)


def check_quarters(section: TrainingConfig, shards: Manifest) -> None:
    tokens = int(shards.counts["train_tokens"])
    needed = round(section.batch_tokens / SHARES[-1])
    if tokens < needed:
        raise CorpusTooSmallError(
            f"the training documents have {tokens:,} tokens; at least {needed:,} are needed to train on a quarter of "
            "them, so that nothing can be said of what more text would bring; add documents"
        )


def plan_of_whole(section: TrainingConfig, shards: Manifest, store: Store) -> Plan:
    busy = "" if "token" in section.budget else ", as busy as this machine is now"
    too_short = (
        f"half of it, {section.budget}, is too short for one training on all of the text{busy}; give a longer one"
    )
    try:
        plan = plan_training(section, shards, store).plan
    except ConfigError:  # the budget is all of the section that may be wrong
        raise ConfigError("--budget", [too_short]) from None
    unique = int(ShardReader(shards.path, "train").lengths.sum())
    steps = min(plan.steps, max(1, int(MAX_EPOCHS * unique / plan.batch_tokens)))
    if steps < 2 * least_steps(plan.optimizer):  # of which the parts take half
        raise ConfigError("--budget", [too_short])
    return plan.model_copy(update={"steps": steps})


def plan_of(whole: Plan, number: int, part: Manifest) -> Plan:
    """The same holdout windows at each evaluation; a part is evaluated once, at its end."""
    if number == 0:
        return whole
    files = {name: digest for name, digest in part.matching("").items() if name.endswith(".arrow")}
    return whole.model_copy(update={"steps": whole.steps // 2, "evaluations": 1, "shards": files})


# --- what came out ----------------------------------------------------------------------------------------------------


def describe(
    trained: Sequence[Manifest], parts: Sequence[Manifest], holdout: Holdout, seed: int, inputs: ExploreInputs,
    store: Store,
) -> Outcome:  # fmt: skip
    trials, samples = [], []
    for number, (training, part) in enumerate(zip(trained, parts, strict=True)):
        folder = training.path / "model"
        model = load_model(folder, choose_device(str(training.config["device"])))
        tokenizer = load_tokenizer(folder)
        scores = score(model, tokenizer, holdout, STRIDE_RATIO, progress(store, number, len(trained)))
        trials.append(describe_trial(training, part, SHARES[number], scores, seed))
        if number == 0:
            written = write_samples(model, tokenizer, all_prompts(SAMPLING, holdout.documents), SAMPLING)
            samples = [
                {"prompt": one.prompt.text, "text": one.text, "document_id": one.prompt.document_id} for one in written
            ]
    store.report("explore", len(trained), len(trained), "compressing with zstd -19")
    texts = [document.text.encode() for document in holdout.documents]
    compressed = zstd_bytes(texts, make_dictionary(inputs.cleaning.file("train.parquet")))
    details = {
        "trials": trials,
        "curve": curve_of(trained[0]),
        "samples": samples,
        "holdout": {"documents": len(holdout.documents), "bytes": holdout.bytes, "all_bytes": holdout.all_bytes},
        "largest_document": largest_document(parts[0]),
        "model": trained[0].config["model"],
        "device": trained[0].config["device"],
    }
    counts = {
        "bits_per_byte": trials[0]["bits_per_byte"],
        "zstd_bits_per_byte": 8 * float(compressed.sum()) / holdout.bytes,
        "parameters": trained[0].counts["parameters"],
        "tokens_per_second": trained[0].counts["tokens_per_second"],
        "training_seconds": sum(training.counts["training_seconds"] for training in trained),
    }
    return Outcome(counts, details)


def progress(store: Store, number: int, models: int) -> Progress:
    return lambda done, total: store.report("explore", number + done / total, models, "scoring what was trained")


def describe_trial(training: Manifest, part: Manifest, share: float, scores: Scores, seed: int) -> dict[str, Any]:
    reader, interval = ShardReader(part.path, "train"), scores.interval(seed)
    return {
        "share": share,
        "documents": reader.documents,
        "text_bytes": int(reader.text_bytes.sum()),
        "unique_tokens": int(reader.lengths.sum()),
        "tokens": int(training.counts["tokens"]),
        "steps": int(training.counts["steps"]),
        "seconds": training.counts["training_seconds"],
        "bits_per_byte": interval.value,
        "low": interval.low if interval.known else None,
        "high": interval.high if interval.known else None,
        "training": training.fingerprint,
    }


def curve_of(training: Manifest) -> list[dict[str, Any]]:
    """Bits per byte of the holdout during a training; `full_rate`: before the learning rate decays, after its rise."""
    settings, steps = training.config["optimizer"], training.config["steps"]
    first, last = settings["warmup_ratio"] * steps, (1 - settings["decay_ratio"]) * steps
    return [
        {
            "tokens": line["tokens"],
            "bits_per_byte": line["holdout_bits_per_byte"],
            "full_rate": first < line["step"] <= last,
        }
        for line in read_metrics(training.file("metrics.jsonl"))
        if "holdout_bits_per_byte" in line
    ]


def largest_document(shards: Manifest) -> dict[str, Any]:
    """Of the training text, with its share."""
    reader = ShardReader(shards.path, "train")
    number = int(np.argmax(reader.text_bytes))
    share = float(reader.text_bytes[number] / reader.text_bytes.sum())
    return {"document_id": reader.document_ids[number], "share": share}
