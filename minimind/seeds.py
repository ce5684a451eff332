"""How much luck is in a training: one config with several seeds, scored on the same holdout.

Everything but the seed is that of the plan: model, steps, batches, data, holdout. Where the time budget of the config
is longer than SMALL_SECONDS, the trainings are as long as that: the fewer steps, the more seeds differ, so what is
found in small is too much rather than too little. Other budgets (tokens, epochs) are trained in full unless another is
named.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from minimind.config import SCRATCH, Config, EvaluationConfig, ModelSizes, TrainingConfig, parse_budget
from minimind.errors import ConfigError
from minimind.evaluation.scoring import DocumentScores, score_folder
from minimind.evaluation.seed_spread import UNMEASURED_WARM_START, Measurement, keep_measurement, shaping
from minimind.store import Manifest, Store, remove
from minimind.training.budget import make_plan
from minimind.training.build import TrainingInputs, build
from minimind.training.plan import Plan

SMALL_SECONDS = 1200


def measure_seeds(
    config: Config, stages: Mapping[str, Manifest], seeds: int, budget: str | None, store: Store
) -> Measurement:
    """Trains with `seeds` seeds, the config's own and those after it, and keeps the spread in the store.

    `stages` are cleaning, tokenizer and shards. A training that the store has is not repeated, and a command that was
    stopped goes on by being called again. At the end, what this call has trained with other seeds is removed; what an
    earlier one left is not. `preset: auto` means the model for the config's own budget, however long a seed trains.
    Raises ConfigError for a training that does not start from scratch.
    """
    check_measurable(config)
    section, shards = config.training, stages["shards"]
    used = budget or affordable(section.budget)
    if section.preset == "auto" and used != section.budget:
        section = with_sizes(section, make_plan(section, shards, store))
    plan = make_plan(section.model_copy(update={"budget": used}), shards, store)
    section = with_sizes(section, plan)
    fixed = {"budget": f"{plan.tokens} tokens", "micro_batch_sequences": plan.micro_batch_sequences}
    numbers = [section.seed + number for number in range(seeds)]
    trained = [section.model_copy(update={**fixed, "seed": seed}) for seed in numbers]
    scored = [_scores(one, config.evaluation, stages, store) for one in trained]
    sources = sorted(set(scored[0][0].sources))
    measurement = Measurement(
        recipe=shaping(section.model_dump(mode="json"), config.tokenizer.model_dump(mode="json")),
        trained_budget=f"{plan.tokens:,} tokens",
        small=used != section.budget,
        train_bytes=int(stages["cleaning"].counts["train_bytes"]),
        holdout_sha256=stages["cleaning"].files["holdout.parquet"].sha256,
        seeds=numbers,
        bits_per_byte=[scores.bits_per_byte for scores, _ in scored],
        by_source={source: [scores.of_source(source).bits_per_byte for scores, _ in scored] for source in sources},
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    keep_measurement(store.root, config.name, measurement)
    for _, training in scored[1:]:
        if not training.reused:
            remove(training.path)
    return measurement


def check_measurable(config: Config) -> None:
    """Raises ConfigError for a training that starts from a model: here, each seed begins from scratch."""
    if config.training.start_from != SCRATCH:
        raise ConfigError("training.start_from", [f"is {config.training.start_from}: {UNMEASURED_WARM_START}"])


def with_sizes(section: TrainingConfig, plan: Plan) -> TrainingConfig:
    sizes = ModelSizes(**{name: getattr(plan.model, name) for name in ModelSizes.model_fields})
    return section.model_copy(update={"preset": None, "sizes": sizes})


def affordable(budget: str) -> str:
    """The budget, or SMALL_SECONDS where it is a longer time."""
    amount, unit = parse_budget(budget)
    return f"{SMALL_SECONDS}s" if unit == "seconds" and amount > SMALL_SECONDS else budget


def _scores(
    section: TrainingConfig, evaluation: EvaluationConfig, stages: Mapping[str, Manifest], store: Store
) -> tuple[DocumentScores, Manifest]:
    training = build(section, TrainingInputs(stages["shards"], stages["tokenizer"]), store)
    store.report("seeds", 0, None, f"scoring seed {section.seed}")
    holdout = stages["cleaning"].file("holdout.parquet")
    return score_folder(training.path / "model", holdout, section.device, evaluation), training
