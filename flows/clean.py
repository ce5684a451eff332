"""`minimind clean`: the corpus and its cleaning alone, then the audit of what was removed and why."""

import json
import shlex
import signal
import sys
from contextlib import redirect_stdout
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.local_run import stop_politely
from flows.progress import listener, shown_progress
from flows.settings import store_root
from flows.summary import print_funnel, program, store_option
from minimind.cleaning.build import CleaningInputs
from minimind.cleaning.build import build as build_cleaning
from minimind.cleaning.checks import check_section
from minimind.cleaning.text_functions import load_text_functions
from minimind.config import load_config
from minimind.corpus.build import CorpusInputs
from minimind.corpus.build import build as build_corpus
from minimind.report.page import render_audit
from minimind.store import Manifest, Store

TOP_SOURCES = 12


def clean(
    config: Path, overrides: list[str], sources: list[str], refresh: bool, store: Path | None, as_json: bool
) -> None:
    """Builds both stages as a run would, with the same fingerprints: a run afterwards reuses them."""
    domain = load_config(config, overrides, sources)
    check_section(domain.cleaning)
    root = store_root(store)
    signal.signal(signal.SIGTERM, stop_politely)
    with redirect_stdout(sys.stderr), shown_progress():
        shared = Store(root, domain.name, listener.get())
        with shared.in_use():
            corpus = build_corpus(domain.corpus, CorpusInputs(refresh, load_text_functions), shared)
            cleaning = build_cleaning(domain.cleaning, CleaningInputs(corpus), shared)
            page = root / "reports" / domain.name / cleaning.fingerprint / "cleaning.html"
            shared.report("cleaning", 1, 1, "writing the audit")
            render_audit(domain, {"corpus": corpus, "cleaning": cleaning}, page)
    if as_json:
        print(json.dumps(as_result(corpus, cleaning, page)))
    else:
        print_audit(corpus, cleaning, page, config, root)


def as_result(corpus: Manifest, cleaning: Manifest, page: Path) -> dict[str, object]:
    return {
        "stages": {
            manifest.stage: {
                "fingerprint": manifest.fingerprint,
                "path": str(manifest.path),
                "reused": manifest.reused,
                "seconds": manifest.seconds,
            }
            for manifest in (corpus, cleaning)
        },
        "counts": cleaning.counts,
        "funnel": cleaning.details["funnel"],
        "sources": cleaning.details["sources"],
        "report": str(page),
    }


def print_audit(corpus: Manifest, cleaning: Manifest, page: Path, config: Path, root: Path) -> None:
    console = Console(highlight=False)
    if cleaning.reused:
        console.print("\n[bold]Nothing new:[/] this cleaning was in the store.")
    print_funnel(console, cleaning, corpus)
    print_sources(console, cleaning)
    console.print()
    console.print(Text.assemble(("Audit ", "bold"), str(page)), soft_wrap=True)
    reasons = [row for row in cleaning.details["funnel"] if row["documents"]]
    commonest = max(reasons, key=lambda row: int(row["documents"]))["reason"] if reasons else ""
    command = f"{program()} documents {shlex.quote(str(config))} --removed {commonest}".rstrip() + store_option(root)
    console.print(Text.assemble(("Look one up  ", "bold"), (command, "cyan")), soft_wrap=True)


def print_sources(console: Console, cleaning: Manifest) -> None:
    """The sources that kept most text."""
    sources = sorted(cleaning.details["sources"].items(), key=lambda item: (-item[1]["bytes"], item[0]))
    table = Table(title="Sources", title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("", overflow="fold")
    for column in ("kept", "held out", "MB"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, row in sources[:TOP_SOURCES]:
        kept = row["train_documents"] + row["holdout_documents"]
        table.add_row(Text(name), f"{kept:,}", f"{row['holdout_documents']:,}", f"{row['bytes'] / 1e6:,.2f}")
    if len(sources) > TOP_SOURCES:
        table.add_row(f"and {len(sources) - TOP_SOURCES:,} more")
    console.print()
    console.print(table)
