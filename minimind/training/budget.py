"""From a budget to a plan, which is resolved before training starts and then kept."""

import logging
import os
from dataclasses import asdict, replace
from pathlib import Path

import torch
from pydantic import ValidationError

from minimind.config import ModelSizes, TrainingConfig
from minimind.digests import sha256_of_json
from minimind.durable import write_whole
from minimind.errors import CorpusTooSmallError
from minimind.machine import processor_name
from minimind.model.transformer import ModelConfig
from minimind.shards.reader import ShardReader, vocabulary_size
from minimind.store import MEASURING, Manifest, Store
from minimind.training.calibration import expected_seconds
from minimind.training.compilation import choose_compilation
from minimind.training.device import choose_processes, find_device, hardware_name, physical_cores
from minimind.training.forecast import PlannedTraining, describe_repeats
from minimind.training.holdout import holdout_windows
from minimind.training.ladder import LADDER
from minimind.training.plan import Options, Plan
from minimind.training.precision import choose_precision
from minimind.training.proposal import Task, propose
from minimind.training.start import Start, check_fits, optimizer_settings

logger = logging.getLogger(__name__)

# of the section: what no plan depends on, but for warm_start, whose phases are in the plans where they count
NOT_PLANNED = {"permanent_checkpoint_steps", "max_skipped_steps", "price_per_hour", "warm_start"}


def make_plan(section: TrainingConfig, shards: Manifest, store: Store, start: Start | None = None) -> Plan:
    return plan_training(section, shards, store, start).plan


def plan_training(
    section: TrainingConfig, shards: Manifest, store: Store, start: Start | None = None
) -> PlannedTraining:
    """The plan of this section for these shards on this machine, and what is expected of it.

    `start` is the model to start from, if there is one.

    What has to be measured is measured once: such a plan is kept in `<store>/plans/`, where the next run finds it.
    Raises CorpusTooSmallError, DeviceError, OutOfMemoryError and ConfigError for what cannot be planned.
    """
    train, holdout = ShardReader(shards.path, "train"), ShardReader(shards.path, "holdout")
    check_corpus(section, train, holdout)
    plans = plans_without_steps(section, shards, start)
    key = plan_key(section, plans)
    task = Task(
        section=section,
        plans=plans,
        options=make_options(section, shards.path, store),
        windows=len(holdout_windows(holdout, section.sequence_length)),
        epoch_tokens=train.tokens,
        unique_tokens=int(train.lengths.sum()),
        folder=store.root / "plans" / f"{MEASURING}{key}",
        store=store,
    )
    return kept_plan(task, key) if task.needs_measuring else planned(task)


def plan_again(plan: Plan, shards: Manifest) -> PlannedTraining:
    """A recorded plan; nothing is measured and nothing foreseen."""
    return PlannedTraining(
        plan=plan,
        preset=None,
        parameters=plan.model.parameters,
        epochs=plan.tokens / ShardReader(shards.path, "train").tokens,
        speed=None,
        seconds=None,
        bits_per_byte=None,
        reasons=(),
        repeated=True,
    )


def check_corpus(section: TrainingConfig, train: ShardReader, holdout: ShardReader) -> None:
    if train.tokens < section.batch_tokens:
        raise CorpusTooSmallError(
            f"the training documents have {train.tokens:,} tokens, fewer than one batch of {section.batch_tokens:,}; "
            "add documents, or lower training.batch_tokens"
        )
    if holdout.tokens == holdout.documents:  # each begins with a token that is given, not predicted
        raise CorpusTooSmallError(
            f"the {holdout.documents:,} holdout documents have no token to score; add documents, "
            "or raise cleaning.split.holdout_share"
        )


def plans_without_steps(section: TrainingConfig, shards: Manifest, start: Start | None) -> dict[str, Plan]:
    """By the names of the candidates; one where there is a model to start from."""
    vocabulary = vocabulary_size(shards.path)
    models = {name: model_of(section, sizes, vocabulary) for name, sizes in section.candidates.items()}
    if start:
        name, there = check_fits(section, start.folder)
        models = {name: replace(models[name], rope_theta=there.rope_theta, norm_epsilon=there.norm_epsilon)}
    plan = plan_without_steps(section, next(iter(models.values())), shards, start)
    return {name: plan.model_copy(update={"model": model}) for name, model in models.items()}


def plan_without_steps(section: TrainingConfig, model: ModelConfig, shards: Manifest, start: Start | None) -> Plan:
    device = find_device(section.device)
    micro_batch = 1 if section.micro_batch_sequences == "auto" else section.micro_batch_sequences
    accumulation = section.batch_tokens // (section.sequence_length * micro_batch)
    processes = choose_processes(section.devices, device, accumulation)
    return Plan(
        model=model,
        zero_output_projections=section.zero_output_projections,
        steps=0,
        sequence_length=section.sequence_length,
        micro_batch_sequences=micro_batch,
        accumulation=accumulation,
        processes=processes,
        document_mask=section.document_mask,
        z_loss=section.z_loss,
        optimizer=optimizer_settings(section, warm=start is not None),
        evaluations=section.evaluations,
        evaluation_windows=0,
        seed=section.seed,
        device="cuda" if device.type == "cuda" else "cpu",
        hardware=hardware_name(device),
        threads=None if device.type == "cuda" else choose_threads(section, processes),
        precision=choose_precision(section.precision, device),
        max_gradient_growth=section.max_gradient_growth,
        compiled=choose_compilation(section.compile, device),
        torch=torch.__version__,
        shards={name: digest for name, digest in shards.matching("").items() if name.endswith(".arrow")},
        start=start.files() if start else {},
    )


def model_of(section: TrainingConfig, sizes: ModelSizes, vocabulary: int) -> ModelConfig:
    return ModelConfig(
        vocabulary_size=vocabulary,
        max_positions=section.sequence_length,
        embedding_norm=section.embedding_norm,
        residual_scalars=section.residual_scalars,
        **sizes.model_dump(),
    )


def make_options(section: TrainingConfig, shards: Path, store: Store, start: Start | None = None) -> Options:
    return Options(
        shards=shards.resolve(),
        start=start.folder.resolve() if start else None,
        checkpoint_seconds=section.checkpoint_seconds,
        permanent_checkpoint_steps=section.permanent_checkpoint_steps,
        max_skipped_steps=section.max_skipped_steps,
        compile_cache=store.root.resolve() / "compiled",
    )


def choose_threads(section: TrainingConfig, processes: int) -> int:
    """Of each process; together they use every physical core."""
    return max(1, physical_cores() // processes) if section.threads == "auto" else section.threads


# --- what is kept -----------------------------------------------------------------------------------------------------


def kept_plan(task: Task, key: str) -> PlannedTraining:
    """The plan that an earlier run made for the same config, inputs and machine; else one made now, and kept."""
    store, path = task.store, task.store.root / "plans" / f"{key}.json"
    with store.lock(f"plan-{key}"):
        if found := read_kept(path):
            logger.info("training: %s means %d steps, as planned before in %s", *said(task, found), path)
            return found
        with store.turn():  # a device that something else uses would be measured too slow
            made = planned(task)
        keep(made, path)
    logger.info("training: %s means %d steps; the plan is kept in %s", *said(task, made), path)
    return made


def said(task: Task, plan: PlannedTraining) -> tuple[str, int]:
    return task.section.budget, plan.plan.steps


def planned(task: Task) -> PlannedTraining:
    name, plan, speed, reasons = propose(task)
    parameters = plan.model.parameters
    return PlannedTraining(
        plan=plan,
        preset=None if task.section.sizes else name,
        parameters=parameters,
        epochs=plan.tokens / task.epoch_tokens,
        speed=speed,
        seconds=expected_seconds(plan, speed, task.section.checkpoint_seconds) if speed else None,
        bits_per_byte=None  # the ladder's models began from scratch
        if plan.start
        else LADDER.expect(parameters, plan.tokens, task.unique_tokens, plan.batch_tokens),
        reasons=(*reasons, *describe_repeats(plan.tokens / task.unique_tokens)),
    )


def plan_key(section: TrainingConfig, plans: dict[str, Plan]) -> str:
    """Of everything that a kept plan depends on, the machine that was measured included."""
    asked = section.model_dump(mode="json", exclude=NOT_PLANNED)
    cpu = any(plan.device == "cpu" for plan in plans.values())
    machine = [processor_name(), os.cpu_count()] if cpu else []
    law = asdict(LADDER.law) if len(plans) > 1 else None  # which chooses among them
    return sha256_of_json([asked, [plan.as_json() for plan in plans.values()], machine, law])[:16]


def read_kept(path: Path) -> PlannedTraining | None:
    try:
        return PlannedTraining.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        logger.warning("%s is not a plan as this version makes them; it is made anew", path)
        return None


def keep(planned: PlannedTraining, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, planned.model_dump_json(indent=1) + "\n")
