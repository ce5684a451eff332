"""`minimind lineage`: what a registered version was made from, or which versions were trained on a document."""

import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from flows.settings import store_root, tracking_uri
from flows.store_views import ANY_WIDTH
from flows.summary import program
from minimind.audit.holding import builds_holding
from minimind.audit.visible import on_one_line
from minimind.digests import sha256_of_json
from minimind.errors import UserError
from minimind.registry.lineage import DIRTY, cost, price_per_hour
from minimind.registry.packaged_model import opened
from minimind.registry.recorded import (
    DocumentInVersion,
    Recorded,
    look_up_document,
    read_recorded,
    version_named,
)
from minimind.report.figures import plural
from minimind.store import Manifest, Store, number_in_words

SHORT = 12  # digits of a sha256
LICENCES = 8  # of a source


def show_lineage(model: str, option: Path | None, as_json: bool) -> None:
    root = store_root(option)
    with opened(tracking_uri(root), root) as client:
        recorded = read_recorded(client, version_named(client, model))
    store = Store(root, recorded.name)
    if as_json:
        print(json.dumps(as_object(recorded, store)))
    else:
        width = None if sys.stdout.isatty() else ANY_WIDTH  # rich breaks lines beside the branches of its tree
        Console(highlight=False, width=width).print(draw(recorded, store))


def show_document(document_id: str, model: str | None, option: Path | None, as_json: bool) -> None:
    root = store_root(option)
    name = model.removeprefix("models:/").partition("@")[0].partition("/")[0] if model else None
    with opened(tracking_uri(root), root) as client:
        found = look_up_document(client, document_id, name)
    holding = builds_holding(Store(root, ""), document_id, name)
    if not holding and not any(row.fate or row.excluded for row in found):
        raise UserError(
            f"no registered version and no build in {root} knows the document {document_id!r}; ids are written in "
            "full, as source/id, and `minimind documents CONFIG --like WORDS` finds them"
        )
    if as_json:
        rows = [
            {"model": f"models:/{row.name}/{row.version}", "aliases": row.aliases, "known": row.known,
             **(row.fate._asdict() if row.fate else {"fate": "excluded" if row.excluded else None}),
             "epochs": row.epochs, "trained_ancestor": taught_by(row, found),
             "from_folder": taught_by_unknown(row, found)}
            for row in found
        ]  # fmt: skip
        builds = [
            {"stage": each.manifest.stage, "path": str(each.manifest.path), "files": each.files} for each in holding
        ]
        print(json.dumps({"document_id": document_id, "versions": rows, "builds": builds}))
        return
    console = Console(highlight=False)
    console.print(Text(on_one_line(document_id, 500), "bold"), soft_wrap=True)
    for row in found:
        aliases = "".join(f" @{alias}" for alias in row.aliases)
        heir = f"; but it went on from version {ancestor}, which was" if (ancestor := taught_by(row, found)) else ""
        if taught_by_unknown(row, found):
            heir = "; it went on from a folder; what that was trained on is not known"
        console.print(Text(f"  models:/{row.name}/{row.version}{aliases}: {in_words(row)}{heir}"), soft_wrap=True)
    if holding:
        console.print("\nIts text is still in the store:")
        for each in holding:
            console.print(Text(f"  {each.manifest.path}  {', '.join(each.files)}"), soft_wrap=True)
    if holding or any(row.fate for row in found):
        console.print(
            "\nTo keep it out of the next model, put it under corpus.exclude_ids and run again, from scratch where the "
            "config starts from a model (training.start_from: scratch, tokenizer.keep: null).",
            soft_wrap=True,
        )
    if holding:
        command = f"{program()} store prune --document {shlex.quote(document_id)}"
        console.print(Text(f"`{command}` then removes the builds that hold it."), soft_wrap=True)


def taught_by(row: DocumentInVersion, found: Sequence[DocumentInVersion]) -> str | None:
    """The nearest version that the training of this one went on from and that was trained on the document."""
    if trained_on(row):
        return None
    return next((ancestor.version for ancestor in line_of(row, found) if trained_on(ancestor)), None)


def taught_by_unknown(row: DocumentInVersion, found: Sequence[DocumentInVersion]) -> bool:
    """Whether the first training of its line, if none of it had the document, went on from a folder."""
    line = line_of(row, found)
    return not any(trained_on(each) for each in line) and line[-1].from_folder


def line_of(row: DocumentInVersion, found: Sequence[DocumentInVersion]) -> list[DocumentInVersion]:
    """The version, the one that its training went on from, and so on."""
    by_version = {(other.name, other.version): other for other in found}
    line = [row]
    while (parent := by_version.get((row.name, line[-1].parent or ""))) and parent not in line:
        line.append(parent)
    return line


def trained_on(row: DocumentInVersion) -> bool:
    return row.fate is not None and row.fate.fate == "trained"


def in_words(row: DocumentInVersion) -> str:
    """What a version made of the document."""
    if not row.known:
        return "not known; it was registered without a table of its documents"
    if row.fate is None:
        return "kept out by corpus.exclude_ids" if row.excluded else "not in its corpus"
    match row.fate.fate:
        case "trained":
            partly = row.epochs is not None and row.epochs < 1
            return f"trained on, in a training that saw {row.epochs:.0%} of its documents" if partly else "trained on"
        case "holdout":
            return "not trained on; held out to measure it"
        case "left_out":
            return f"not trained on; shards.{row.fate.reason} left it out"
        case _:
            reason = str(row.fate.reason).replace("_", " ")
            kept = f" of {on_one_line(row.fate.kept_document_id, 200)}" if row.fate.kept_document_id else ""
            return f"not trained on; removed by {str(row.fate.step).replace('_', ' ')}: {reason}{kept}"


# --- a version --------------------------------------------------------------------------------------------------------


def draw(recorded: Recorded, store: Store) -> Tree:
    stages = recorded.stages
    tree = Tree(Text.assemble((recorded.uri, "bold"), *((f" @{alias}", "green") for alias in recorded.aliases)))
    for line in about(recorded):
        tree.add(Text(line))
    evaluation = tree.add(heading(stages["evaluation"], store))
    evaluation.add(Text(figures(stages["evaluation"], "bits_per_byte", "documents")))
    training = tree.add(heading(stages["training"], store))
    training.add(Text(figures(stages["training"], "parameters", "tokens", "steps")))
    if recorded.plan:
        keys = ("seed", "device", "hardware", "threads", "precision")
        told = ", ".join(f"{key} {recorded.plan[key]}" for key in keys if recorded.plan.get(key) is not None)
        training.add(Text(f"plan {recorded.tags.get('minimind.plan_sha256', '')[:SHORT]}: {told}"))
    if start := stages["training"].details.get("started_from"):
        training.add(Text(f"started from {start.get('folder') or 'models:/{name}/{version}'.format(**start)}"))
    shards = training.add(heading(stages["shards"], store))
    shards.add(Text(figures(stages["shards"], "train_tokens", "holdout_tokens")))
    tokenizer = shards.add(heading(stages["tokenizer"], store))
    tokenizer.add(Text(figures(stages["tokenizer"], "vocabulary_size")))
    cleaning = shards.add(heading(stages["cleaning"], store))
    cleaning.add(Text(figures(stages["cleaning"], "train_documents", "holdout_documents", "removed")))
    cleaning.add(Text(f"split ledger {recorded.tags.get('minimind.ledger_sha256', 'unknown')[:SHORT]}"))
    corpus = cleaning.add(heading(stages["corpus"], store))
    for source in sources(recorded):
        corpus.add(Text(source_in_words(source)))
    return tree


def about(recorded: Recorded) -> Iterator[str]:
    tags, training = recorded.tags, recorded.stages["training"]
    if decision := tags.get("minimind.decision"):
        yield f"decision: {decision.replace('_', ' ')}; {on_one_line(tags.get('minimind.decision_reasons', ''), 400)}"
    yield (
        f"trained {training.created_at[:16].replace('T', ' ')} UTC on {tags.get('minimind.device', 'unknown')}, "
        f"{training.machine.get('processor')}, {training.machine.get('cores')} cores"
    )
    seconds = sum(manifest.seconds for manifest in recorded.stages.values())
    money = cost(training)
    price = "" if money is None else f"; training cost {money:,.2f} at {price_per_hour(training):g} an hour"
    yield f"{seconds:,.1f} s for all stages, {training.counts.get('training_seconds', 0):,.1f} s of it training{price}"
    yield commits(recorded)
    yield f"requirements.lock {(training.lock_sha256 or 'unknown')[:SHORT]}"
    yield f"weights and tokenizer {tags.get('minimind.model_sha256', 'unknown')[:SHORT]}; MLflow run {recorded.run_id}"


def commits(recorded: Recorded) -> str:
    """One commit where all stages have the same."""
    by_commit: dict[str, list[str]] = {}
    for stage, manifest in recorded.stages.items():
        by_commit.setdefault(manifest.git_commit or "unknown", []).append(stage)
    told = [
        f"{commit.removesuffix(DIRTY)[:SHORT]}{' with uncommitted changes' if commit.endswith(DIRTY) else ''}"
        + (f" ({', '.join(stages)})" if len(by_commit) > 1 else "")
        for commit, stages in by_commit.items()
    ]
    return f"commit {'; '.join(told)}"


def heading(manifest: Manifest, store: Store) -> Text:
    kept = store.find(manifest.stage, manifest.fingerprint) is not None
    where = ("in the store", "green") if kept else ("not in this store", "yellow")
    return Text.assemble((manifest.stage, "bold"), f" {manifest.fingerprint}  {manifest.seconds:,.1f} s  ", where)


def figures(manifest: Manifest, *names: str) -> str:
    counts = manifest.counts
    return ", ".join(f"{number_in_words(counts[name])} {name.replace('_', ' ')}" for name in names if name in counts)


def sources(recorded: Recorded) -> list[dict[str, Any]]:
    """Documents, licences, files and one checksum over them, by source."""
    rows = []
    for name, counted in recorded.stages["corpus"].details.get("sources", {}).items():
        files = [file for file in recorded.files or [] if file["source"] == name]
        rows.append(
            {
                "source": name,
                "documents": counted["documents"],
                "excluded": counted.get("excluded", 0),
                "licenses": counted.get("licenses", {}),
                "files": len(files),
                "sha256": sha256_of_json(sorted([file["path"], file["sha256"]] for file in files)) if files else None,
            }
        )
    return rows


def source_in_words(row: dict[str, Any]) -> str:
    commonest = Counter(row["licenses"]).most_common()
    told = ", ".join(f"{on_one_line(name, 60)} ({count:,})" for name, count in commonest[:LICENCES])
    more = f" and {len(commonest) - LICENCES} more" if len(commonest) > LICENCES else ""
    left_out = f"; {row['excluded']:,} kept out by corpus.exclude_ids" if row["excluded"] else ""
    files = f" from {plural(row['files'], 'file')}, sha256 of all {row['sha256'][:SHORT]}" if row["files"] else ""
    documents = plural(row["documents"], "document")
    return f"{row['source']}: {documents}{files}; licences {told or 'unknown'}{more}{left_out}"


def as_object(recorded: Recorded, store: Store) -> dict[str, Any]:
    """Everything, in full."""
    training = recorded.stages["training"]
    return {
        "model": recorded.uri,
        "aliases": recorded.aliases,
        "run_id": recorded.run_id,
        "tags": dict(recorded.tags),
        "sources": sources(recorded),
        "files": recorded.files,
        "seconds": round(sum(manifest.seconds for manifest in recorded.stages.values()), 3),
        "cost": cost(training),
        "price_per_hour": price_per_hour(training),
        "plan": recorded.plan,
        "config": recorded.config_yaml,
        "stages": {
            stage: manifest.model_dump(mode="json", exclude={"details"})
            | {"in_store": store.find(stage, manifest.fingerprint) is not None}
            for stage, manifest in recorded.stages.items()
        },
    }
