"""From a budget to a plan. A budget of time is measured first, in a short run of the process that will train."""

import json
import logging
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from pydantic import ValidationError

from minimind.config import TrainingConfig, parse_budget
from minimind.errors import ConfigError, CorpusTooSmallError
from minimind.model.transformer import ModelConfig
from minimind.shards.reader import ShardReader, vocabulary_size
from minimind.store import Manifest, Store, processor_name, sha256_of_json
from minimind.training.compilation import choose_compilation
from minimind.training.device import choose_processes, find_device, hardware_name, physical_cores
from minimind.training.fit import find_micro_batch
from minimind.training.holdout import holdout_windows
from minimind.training.launch import run_training_process
from minimind.training.plan import Options, Plan
from minimind.training.precision import choose_precision
from minimind.training.process import RunFolder
from minimind.training.start import Start, check_fits, optimizer_settings

logger = logging.getLogger(__name__)

EVALUATED_SHARE = 0.3  # of the tokens trained, over all evaluations: about a tenth of the time
MEASURED_SHARE = 0.1  # of a time budget, at most MAX_MEASURED_SECONDS
MAX_MEASURED_SECONDS = 12.0
UNMEASURED_SHARE = 0.02  # of a time budget: metrics, start, small disturbances


def make_plan(section: TrainingConfig, shards: Manifest, store: Store, start: Start | None = None) -> Plan:
    """The plan of this section for these shards on this machine, and for the model to start from, if there is one.

    A time budget and an automatic micro-batch are resolved once: their plan is kept in `<store>/plans/`, where the next
    run finds it. Raises CorpusTooSmallError, DeviceError, OutOfMemoryError and ConfigError for what cannot be planned.
    """
    train, holdout = ShardReader(shards.path, "train"), ShardReader(shards.path, "holdout")
    check_corpus(section, train, holdout)
    windows = len(holdout_windows(holdout, section.sequence_length))
    plan = plan_without_steps(section, shards, start)
    budget = parse_budget(section.budget)
    if budget.unit == "seconds" or section.micro_batch_sequences == "auto":
        return kept_plan(section, plan, windows, train, store)
    return with_steps(plan, steps_of_tokens(section, plan, train), windows, section.budget)


def steps_of_tokens(section: TrainingConfig, plan: Plan, train: ShardReader) -> int:
    """Of a budget of tokens or epochs."""
    budget = parse_budget(section.budget)
    tokens = budget.amount * (train.tokens if budget.unit == "epochs" else 1)
    return math.floor(tokens / plan.batch_tokens)


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


def plan_without_steps(section: TrainingConfig, shards: Manifest, start: Start | None) -> Plan:
    there = check_fits(section, start.folder) if start else None
    device = find_device(section.device)
    sizes = section.model_sizes
    micro_batch = 1 if section.micro_batch_sequences == "auto" else section.micro_batch_sequences
    accumulation = section.batch_tokens // (section.sequence_length * micro_batch)
    processes = choose_processes(section.devices, device, accumulation)
    model = ModelConfig(
        vocabulary_size=vocabulary_size(shards.path),
        max_positions=section.sequence_length,
        embedding_norm=section.embedding_norm,
        residual_scalars=section.residual_scalars,
        **sizes.model_dump(),
    )
    if there:
        model = replace(model, rope_theta=there.rope_theta, norm_epsilon=there.norm_epsilon)
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


def with_steps(plan: Plan, steps: int, windows: int, budget: str) -> Plan:
    """The plan with its steps, and with as much of the holdout in each evaluation as they allow."""
    if steps < 1:
        raise ConfigError(
            "training.budget",
            [f"{budget!r} is less than one step of {plan.batch_tokens:,} tokens; raise it or lower batch_tokens"],
        )
    planned = plan.model_copy(update={"steps": steps})
    allowed = round(EVALUATED_SHARE * planned.tokens / plan.evaluations / plan.sequence_length)
    evaluation_windows = min(windows, max(allowed, plan.micro_batch_sequences))
    return planned.model_copy(update={"evaluation_windows": evaluation_windows})


# --- what is measured -------------------------------------------------------------------------------------------------


def kept_plan(section: TrainingConfig, plan: Plan, windows: int, train: ShardReader, store: Store) -> Plan:
    """The plan that an earlier run made for the same config, inputs and machine; else one measured now, and kept."""
    key = plan_key(section, plan)
    path = store.root / "plans" / f"{key}.json"
    with store.lock(f"plan-{key}"):
        if found := read_kept(path):
            logger.info("training: %s means %d steps, as planned before in %s", section.budget, found.steps, path)
            return found
        if section.micro_batch_sequences == "auto":
            plan = with_fitting_micro_batch(section, plan, train.folder, store)
        if parse_budget(section.budget).unit == "seconds":
            measured = measure_speed(section, plan, windows, train.folder, store)
            steps = steps_within(parse_budget(section.budget).amount, section, plan, windows, measured)
            logger.info("training: %s means %d steps of %.3f s", section.budget, steps, measured["step_seconds"])
        else:
            steps = steps_of_tokens(section, plan, train)
        made = with_steps(plan, steps, windows, section.budget)
        keep(made, path)
    logger.info("training: the plan is kept in %s", path)
    return made


def with_fitting_micro_batch(section: TrainingConfig, plan: Plan, shards: Path, store: Store) -> Plan:
    store.report("training", 0, None, "trying how many sequences fit into memory")
    with measuring_folder(store.root / "plans" / f".fitting-{plan_key(section, plan)}") as folder:
        size = find_micro_batch(plan, shards.resolve(), folder.path)
    return plan.model_copy(update={"micro_batch_sequences": size, "accumulation": plan.batch_sequences // size})


def plan_key(section: TrainingConfig, plan: Plan) -> str:
    """Of everything that a kept plan depends on, the machine that was measured included."""
    asked = section.model_dump(mode="json", exclude=set(Options.model_fields))
    machine = [processor_name(), os.cpu_count()] if plan.device == "cpu" else []
    return sha256_of_json([asked, plan.as_json(), machine])[:16]


def read_kept(path: Path) -> Plan | None:
    try:
        return Plan.read(path)
    except FileNotFoundError:
        return None
    except ValidationError:
        logger.warning("%s is not a plan as this version makes them; it is made anew", path)
        return None


def keep(plan: Plan, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    plan.write(temporary)
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    temporary.rename(path)


def measure_speed(section: TrainingConfig, plan: Plan, windows: int, shards: Path, store: Store) -> dict[str, float]:
    """Seconds of a step, a holdout window and a checkpoint, as the process measures them with the plan's threads."""
    seconds = min(MAX_MEASURED_SECONDS, MEASURED_SHARE * parse_budget(section.budget).amount)
    with measuring_folder(store.root / "plans" / f".measuring-{plan_key(section, plan)}") as folder:
        with_steps(plan, 1000, windows, section.budget).write(folder.plan)
        make_options(section, shards, store).write(folder.options)

        def watch() -> None:
            store.report("training", 0, None, f"measuring how many steps {section.budget} allows")

        run_training_process(folder, plan, watch, ("--measure", str(seconds)))
        measured: dict[str, float] = json.loads(folder.summary.read_bytes())
    return measured


@contextmanager
def measuring_folder(path: Path) -> Iterator[RunFolder]:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield RunFolder(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def steps_within(seconds: float, section: TrainingConfig, plan: Plan, windows: int, measured: dict[str, float]) -> int:
    """Steps that fit into `seconds` beside their evaluations and checkpoints; 0 if not even one does."""
    step_seconds = measured["step_seconds"]
    most = max(1, math.floor(seconds / step_seconds))
    evaluation_windows = with_steps(plan, most, windows, section.budget).evaluation_windows
    evaluating = min(plan.evaluations, most) * evaluation_windows * measured["window_seconds"]
    saving_share = measured["checkpoint_seconds"] / (section.checkpoint_seconds + measured["checkpoint_seconds"])
    left = seconds * (1 - UNMEASURED_SHARE - saving_share) - evaluating
    return max(0, math.floor(left / step_seconds))
