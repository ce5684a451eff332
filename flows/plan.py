"""`minimind plan`: the stages up to the shards, then what training would be: model, tokens, minutes, cost."""

import json
import shlex
import signal
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.local_run import check_tracking_server, stop_politely
from flows.progress import listener, shown_progress
from flows.settings import store_root, tracking_uri
from flows.summary import program, store_option
from minimind.cleaning.build import CleaningInputs
from minimind.cleaning.build import build as build_cleaning
from minimind.cleaning.checks import check_section
from minimind.cleaning.text_functions import load_text_functions
from minimind.config import load_config
from minimind.corpus.build import CorpusInputs
from minimind.corpus.build import build as build_corpus
from minimind.registry import tracking
from minimind.registry.parent import line_of_champions
from minimind.shards.build import ShardsInputs
from minimind.shards.build import build as build_shards
from minimind.shards.reader import vocabulary_size
from minimind.store import Store
from minimind.tokenizer.build import TokenizerInputs
from minimind.tokenizer.build import build as build_tokenizer
from minimind.tokenizer.kept import FILE
from minimind.training.budget import plan_training
from minimind.training.device import find_device
from minimind.training.forecast import PlannedTraining, plan_rows
from minimind.training.precision import choose_precision
from minimind.training.proposal import check_budget
from minimind.training.start import check_tokenizer
from tasks.parent import check_folders, goes_on, kept_tokenizer, old_documents, starting_model
from tasks.run import Run


def plan(
    config: Path, overrides: list[str], sources: list[str], refresh: bool, store: Path | None, as_json: bool
) -> None:
    """Builds the stages as a run would, with the same fingerprints, and keeps the plan: a run reuses both."""
    domain = load_config(config, overrides, sources)
    check_section(domain.cleaning)
    choose_precision(domain.training.precision, find_device(domain.training.device))
    check_budget(domain.training)
    check_folders(domain)
    root = store_root(store)
    uri = tracking_uri(root)
    if goes_on(domain):
        check_tracking_server()
        tracking.initialise(uri, root)
    signal.signal(signal.SIGTERM, stop_politely)
    with redirect_stdout(sys.stderr), shown_progress():
        shared = Store(root, domain.name, listener.get())
        run = Run(domain, shared, uri, refresh, line_of_champions(uri, domain.name) if goes_on(domain) else ())
        built = run.built
        with shared.in_use():
            corpus = build_corpus(domain.corpus, CorpusInputs(refresh, load_text_functions), shared)
            cleaning = build_cleaning(domain.cleaning, CleaningInputs(corpus), shared)
            built |= {"corpus": corpus, "cleaning": cleaning}  # which decide from which champion a run goes on
            tokenizer = build_tokenizer(domain.tokenizer, TokenizerInputs(cleaning, kept_tokenizer(run)), shared)
            shards = build_shards(domain.shards, ShardsInputs(cleaning, tokenizer, old_documents(run)), shared)
            start = starting_model(run)
            if start:
                check_tokenizer(start, tokenizer.files[FILE].sha256, vocabulary_size(shards.path))
            planned = plan_training(domain.training, shards, shared, start)
    if as_json:
        print(json.dumps(as_result(planned, domain.training.price_per_hour)))
    else:
        print_plan(planned, domain.training.price_per_hour, [str(config), *repeated(overrides, sources)], root)


def as_result(planned: PlannedTraining, price_per_hour: float | None) -> dict[str, Any]:
    plan = planned.plan
    return {
        "preset": planned.preset,
        "parameters": planned.parameters,
        "tokens": plan.tokens,
        "epochs": planned.epochs,
        "steps": plan.steps,
        "batch_tokens": plan.batch_tokens,
        "micro_batch_sequences": plan.micro_batch_sequences,
        "accumulation": plan.accumulation,
        "precision": plan.precision,
        "device": plan.device,
        "hardware": plan.hardware,
        "processes": plan.processes,
        "threads": plan.threads,
        "plan_sha256": plan.sha256,
        "expected": planned.expected(price_per_hour),
        "price_per_hour": price_per_hour,
        "speed": planned.speed.model_dump() if planned.speed else None,
        "reasons": planned.reasons,
    }


def repeated(overrides: list[str], sources: list[str]) -> list[str]:
    """As they are given to the command."""
    options = [("--set", override) for override in overrides] + [("--source", source) for source in sources]
    return [word for option in options for word in option]


def print_plan(planned: PlannedTraining, price_per_hour: float | None, words: list[str], root: Path) -> None:
    console = Console(highlight=False)
    table = Table(title="The plan", title_justify="left", show_header=False, show_edge=False, pad_edge=False)
    table.add_column("", style="bold")
    table.add_column("", overflow="fold")
    for name, value in plan_rows(planned, price_per_hour):
        table.add_row(name, Text(value))
    console.print()
    console.print(table)
    for reason in planned.reasons:
        console.print(Text(f"{reason[:1].upper()}{reason[1:]}."), soft_wrap=True)
    command = f"{program()} run {shlex.join(words)}{store_option(root)}"
    console.print(Text.assemble(("\nTrain by it  ", "bold"), (command, "cyan")), soft_wrap=True)
