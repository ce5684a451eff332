"""The training loop. It knows its folder and its plan, and neither Prefect nor MLflow."""

import json
import logging
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

from minimind.durable import sync, write_whole
from minimind.model.hugging_face import export_model, load_weights
from minimind.model.transformer import Transformer
from minimind.shards.reader import ShardReader
from minimind.training.attention import document_mask
from minimind.training.batches import Batches, pin, send
from minimind.training.checkpoint import (
    CheckpointFolder,
    CheckpointWriter,
    Progress,
    gather_tensors,
    restore_tensors,
)
from minimind.training.compilation import compile_blocks, use_compile_cache
from minimind.training.device import choose_kernels
from minimind.training.dynamics import Meter, Observer
from minimind.training.holdout import Holdout
from minimind.training.inputs import check_files
from minimind.training.metrics import MetricsFile, StepMetrics, UnwrittenMetrics
from minimind.training.objective import Objective
from minimind.training.optimizer import make_optimizer, set_learning_rates
from minimind.training.plan import Options, Plan
from minimind.training.precision import autocast, make_scaler
from minimind.training.process import RunFolder, StopRequest, StopRequestedError
from minimind.training.recording import Recording
from minimind.training.schedule import rate_factor
from minimind.training.sequences import Sequences
from minimind.training.stability import StepGuard, guarded_step
from minimind.training.world import ALONE, World, joined

logger = logging.getLogger(__name__)

MEASURED_BATCHES = 4  # of the holdout, to see how long an evaluation takes


def train(folder: RunFolder, stop: StopRequest, started: float | None = None) -> None:
    """Trains by the folder's plan from its newest checkpoint on, and exports the model.

    Its seconds are counted from `started` on, by the monotonic clock, where the process began; else from now on.

    Raises StopRequestedError after a checkpoint when told to stop, DivergenceError when too many steps in a row had to
    be skipped, CheckpointError for a checkpoint of something else.
    """
    plan, options = prepare(folder)
    with joined(plan, options.shards, stop) as (world, shared_stop):
        trainer = Trainer(plan, options.shards, world)
        holdout = Holdout(options.shards, plan.sequence_length, plan.evaluation_windows, plan.micro_batch_sequences)
        keeper = Keeper(folder, trainer, options, started)
        keeper.resume()
        if options.start and not trainer.progress.step:
            trainer.start_from(options.start)
        try:
            take_steps(trainer, keeper, holdout, shared_stop)
        finally:
            keeper.close()
        if world.is_first:
            export_model(trainer.model, folder.model)
            keeper.metrics.sync()
            for path in (*folder.model.iterdir(), folder.model):
                sync(path)
            summary = {"seconds": keeper.seconds(), "resumed": trainer.progress.resumed}
            write_whole(folder.summary, json.dumps(summary) + "\n")  # the last of all: it says that training is done
            logger.info("%d steps done", plan.steps)


def take_steps(trainer: "Trainer", keeper: "Keeper", holdout: Holdout, stop: StopRequest) -> None:
    """To the plan's last step, with its evaluations and checkpoints; all that was begun is on disk at the end."""
    plan, progress, metrics = trainer.plan, trainer.progress, keeper.metrics
    observer = Observer(trainer.model, plan)
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
                metrics.add(observed_step(trainer, observer, stop))
                if progress.step in plan.evaluation_steps:
                    progress.held_metrics = metrics.flush(hold_last=True)
                elif metrics.is_due():
                    metrics.flush()
        if keeper.is_permanent():
            keeper.save()
    except StopRequestedError:
        keeper.save()
        keeper.wait()
        trainer.world.wait()
        logger.info("stopped at step %d of %d, with a checkpoint", progress.step, plan.steps)
        raise
    keeper.wait()


def observed_step(trainer: "Trainer", observer: Observer, stop: StopRequest) -> StepMetrics:
    """A step, with a look at what it did inside the model where one is due."""
    if not (trainer.world.is_first and observer.is_due(trainer.progress.step + 1)):
        return trainer.train_step(stop)
    first = trainer.progress.step * trainer.plan.batch_sequences
    before = observer.sampled_weights()
    metrics = trainer.train_step(stop)
    tokens, _ = trainer.sequences.batch(first, 1)
    tokens = send(pin(tokens, trainer.device), trainer.device)
    return metrics._replace(observed=observer.observe(before, tokens))


def prepare(folder: RunFolder) -> tuple[Plan, Options]:
    """The folder's plan and options, after threads and the choice of kernels have been set for this whole process."""
    plan = Plan.read(folder.plan)
    plan.check_machine()
    if plan.threads:
        torch.set_num_threads(plan.threads)
    choose_kernels(torch.device(plan.device))
    options = Options.read(folder.options)
    if plan.compiled and options.compile_cache:
        use_compile_cache(options.compile_cache)
    return plan, options


class Trainer:
    """Weights, optimizer and data of one plan, and how far they are."""

    def __init__(self, plan: Plan, shards: Path, world: World = ALONE) -> None:
        self.plan = plan
        self.world = world
        self.device = torch.device(plan.device)
        self.model = Transformer(plan.model)
        self.model.initialize(
            torch.Generator().manual_seed(plan.seed), zero_output_projections=plan.zero_output_projections
        )
        self.model.to(self.device)
        if plan.compiled:
            compile_blocks(self.model)
        on_gpu = plan.compiled and self.device.type == "cuda"
        self.replica = world.replicate(Objective(self.model, plan.z_loss, compiled=on_gpu))
        self.optimizer = make_optimizer(self.model, plan.optimizer, compiled=on_gpu)
        can_record = on_gpu and world.count == 1 and not plan.document_mask  # a mask is made anew for each batch
        self.recording = Recording(self.model.parameters()) if can_record else None
        self.scaler = make_scaler(plan.precision, self.device)
        self.sequences = Sequences(ShardReader(shards, "train"), plan.sequence_length, plan.seed)
        self.batches = batches = Batches(self.sequences, plan.micro_batch_sequences, self.device)
        self.guard = StepGuard(plan.max_gradient_growth, self.device)
        # through `batches`: a trainer that a clock knows would keep its memory until somebody collects garbage
        self.meter = Meter(plan, self.device, lambda: batches.waited_seconds)
        self.progress = Progress()

    def start_from(self, folder: Path) -> None:
        """Puts the plan's starting model in place of the drawn weights. Raises UserError if that has changed."""
        check_files(folder, self.plan.start)
        load_weights(self.model, folder)

    def train_step(self, stop: StopRequest) -> StepMetrics:
        """One optimizer step. Its loss is the mean over all its tokens, however many micro-batches carry them.

        Nothing here waits for a GPU, but for the first step's recording. Raises StopRequestedError between
        micro-batches, with the weights untouched.
        """
        plan, step = self.plan, self.progress.step
        factor = rate_factor(step, plan.steps, plan.optimizer)
        set_learning_rates(self.optimizer, factor)
        loss = torch.zeros((), device=self.device)
        own = range(self.world.rank, plan.accumulation, self.world.count)
        for micro_batch in own:
            stop.check()
            first = step * plan.batch_sequences + micro_batch * plan.micro_batch_sequences
            batch = self.batches.take(first, self._first_after(step, micro_batch))
            predicted = batch.predicted * plan.accumulation
            with self.world.accumulating(self.replica, is_last=micro_batch == own[-1]):
                if self.recording:
                    nats = self.recording.play(self.add_gradient, batch, predicted)
                else:
                    nats = self.add_gradient(batch.inputs, batch.targets, predicted)
            loss += nats / predicted
        self.world.sum(loss)
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), plan.optimizer.max_gradient_norm)
        guarded_step(self.optimizer, self.guard.judge(norm))
        self.scaler.update()
        if self.recording:
            self.recording.clear_gradients()
        else:
            self.optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        rate = factor * plan.optimizer.learning_rate
        return StepMetrics(self.progress.step, loss, norm.detach(), rate, self.guard.state)

    def add_gradient(self, inputs: Tensor, targets: Tensor, predicted: int | Tensor) -> Tensor:
        """Of a micro-batch, as its share of a step that predicts so many tokens. Its nats, summed."""
        plan = self.plan
        by_blocks = plan.compiled and self.device.type == "cuda"
        mask = document_mask(inputs, by_blocks=by_blocks) if plan.document_mask else None
        nats: Tensor
        with autocast(plan.precision, self.device):
            nats, minimised = self.replica(inputs, targets, mask)
        self.scaler.scale(minimised / predicted * self.world.count).backward()  # the replica's is a mean over processes
        return nats

    def evaluate(self, holdout: Holdout, stop: StopRequest) -> dict[str, float]:
        with autocast(self.plan.precision, self.device), torch.compiler.set_stance("force_eager"):  # windows vary
            return holdout.score(self.model, stop.check, self.world)

    def tensors(self) -> dict[str, torch.Tensor]:
        """All that a checkpoint has to hold; no copies."""
        return gather_tensors(self.model, self.optimizer) | {"guard": self.guard.state}

    def restore(self, tensors: dict[str, torch.Tensor], progress: Progress) -> None:
        self.guard.state = tensors["guard"].to(self.device)
        restore_tensors(self.model, self.optimizer, {name: value for name, value in tensors.items() if name != "guard"})
        self.scaler.load_state_dict(progress.scaler)
        self.progress = progress

    def _first_after(self, step: int, micro_batch: int) -> int:
        """Where this process's next micro-batch begins."""
        following = micro_batch + self.world.count
        if following >= self.plan.accumulation:
            step, following = step + 1, self.world.rank
        return step * self.plan.batch_sequences + following * self.plan.micro_batch_sequences


class Keeper:
    """Saves and restores a trainer together with its metrics."""

    def __init__(self, folder: RunFolder, trainer: Trainer, options: Options, started: float | None) -> None:
        plan = trainer.plan
        self.trainer = trainer
        self.checkpoints = CheckpointFolder(folder.checkpoints, plan.as_json(), options.permanent_checkpoint_steps)
        self.writer = CheckpointWriter(self.checkpoints)
        self.checkpoint_seconds = options.checkpoint_seconds
        kind = MetricsFile if trainer.world.is_first else UnwrittenMetrics
        self.metrics = kind(folder.metrics, plan.batch_tokens, options.max_skipped_steps, trainer.meter)
        self.started = time.monotonic() if started is None else started
        self.saved = time.monotonic()
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
        self.trainer.world.agree({"checkpoint's step": progress.step})
        self.metrics.cut_back(progress.step, held=progress.held_metrics is not None)
        self.saved = time.monotonic()
        self.saved_step = progress.step
        self.metrics.start_clock()

    def is_due(self) -> bool:
        """However slow the disk, training waits for it only at the permanent checkpoints.

        Raises what the writing of the last one met, such as a full disk.
        """
        if not self.trainer.world.is_first:
            return False
        busy = self.writer.is_busy
        waited = time.monotonic() - self.saved >= self.checkpoint_seconds
        return self.is_permanent() or (waited and not busy and self.trainer.progress.step > self.saved_step)

    def is_permanent(self) -> bool:
        step = self.trainer.progress.step
        return self.trainer.world.is_first and step > self.saved_step and self.checkpoints.is_permanent(step)

    def save(self) -> None:
        """Begins a checkpoint of this moment; what the steps up to it measured is on disk before it is."""
        self.metrics.flush()
        trainer = self.trainer
        if not trainer.world.is_first:
            return
        trainer.progress.seconds = self.seconds()
        trainer.progress.scaler = trainer.scaler.state_dict()
        self.writer.save(trainer.tensors(), trainer.progress, self.metrics.sync)
        self.saved, self.saved_step = time.monotonic(), trainer.progress.step
        self.metrics.start_clock()

    def wait(self) -> None:
        """Until the checkpoint that was begun is on disk. Raises what its writing met."""
        self.writer.wait()

    def close(self) -> None:
        self.writer.close()

    def seconds(self) -> float:
        """Of work, in this run and those before it that it goes on from."""
        return round(self.seconds_before + time.monotonic() - self.started, 3)


def measure(folder: RunFolder, stop: StopRequest, seconds: float, started: float | None = None) -> dict[str, float]:
    """Seconds that a step, the scoring of a holdout window, a checkpoint and all else take; for about `seconds`.

    The first step allocates memory and chooses kernels: what it takes beyond another one counts as all else, with the
    start of the process, which was at `started` by the monotonic clock, and the export of the model.
    """
    plan, options = prepare(folder)
    with joined(plan, options.shards, stop) as (world, shared_stop):
        trainer = Trainer(plan, options.shards, world)
        windows = min(plan.evaluation_windows, MEASURED_BATCHES * plan.micro_batch_sequences)
        holdout = Holdout(options.shards, plan.sequence_length, windows, plan.micro_batch_sequences)
        _seconds_of_step(trainer, shared_stop)
        steps = [_seconds_of_step(trainer, shared_stop)]
        while sum(steps) < seconds:
            steps.append(_seconds_of_step(trainer, shared_stop))
        evaluating = time.perf_counter()
        trainer.evaluate(holdout, shared_stop)
        evaluated = time.perf_counter()
        keeper = Keeper(folder, trainer, options, started)
        keeper.save()
        saved = time.perf_counter()  # it is written while training goes on
        if world.is_first:
            export_model(trainer.model, folder.model)
        exported = time.perf_counter()
        keeper.wait()
        keeper.close()
        step_seconds = statistics.fmean(steps)
        all_else = keeper.seconds() - (time.perf_counter() - exported) - (saved - evaluating)
        return {
            "step_seconds": step_seconds,
            "window_seconds": (evaluated - evaluating) / windows,
            "checkpoint_seconds": saved - evaluated,
            "start_seconds": max(0.0, all_else - step_seconds * (len(steps) + 1)),
        }


def _seconds_of_step(trainer: Trainer, stop: StopRequest) -> float:
    """The same for all processes."""
    started = time.perf_counter()
    trainer.train_step(stop).loss.item()  # waits for the device
    return trainer.world.maximum(time.perf_counter() - started)
