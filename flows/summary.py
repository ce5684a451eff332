"""What `minimind run` prints at its end: the funnel, the figures beside the references, a sample, what comes next."""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.settings import DEFAULT_STORE
from minimind.store import Manifest, load_manifest


def print_summary(result: dict[str, Any], root: Path) -> None:
    console = Console(highlight=False)
    built = {
        stage: manifest
        for stage, row in result["stages"].items()
        if row and (manifest := load_manifest(Path(row["path"])))
    }
    print_stages(console, result)
    if "cleaning" in built:
        print_funnel(console, built["cleaning"], built["corpus"])
    if "evaluation" in built:
        print_scores(console, built)
        print_sample(console, built["evaluation"])
    if result["model"]:
        print_model(console, result)
        print_next(console, result["model"]["name"], built["evaluation"], root)


def print_stages(console: Console, result: dict[str, Any]) -> None:
    reused = [stage for stage, row in result["stages"].items() if row and row["reused"]]
    if result["outcome"]["name"] != "built":
        name, _, rest = result["outcome"]["sentence"].partition(":")
        console.print(Text.assemble("\n", (f"{name}:", "bold"), rest), soft_wrap=True)
    elif reused:
        console.print(f"\n[bold]Reused:[/] {', '.join(reused)}.")


def print_funnel(console: Console, cleaning: Manifest, corpus: Manifest) -> None:
    counts = cleaning.counts
    table = Table(title="Documents", title_justify="left", show_edge=False, pad_edge=False)
    for column in ("", "documents", "MB"):
        table.add_column(column, justify="left" if not column else "right")
    if excluded := corpus.counts.get("excluded"):
        table.add_row("kept out by corpus.exclude_ids", f"{excluded:,}")
    table.add_row("read", f"{counts['documents_in']:,.0f}", f"{counts['bytes_in'] / 1e6:,.2f}")
    for row in cleaning.details["funnel"]:
        if row["documents"]:
            step, reason = row["step"], row["reason"]
            name = reason if step.startswith(reason) else f"{step}: {reason}"
            table.add_row(f"- {name.replace('_', ' ')}", f"{row['documents']:,}", f"{row['bytes'] / 1e6:,.2f}")
    for name, split in (("kept for training", "train"), ("kept as holdout", "holdout")):
        table.add_row(name, f"{counts[f'{split}_documents']:,.0f}", f"{counts[f'{split}_bytes'] / 1e6:,.2f}")
    console.print()
    console.print(table)


def print_scores(console: Console, built: dict[str, Manifest]) -> None:
    scores, cost = built["evaluation"].counts, built["training"].counts
    console.print(
        f"\n[bold]Trained[/] {cost['parameters'] / 1e6:,.2f}M parameters on {cost['tokens']:,.0f} tokens "
        f"({cost['epochs']:.2g} epochs, {cost['steps']:,.0f} steps) at {cost['tokens_per_second']:,.0f} tokens/s",
        soft_wrap=True,
    )
    table = Table(title="Holdout", title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("")
    table.add_column("bits per byte", justify="right")
    table.add_row("[bold]this model[/]", f"[bold]{scores['bits_per_byte']:.3f}[/]")
    table.add_row("zstd -19, dictionary of the training text", f"{scores['zstd_bits_per_byte']:.3f}")
    table.add_row("xz -9", f"{scores['xz_bits_per_byte']:.3f}")
    console.print()
    console.print(table)
    console.print(f"loss {scores['loss']:.3f} nats per token over {scores['tokens']:,.0f} tokens")


def print_sample(console: Console, evaluation: Manifest) -> None:
    samples = evaluation.details.get("samples", [])
    if samples:
        console.print("\n[bold]A sample[/]")
        console.print(Text.assemble(samples[0]["prompt"], ("|", "dim"), (samples[0]["text"].rstrip(), "italic")))


def print_model(console: Console, result: dict[str, Any]) -> None:
    model = result["model"]
    aliases = ", ".join(model["aliases"]) or "no alias"
    console.print(f"\n[bold]Registered[/] {model['name']} version {model['version']} ({aliases})")
    for reason in model["reasons"]:
        console.print(Text(f"  {reason}", "dim"), soft_wrap=True)
    console.print(Text.assemble(("Report ", "bold"), result["report"]), soft_wrap=True)


def print_next(console: Console, name: str, evaluation: Manifest, root: Path) -> None:
    option = store_option(root)
    prompts = [" ".join(sample["prompt"].split()[:6]) for sample in evaluation.details.get("samples", [])]
    prompt = shlex.quote(prompts[0] if prompts else "The")
    console.print("\n[bold]Next[/]")
    for command, purpose in (
        (f"generate models:/{name}@champion {prompt}{option}", "let it write"),
        ("new my-domain --from PATH_OR_URL", "a config for your own text"),
        (f"up{option}", "schedules and web pages"),
    ):
        line = Text.assemble("  ", (f"{program()} {command}", "cyan"), (f"   # {purpose}", "dim"))
        console.print(line, soft_wrap=True)


def store_option(root: Path) -> str:
    """What a command in words needs so as to find this store; empty for `store` in the current folder."""
    return "" if root == DEFAULT_STORE.absolute() else f" --store {shlex.quote(str(root))}"


def program() -> str:
    """How the command is called from here: by its name where that is found, else by the path it was called by."""
    if shutil.which("minimind"):
        return "minimind"
    called = Path(sys.argv[0])
    return os.path.relpath(called) if called.name == "minimind" else "minimind"
