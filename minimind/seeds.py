"""How much luck is in a training: one config with several seeds, scored on the same holdout.

Everything but the seed is that of the plan: model, steps, batches, data, holdout. Where the time budget of the config
is longer than SMALL_SECONDS, the trainings are as long as that: the fewer steps, the more seeds differ, so what is
found in small is too much rather than too little. Other budgets (tokens, epochs) are trained in full unless a smaller
one is named.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from minimind.config import SCRATCH, Config, ModelSizes, TrainingConfig, parse_budget
from minimind.errors import ConfigError
from minimind.evaluation.holdout import Holdout
from minimind.evaluation.overlap import read_unseen
from minimind.evaluation.scoring import DocumentScores, choose_device, score
from minimind.evaluation.seed_spread import UNMEASURED_WARM_START, Measurement, keep_measurement, shaping
from minimind.model.hugging_face import load_model
from minimind.store import Manifest, Store, remove
from minimind.tokenizer.bpe import load_tokenizer
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
    Raises ConfigError for a training that does not start from scratch, and for a longer one than the config's.
    """
    check_measurable(config, budget)
    section, own, plan = plan_of_seeds(config.training, budget, stages["shards"], store)
    holdout = read_unseen(stages["cleaning"], config.evaluation)
    fixed = {"budget": f"{plan.tokens} tokens", "micro_batch_sequences": plan.micro_batch_sequences}
    numbers = [section.seed + number for number in range(seeds)]
    trained = [section.model_copy(update={**fixed, "seed": seed}) for seed in numbers]
    scored = [_scores(one, holdout, config.evaluation.stride_ratio, stages, store) for one in trained]
    sources = sorted(set(scored[0][0].sources))
    measurement = Measurement(
        recipe=shaping(section.model_dump(mode="json"), config.tokenizer.model_dump(mode="json")),
        planned_tokens=own.tokens,
        trained_budget=f"{plan.tokens:,} tokens",
        small=plan.tokens < own.tokens,
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


def check_measurable(config: Config, budget: str | None) -> None:
    """What config and budget alone tell: raises ConfigError for a training that starts from a model, where each seed
    here begins from scratch, and for one that is longer than the config's."""
    if config.training.start_from != SCRATCH:
        raise ConfigError("training.start_from", [f"is {config.training.start_from}: {UNMEASURED_WARM_START}"])
    if budget is not None:
        refuse_longer(share_of(budget, config.training.budget) or 0, budget, config.training.budget)


def plan_of_seeds(
    section: TrainingConfig, budget: str | None, shards: Manifest, store: Store
) -> tuple[TrainingConfig, Plan, Plan]:
    """The section with the sizes of its model, the plan of the config's own budget, and that of each seed.

    Raises ConfigError for a budget that is more.
    """
    own = make_plan(section, shards, store)
    section = with_sizes(section, own)
    used = budget or affordable(section.budget)
    share = share_of(used, section.budget)
    if share == 1:
        return section, own, own
    plan = make_plan(section.model_copy(update={"budget": used}), shards, store)
    refuse_longer(share or plan.tokens / own.tokens, used, section.budget)
    return section, own, plan


def with_sizes(section: TrainingConfig, plan: Plan) -> TrainingConfig:
    sizes = ModelSizes(**{name: getattr(plan.model, name) for name in ModelSizes.model_fields})
    return section.model_copy(update={"preset": None, "sizes": sizes})


def affordable(budget: str) -> str:
    """The budget, or SMALL_SECONDS where it is a longer time."""
    amount, unit = parse_budget(budget)
    return f"{SMALL_SECONDS}s" if unit == "seconds" and amount > SMALL_SECONDS else budget


def share_of(used: str, own: str) -> float | None:
    """What one budget is of another; None where they are of different kinds, such as a time and tokens."""
    (amount, unit), (own_amount, own_unit) = parse_budget(used), parse_budget(own)
    return amount / own_amount if unit == own_unit else None


def refuse_longer(share: float, used: str, own: str) -> None:
    if share > 1:
        raise ConfigError(
            "--budget",
            [
                f"{used} is more than training.budget, {own}: the longer seeds train, the less they differ, and the "
                "spread would be too small for what the config trains; give at most that"
            ],
        )


def _scores(
    section: TrainingConfig, holdout: Holdout, stride_ratio: float, stages: Mapping[str, Manifest], store: Store
) -> tuple[DocumentScores, Manifest]:
    training = build(section, TrainingInputs(stages["shards"], stages["tokenizer"]), store)
    folder = training.path / "model"
    model = load_model(folder, choose_device(section.device))

    def progress(done: float, total: float | None) -> None:
        store.report("seeds", done, total, f"scoring seed {section.seed}")

    return score(model, load_tokenizer(folder), holdout, stride_ratio, progress), training
