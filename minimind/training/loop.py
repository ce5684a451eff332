"""The training loop. It knows its folder and its plan, and neither Prefect nor MLflow."""

import json
import logging
import statistics
import time
from pathlib import Path

import torch

from minimind.model.hugging_face import export_model
from minimind.model.transformer import Transformer
from minimind.shards.reader import ShardReader
from minimind.training.attention import document_mask
from minimind.training.batches import Batch, Batches
from minimind.training.checkpoint import CheckpointFolder, Progress, gather_tensors, restore_tensors
from minimind.training.compilation import compile_blocks, use_compile_cache
from minimind.training.holdout import Holdout
from minimind.training.metrics import MetricsFile, StepMetrics
from minimind.training.objective import Objective
from minimind.training.optimizer import make_optimizer, set_learning_rates
from minimind.training.plan import Options, Plan
from minimind.training.precision import autocast, make_scaler
from minimind.training.process import RunFolder, StopRequest, StopRequestedError
from minimind.training.schedule import rate_factor
from minimind.training.sequences import Sequences

logger = logging.getLogger(__name__)


def train(folder: RunFolder, stop: StopRequest) -> None:
    """Trains by the folder's plan from its newest checkpoint on, and exports the model.

    Raises StopRequestedError after a checkpoint when told to stop, DivergenceError when the loss is not finite.
    """
    plan, options = prepare(folder)
    trainer = Trainer(plan, options.shards)
    holdout = Holdout(options.shards, plan.sequence_length, plan.evaluation_windows, plan.micro_batch_sequences)
    keeper = Keeper(folder, trainer, options.checkpoint_seconds)
    keeper.resume()
    progress, metrics = trainer.progress, keeper.metrics
    try:
        while progress.step < plan.steps or progress.held_metrics:
            if progress.held_metrics:
                score = trainer.evaluate(holdout, stop)
                metrics.write([progress.held_metrics | score])
                progress.held_metrics = None
                metrics.start_clock()
            elif keeper.is_due():
                keeper.save()
            else:
                metrics.add(trainer.train_step(stop))
                if progress.step in plan.evaluation_steps:
                    progress.held_metrics = metrics.flush(hold_last=True)
                elif metrics.is_due():
                    metrics.flush()
    except StopRequestedError:
        keeper.save()
        logger.info("stopped at step %d of %d, with a checkpoint", progress.step, plan.steps)
        raise
    export_model(trainer.model, folder.model)
    folder.summary.write_text(json.dumps({"seconds": keeper.seconds(), "resumed": progress.resumed}) + "\n")
    logger.info("%d steps done", plan.steps)


def prepare(folder: RunFolder) -> tuple[Plan, Options]:
    """The folder's plan and options, after threads and determinism have been set for this whole process."""
    plan = Plan.read(folder.plan)
    plan.check_machine()
    if plan.threads:
        torch.set_num_threads(plan.threads)
    # Some CUDA kernels have no deterministic version; those warn. A CPU has none of the other kind.
    torch.use_deterministic_algorithms(True, warn_only=plan.device == "cuda")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property
    options = Options.read(folder.options)
    if plan.compiled and options.compile_cache:
        use_compile_cache(options.compile_cache)
    return plan, options


class Trainer:
    """Weights, optimizer and data of one plan, and how far they are."""

    def __init__(self, plan: Plan, shards: Path) -> None:
        self.plan = plan
        self.device = torch.device(plan.device)
        self.model = Transformer(plan.model)
        self.model.initialize(
            torch.Generator().manual_seed(plan.seed), zero_output_projections=plan.zero_output_projections
        )
        self.model.to(self.device)
        if plan.compiled:
            compile_blocks(self.model)
        self.objective = Objective(self.model, plan.z_loss)
        self.optimizer = make_optimizer(self.model, plan.optimizer)
        self.scaler = make_scaler(plan.precision, self.device)
        sequences = Sequences(ShardReader(shards, "train"), plan.sequence_length, plan.seed)
        self.batches = Batches(sequences, plan.micro_batch_sequences, self.device)
        self.progress = Progress()

    def train_step(self, stop: StopRequest) -> StepMetrics:
        """One optimizer step. Its loss is the mean over all its tokens, however many micro-batches carry them.

        Nothing here waits for a GPU. Raises StopRequestedError between micro-batches, with the weights untouched.
        """
        plan, step = self.plan, self.progress.step
        factor = rate_factor(step, plan.steps, plan.optimizer)
        set_learning_rates(self.optimizer, factor)
        loss = torch.zeros((), device=self.device)
        for micro_batch in range(plan.accumulation):
            stop.check()
            first = step * plan.batch_sequences + micro_batch * plan.micro_batch_sequences
            batch = self.batches.take(first, first + plan.micro_batch_sequences)
            nats, minimised = self.losses(batch)
            predicted = batch.predicted * plan.accumulation
            self.scaler.scale(minimised / predicted).backward()  # type: ignore[no-untyped-call]
            loss += nats / predicted
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), plan.optimizer.max_gradient_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        return StepMetrics(self.progress.step, loss, norm.detach(), factor * plan.optimizer.learning_rate)

    def losses(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Nats of a micro-batch's tokens, and what is minimised: both summed."""
        plan = self.plan
        by_blocks = plan.compiled and self.device.type == "cuda"
        mask = document_mask(batch.inputs, by_blocks=by_blocks) if plan.document_mask else None
        with autocast(plan.precision, self.device):
            nats, minimised = self.objective(batch.inputs, batch.targets, mask)
        return nats, minimised

    def evaluate(self, holdout: Holdout, stop: StopRequest) -> dict[str, float]:
        with autocast(self.plan.precision, self.device), torch.compiler.set_stance("force_eager"):  # windows vary
            return holdout.score(self.model, stop.check)

    def restore(self, tensors: dict[str, torch.Tensor], progress: Progress) -> None:
        restore_tensors(self.model, self.optimizer, tensors)
        self.scaler.load_state_dict(progress.scaler)
        self.progress = progress


class Keeper:
    """Saves and restores a trainer together with its metrics."""

    def __init__(self, folder: RunFolder, trainer: Trainer, checkpoint_seconds: float) -> None:
        plan = trainer.plan
        self.trainer = trainer
        self.checkpoints = CheckpointFolder(folder.checkpoints, plan.sha256)
        self.checkpoint_seconds = checkpoint_seconds
        self.metrics = MetricsFile(folder.metrics, plan.batch_tokens, norm_may_overflow=plan.precision == "fp16")
        self.started = self.saved = time.monotonic()
        self.saved_step = 0
        self.seconds_before = 0.0

    def resume(self) -> None:
        """Takes up the newest whole checkpoint, if there is one, and forgets the metrics of later steps."""
        if found := self.checkpoints.load_newest():
            self.trainer.restore(found.tensors, found.progress)
            self.seconds_before = found.progress.seconds
            found.progress.resumed += 1
            logger.info("resumed at step %d", found.progress.step)
        progress = self.trainer.progress
        self.metrics.cut_back(progress.step, held=progress.held_metrics is not None)
        self.started = self.saved = time.monotonic()
        self.saved_step = progress.step
        self.metrics.start_clock()

    def is_due(self) -> bool:
        """However slow the disk, at least one step is taken between two checkpoints."""
        waited = time.monotonic() - self.saved >= self.checkpoint_seconds
        return waited and self.trainer.progress.step > self.saved_step

    def save(self) -> None:
        """Raises DivergenceError instead of keeping weights that are not finite."""
        self.metrics.flush()
        self.metrics.sync()
        trainer = self.trainer
        trainer.progress.seconds = self.seconds()
        trainer.progress.scaler = trainer.scaler.state_dict()
        self.checkpoints.save(gather_tensors(trainer.model, trainer.optimizer), trainer.progress)
        self.saved, self.saved_step = time.monotonic(), trainer.progress.step
        self.metrics.start_clock()

    def seconds(self) -> float:
        """Of work, in this run and those before it that it goes on from."""
        return round(self.seconds_before + time.monotonic() - self.started, 3)


def measure(folder: RunFolder, stop: StopRequest, seconds: float) -> dict[str, float]:
    """Seconds that a step, the scoring of a holdout window and a checkpoint take here, measured for about `seconds`.

    The first two steps are not counted: they allocate memory and choose kernels.
    """
    plan, options = prepare(folder)
    trainer = Trainer(plan, options.shards)
    windows = min(plan.evaluation_windows, 4 * plan.micro_batch_sequences)
    holdout = Holdout(options.shards, plan.sequence_length, windows, plan.micro_batch_sequences)
    step_seconds = [_seconds_of_step(trainer, stop) for _ in range(2)]
    while len(step_seconds) < 5 or (sum(step_seconds) < seconds and len(step_seconds) < 200):
        step_seconds.append(_seconds_of_step(trainer, stop))
    started = time.perf_counter()
    trainer.evaluate(holdout, stop)
    evaluated = time.perf_counter()
    Keeper(folder, trainer, checkpoint_seconds=0).save()
    return {
        "step_seconds": statistics.median(step_seconds[2:]),
        "window_seconds": (evaluated - started) / windows,
        "checkpoint_seconds": time.perf_counter() - evaluated,
    }


def _seconds_of_step(trainer: Trainer, stop: StopRequest) -> float:
    started = time.perf_counter()
    trainer.train_step(stop).loss.item()  # waits for the device
    return time.perf_counter() - started
