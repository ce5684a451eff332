"""The door of the stage: shards -> a trained model, in a process of its own."""

import json
import logging
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minimind.config import TrainingConfig
from minimind.errors import DivergenceError
from minimind.model.hugging_face import load_model
from minimind.shards.reader import vocabulary_size
from minimind.store import Manifest, Outcome, Store, recipe
from minimind.training.budget import make_options, plan_again, plan_training
from minimind.training.checkpoint import remove_rolling
from minimind.training.forecast import PlannedTraining, as_text
from minimind.training.launch import run_training_process
from minimind.training.metrics import read_metrics
from minimind.training.plan import Plan
from minimind.training.process import RunFolder
from minimind.training.start import Start, check_tokenizer

logger = logging.getLogger(__name__)

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
WATCH_SECONDS = 1.0


def _unwatched(folder: Path, fingerprint: str) -> None:
    """The default watcher: none."""


@dataclass(frozen=True)
class TrainingInputs:
    shards: Manifest
    tokenizer: Manifest
    watch: Callable[[Path, str], None] = _unwatched  # called about once a second with the run's folder
    start: Start | None = None  # None: from scratch
    plan: Plan | None = None  # of a training that is reproduced; None: made of the section


def build(section: TrainingConfig, inputs: TrainingInputs, store: Store) -> Manifest:
    """A folder with `model/` as transformers loads it, `plan.json`, `metrics.jsonl`, `summary.json` and the permanent
    checkpoints.

    Fingerprinted by the plan, so that a time budget that comes to the same steps finds the same build. A killed or
    interrupted training is continued from its last checkpoint, on a CPU to the same bytes; one that was done is not
    repeated. Raises ConfigError for a model to start from that does not fit.
    """
    start = inputs.start
    if start:
        tokenizer = inputs.tokenizer.files["tokenizer.json"].sha256
        check_tokenizer(start, tokenizer, vocabulary_size(inputs.shards.path))
    planned = (
        plan_again(inputs.plan, inputs.shards) if inputs.plan else plan_training(section, inputs.shards, store, start)
    )
    plan = planned.plan
    parents = {"shards": inputs.shards.fingerprint, "tokenizer": inputs.tokenizer.fingerprint}
    if start and start.training:
        parents["training"] = start.training
    tokenizer_files = {name: inputs.tokenizer.files[name].sha256 for name in TOKENIZER_FILES}
    made_from = recipe(
        "training",
        {name: value for name, value in plan.as_json().items() if name not in ("shards", "start")}
        | {"permanent_checkpoint_steps": section.permanent_checkpoint_steps},
        inputs=plan.shards | tokenizer_files | {f"start/{name}": digest for name, digest in plan.start.items()},
        libraries=("torch", "numpy", "safetensors"),
        parents=parents,
    )

    def write(path: Path) -> Outcome:
        folder = RunFolder(path)
        plan.write(folder.plan)
        make_options(section, inputs.shards.path, store, start).write(folder.options)
        logger.info("training: the plan\n%s", as_text(planned, section.price_per_hour))
        watcher = Watcher(folder, plan, store, lambda: inputs.watch(path, made_from.fingerprint))
        if not folder.summary.exists():  # it is there where a run was killed between its training and its publication
            run_training_process(folder, plan, watcher)
        watcher.finish()
        for name in TOKENIZER_FILES:
            shutil.copyfile(inputs.tokenizer.file(name), folder.model / name)
        outcome = describe(folder, planned, section, inputs.start)
        remove_rolling(folder.checkpoints, section.permanent_checkpoint_steps)
        remove_unpublished(folder)
        return outcome

    return store.build(made_from, write, resumable=True)


class Watcher:
    """Reads what the process appends to its metrics, reports it, and calls on the caller's watcher each second."""

    def __init__(self, folder: RunFolder, plan: Plan, store: Store, call: Callable[[], None]) -> None:
        self.folder, self.plan, self.store, self.call = folder, plan, store, call
        self.called = 0.0

    def __call__(self) -> None:
        if time.monotonic() - self.called >= WATCH_SECONDS:
            self.called = time.monotonic()
            self._report()
            self.call()

    def finish(self) -> None:
        self._report()
        self.call()

    def _report(self) -> None:
        last = last_line(self.folder.metrics)
        if last is None:
            self.store.report("training", 0, self.plan.steps, "starting")
        else:
            self.store.report("training", last["step"], self.plan.steps, describe_progress(last, self.plan))


LINE_BYTES = 1 << 20  # more than a line has, with a look at hundreds of layers


def last_line(path: Path) -> dict[str, Any] | None:
    """The last whole line of a metrics file; None if there is none yet."""
    try:
        with path.open("rb") as handle:
            size = handle.seek(0, 2)
            handle.seek(max(0, size - LINE_BYTES))
            lines = handle.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    return json.loads(lines[-1]) if lines else None


def describe_progress(line: dict[str, Any], plan: Plan) -> str:
    """Such as `loss 3.21, 5,900 tokens/s, 1 min 20 s left`."""
    seconds = (plan.steps - line["step"]) * plan.batch_tokens / max(line["tokens_per_second"], 1e-9)
    loss = "no loss" if line["loss"] is None else f"loss {line['loss']:.2f}"
    return f"{loss}, {line['tokens_per_second']:,.0f} tokens/s, {in_words(seconds)} left"


def in_words(seconds: float) -> str:
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def describe(folder: RunFolder, planned: PlannedTraining, section: TrainingConfig, start: Start | None) -> Outcome:
    lines = list(read_metrics(folder.metrics))
    known = [line["loss"] for line in lines if line["loss"] is not None]
    if not known:
        raise DivergenceError("no step of the training had a loss that is a number; lower training.optimizer's rates")
    last_tenth = known[-max(1, len(lines) // 10) :]
    summary, plan = json.loads(folder.summary.read_bytes()), planned.plan
    counts = {
        "steps": plan.steps,
        "tokens": plan.tokens,
        "epochs": planned.epochs,
        "parameters": sum(parameter.numel() for parameter in load_model(folder.model).parameters()),
        "loss": sum(last_tenth) / len(last_tenth),
        "holdout_loss": lines[-1]["holdout_loss"],
        "tokens_per_second": statistics.harmonic_mean(line["tokens_per_second"] for line in lines),
        "training_seconds": summary["seconds"],
        "resumed": summary["resumed"],
        "skipped_steps": lines[-1]["skipped_steps"],
    }
    details = {
        "section": section.model_dump(mode="json"),
        "plan_sha256": plan.sha256,
        "expected": planned.expected(section.price_per_hour),
    }
    return Outcome(counts, details | ({"started_from": dict(start.described)} if start else {}))


def remove_unpublished(folder: RunFolder) -> None:
    for path in folder.unpublished:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
