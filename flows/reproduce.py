"""`minimind reproduce`: a registered model made again, in a store of its own, and compared stage by stage."""

import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.text import Text

from flows.local_run import stop_politely
from flows.progress import listener, shown_progress
from flows.settings import store_root, tracking_uri
from flows.store_views import REPRODUCTION, as_recipe
from minimind.cleaning.build import CleaningInputs
from minimind.cleaning.build import build as build_cleaning
from minimind.cleaning.split import LedgerRecord, ledger_path, records_path
from minimind.config import (
    CleaningConfig,
    EvaluationConfig,
    ShardsConfig,
    TokenizerConfig,
    TrainingConfig,
    describe_problem,
)
from minimind.digests import sha256_of_file
from minimind.errors import UserError
from minimind.evaluation.build import EvaluationInputs
from minimind.evaluation.build import build as build_evaluation
from minimind.registry.lineage import MADE_FROM
from minimind.registry.packaged_model import opened
from minimind.registry.recorded import Recorded, read_recorded, version_named
from minimind.shards.build import ShardsInputs
from minimind.shards.build import build as build_shards
from minimind.store import Manifest, Store
from minimind.tokenizer.build import TokenizerInputs
from minimind.tokenizer.build import build as build_tokenizer
from minimind.training.build import TrainingInputs
from minimind.training.build import build as build_training
from minimind.training.device import find_device, hardware_name
from minimind.training.plan import Plan

SAME, DIFFERENT, NOT_REBUILT = "same", "different", "not rebuilt"
STYLES = {SAME: "green", DIFFERENT: "red", NOT_REBUILT: "yellow"}
COMPARED = {"training": ("model/", "plan.json")}  # of the other stages all files; metrics and checkpoints hold times
# Stages whose bytes a stage is made of. An evaluation takes whatever model comes out: its score tells how near it is.
MADE_OF = {
    "corpus": (),
    "cleaning": ("corpus",),
    "tokenizer": ("cleaning",),
    "shards": ("cleaning", "tokenizer"),
    "training": ("shards", "tokenizer"),
    "evaluation": ("cleaning",),
}
SAID_FILES = 3
SectionKind = TypeVar("SectionKind", bound=BaseModel)


@dataclass(frozen=True)
class Verdict:
    stage: str
    state: str
    cause: str = ""  # the first one; of a stage that is the same, what changed without consequence
    files: list[str] = field(default_factory=list)  # that differ
    seconds: float | None = None  # of the rebuilding


class NotRebuiltError(Exception):
    """A stage cannot be made again; the message says why."""


def reproduce(model: str, until: str | None, keep: bool, option: Path | None, as_json: bool) -> bool:
    """True if every stage that was asked for came out the same. Raises UserError if the raw corpus is gone."""
    root = store_root(option)
    with opened(tracking_uri(root), root) as client:
        recorded = read_recorded(client, version_named(client, model))
    store = Store(root, recorded.name, listener.get())
    console = Console(highlight=False, stderr=as_json)
    signal.signal(signal.SIGTERM, stop_politely)
    verdicts = []
    with store.in_use(), own_store(store, keep) as own:
        corpus = raw_corpus(recorded, store)
        announce(console, recorded)
        for verdict in verdicts_of(recorded, corpus, store, own, until):
            verdicts.append(verdict)
            say(console, verdict)
        if keep:
            console.print(
                Text(f"\nWhat was built is in {own.root}; `minimind store prune` removes it."), soft_wrap=True
            )
    same = all(verdict.state == SAME for verdict in verdicts)
    if as_json:
        print(json.dumps({"model": recorded.uri, "same": same, "stages": [asdict(verdict) for verdict in verdicts]}))
    return same


@contextmanager
def own_store(store: Store, keep: bool) -> Iterator[Store]:
    """A store in a new folder beside the builds; it goes away unless it is kept."""
    folder = Path(tempfile.mkdtemp(dir=store.root, prefix=REPRODUCTION))
    try:
        yield Store(folder, store.domain, listener.get())
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def raw_corpus(recorded: Recorded, store: Store) -> Manifest:
    fingerprint = recorded.stages["corpus"].fingerprint
    corpus = store.find("corpus", fingerprint)
    if corpus is None:
        raise UserError(
            f"the raw corpus of {recorded.uri} (corpus {fingerprint}) is not in {store.root} any more, and without it "
            "nothing can be made again; name the store that has it with --store"
        )
    return corpus


def verdicts_of(recorded: Recorded, corpus: Manifest, store: Store, own: Store, until: str | None) -> Iterator[Verdict]:
    """In the order of the stages; one whose inputs have other bytes is not made again, as it would tell nothing."""
    built: dict[str, Manifest] = {}
    for stage in MADE_FROM:
        before = recorded.stages[stage]
        try:
            if stage == "corpus":
                verdict = compare_corpus(before, corpus)
                built |= {stage: corpus} if verdict.state == SAME else {}
                yield verdict
            else:
                check_inputs(stage, recorded, built)
                with redirect_stdout(sys.stderr), shown_progress():
                    own_again = Store(own.root, own.domain, listener.get())
                    built[stage] = REBUILD[stage](recorded, built, store, own_again)
                yield compare(before, built[stage])
        except (NotRebuiltError, UserError) as error:
            yield Verdict(stage, NOT_REBUILT, " ".join(str(error).split()))
        if stage == until:
            return


# --- making a stage again ---------------------------------------------------------------------------------------------


def check_inputs(stage: str, recorded: Recorded, built: Mapping[str, Manifest]) -> None:
    """Raises NotRebuiltError if a file that the stage was made of has come out with other bytes, or not at all."""
    wanted = set(recorded.stages[stage].inputs.values())
    for parent in MADE_OF[stage] + (("training",) if stage == "evaluation" else ()):
        if parent not in built:
            raise NotRebuiltError(f"its input, {parent}, is not there as it was")
    for parent in MADE_OF[stage]:
        for name in differing_files(recorded.stages[parent], built[parent]):
            entry = recorded.stages[parent].files.get(name)
            if entry and entry.sha256 in wanted:
                raise NotRebuiltError(f"its input {name}, of {parent}, has other bytes")


def rebuild_cleaning(recorded: Recorded, built: Mapping[str, Manifest], store: Store, own: Store) -> Manifest:
    before = recorded.stages["cleaning"]
    if ledger := before.inputs.get("previous_ledger"):
        go_on_from(ledger, store, own)
    return build_cleaning(section(CleaningConfig, before.config, before), CleaningInputs(built["corpus"]), own)


def go_on_from(ledger: str, store: Store, own: Store) -> None:
    """Puts the split ledger that the cleaning began with where it is looked for. Raises LedgerError if it is gone."""
    kept = ledger_path(store, ledger)
    folder = records_path(own).parent
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(kept, folder / kept.name)
    record = LedgerRecord(corpus="another one", cleaning="an earlier one", ledger=ledger)
    records_path(own).write_text(record.model_dump_json() + "\n")


def rebuild_tokenizer(recorded: Recorded, built: Mapping[str, Manifest], store: Store, own: Store) -> Manifest:
    before = recorded.stages["tokenizer"]
    if any(name.startswith("kept ") for name in before.inputs):
        raise NotRebuiltError("it was kept from another model, not learned from these documents")
    return build_tokenizer(
        section(TokenizerConfig, {"keep": None} | before.config, before), TokenizerInputs(built["cleaning"]), own
    )


def rebuild_shards(recorded: Recorded, built: Mapping[str, Manifest], store: Store, own: Store) -> Manifest:
    before = recorded.stages["shards"]
    inputs = ShardsInputs(built["cleaning"], built["tokenizer"])
    return build_shards(section(ShardsConfig, before.config, before), inputs, own)


def rebuild_training(recorded: Recorded, built: Mapping[str, Manifest], store: Store, own: Store) -> Manifest:
    before = recorded.stages["training"]
    if start := before.details.get("started_from"):
        told = " ".join(f"{key} {value}" for key, value in start.items())
        raise NotRebuiltError(f"it went on from another model ({told}), and a chain of trainings is not made again")
    if recorded.plan is None:
        raise NotRebuiltError("its plan is not among the version's files")
    inputs = TrainingInputs(built["shards"], built["tokenizer"], plan=plan_here(recorded.plan, before))
    return build_training(section(TrainingConfig, before.details.get("section", {}), before), inputs, own)


def plan_here(plan: Mapping[str, object], before: Manifest) -> Plan:
    """The recorded plan, with what this machine has in place of what it cannot choose: torch and the hardware."""
    import torch

    try:
        recorded = Plan.model_validate_json(json.dumps(plan))
    except ValidationError as error:
        raise does_not_fit(error, "plan", before) from None
    device = find_device(recorded.device)
    return recorded.model_copy(update={"torch": torch.__version__, "hardware": hardware_name(device)})


def rebuild_evaluation(recorded: Recorded, built: Mapping[str, Manifest], store: Store, own: Store) -> Manifest:
    before = recorded.stages["evaluation"]
    inputs = EvaluationInputs(built["training"], built["shards"], built["cleaning"])
    return build_evaluation(section(EvaluationConfig, before.config, before), inputs, own)


REBUILD: Mapping[str, Callable[[Recorded, Mapping[str, Manifest], Store, Store], Manifest]] = {
    "cleaning": rebuild_cleaning,
    "tokenizer": rebuild_tokenizer,
    "shards": rebuild_shards,
    "training": rebuild_training,
    "evaluation": rebuild_evaluation,
}


def section(kind: type[SectionKind], values: Mapping[str, object], before: Manifest) -> SectionKind:
    """The recorded section, as this version of the project reads it."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise does_not_fit(error, "section of the YAML", before) from None


def does_not_fit(error: ValidationError, what: str, before: Manifest) -> NotRebuiltError:
    problems = "; ".join(describe_problem(problem) for problem in error.errors()[:SAID_FILES])
    return NotRebuiltError(
        f"its recorded {what} is not one that this version of the project reads ({problems}); check out commit "
        f"{before.git_commit or '(unknown)'}, which made it"
    )


# --- comparing --------------------------------------------------------------------------------------------------------


def compare_corpus(before: Manifest, corpus: Manifest) -> Verdict:
    """Every byte of the raw corpus is read: everything else is made of it."""
    changed = [
        name
        for name, entry in before.files.items()
        if name not in corpus.files or sha256_of_file(corpus.file(name)) != entry.sha256
    ]
    if not changed:
        return Verdict("corpus", SAME)
    cause = f"the store has read its sources again since, on {corpus.created_at[:16]}"
    damaged = [name for name in changed if name in corpus.files and corpus.files[name] == before.files[name]]
    return Verdict("corpus", DIFFERENT, "its files were changed where they lie" if damaged else cause, changed)


def compare(before: Manifest, rebuilt: Manifest) -> Verdict:
    changed = differing_files(before, rebuilt)
    changes = as_recipe(rebuilt).differences(before)
    if not changed:
        note = f"though changed: {listed(changes)}" if changes else ""
        return Verdict(rebuilt.stage, SAME, note, seconds=rebuilt.seconds)
    cause = listed(changes) if changes else machine_change(before, rebuilt)
    if "bits_per_byte" in before.counts:
        then, now = before.counts["bits_per_byte"], rebuilt.counts["bits_per_byte"]
        cause += f"; {then:.4f} bits per byte then, {now:.4f} now"
    return Verdict(rebuilt.stage, DIFFERENT, cause, changed, rebuilt.seconds)


def differing_files(before: Manifest, rebuilt: Manifest) -> list[str]:
    compared = COMPARED.get(before.stage, ("",))
    names = [name for name in before.files.keys() | rebuilt.files.keys() if name.startswith(compared)]
    return sorted(name for name in names if digest(before, name) != digest(rebuilt, name))


def digest(manifest: Manifest, name: str) -> str | None:
    return manifest.files[name].sha256 if name in manifest.files else None


def listed(changes: list[str]) -> str:
    return changes[0] + (f"; and {len(changes) - 1} more" if len(changes) > 1 else "")


def machine_change(before: Manifest, rebuilt: Manifest) -> str:
    """Where config, inputs, code and libraries are the same, only the machine is left."""
    for key, value in before.machine.items():
        if rebuilt.machine.get(key) != value:
            return f"machine {key}: {value} -> {rebuilt.machine.get(key)}"
    return "nothing that is recorded has changed; the stage does not give the same bytes twice on this machine"


# --- words ------------------------------------------------------------------------------------------------------------


def announce(console: Console, recorded: Recorded) -> None:
    seconds = recorded.stages["training"].counts.get("training_seconds", 0)
    console.print(Text(f"{recorded.uri}, whose training took {seconds:,.0f} s:"), soft_wrap=True)


def say(console: Console, verdict: Verdict) -> None:
    files = ""
    if verdict.files:
        more = f" and {len(verdict.files) - SAID_FILES} more" if len(verdict.files) > SAID_FILES else ""
        files = f" ({', '.join(verdict.files[:SAID_FILES])}{more})"
    state = (verdict.state, STYLES[verdict.state])
    cause = f"{',' if verdict.state == SAME else ':'} {verdict.cause}" if verdict.cause else ""
    console.print(Text.assemble(f"  {verdict.stage:<11}", state, f"{cause}{files}"), soft_wrap=True)
