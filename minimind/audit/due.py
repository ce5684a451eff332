"""Whether a corpus has changed enough for a new model: the rule `retrain_when`.

It applies where nothing but the documents differs from what the newest registered version was made of: the config, the
code and the libraries of every stage are held against those in the manifests of that version's builds.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import duckdb

from minimind.cleaning.decontamination import evaluation_inputs
from minimind.config import CHAMPION, SCRATCH, Config, RetrainWhenConfig, parse_age
from minimind.digests import code_digests, sha256_of_file, version_of
from minimind.evaluation.harness import harness_inputs
from minimind.evaluation.tasks import task_inputs
from minimind.masking import masked_tree
from minimind.store import STAGES, Manifest, Recipe, Store
from minimind.tokenizer.build import KEPT_INPUT
from minimind.tokenizer.kept import FILE
from minimind.training.start import Start

SQL = Path(__file__).parent / "sql"
SAID = 3  # differences of the config, code or libraries; a log has no room for more


@dataclass(frozen=True)
class Change:
    """Documents in which a corpus differs from an earlier one."""

    new: int
    changed: int
    removed: int
    bytes: int  # of these documents' texts, UTF-8; of a changed one, the larger text
    of_bytes: int  # of the earlier corpus

    @property
    def share(self) -> float:
        return self.bytes / self.of_bytes if self.of_bytes else float(self.bytes > 0)


@dataclass(frozen=True)
class Due:
    """Whether to train, and why in a sentence; `change` only where the documents had to be compared."""

    train: bool
    because: str
    change: Change | None = None

    def as_json(self) -> dict[str, Any]:
        compared = asdict(self.change) | {"share": self.change.share} if self.change else None
        return {"train": self.train, "because": self.because, "change": compared}


def is_due(config: Config, corpus: Manifest, store: Store, now: datetime | None = None) -> Due:
    """The rule of `config.retrain_when` for this corpus, beside the newest version that the store has a build of."""
    versions = store.manifests("registry", config.name)
    if not versions:
        return Due(True, f"no model of {config.name} has been registered from this store yet")
    newest = max(versions, key=lambda version: int(version.details["version"]))
    name = f"version {newest.details['version']}"
    stages = {stage: store.find(stage, fingerprint) for stage, fingerprint in newest.parents.items()}
    stages["registry"] = newest
    missing = [stage for stage, manifest in stages.items() if manifest is None]
    if missing:
        return Due(True, f"the {', '.join(missing)} of {name} is no longer in the store to compare with")
    made_of: dict[str, Manifest] = {stage: manifest for stage, manifest in stages.items() if manifest}
    if different := differences(config, made_of):
        more = f" and {len(different) - SAID} more" if len(different) > SAID else ""
        return Due(True, f"{'; '.join(different[:SAID])}{more} since {name}")
    change = changes(made_of["corpus"], corpus)
    age = (now or datetime.now(UTC)) - datetime.fromisoformat(made_of["training"].created_at)
    return judge(config.retrain_when, change, age, name)


def judge(section: RetrainWhenConfig, change: Change, age: timedelta, version: str) -> Due:
    """The rule itself; a corpus without any change is no reason to stop: everything is found in the store."""
    if not change.bytes:
        return Due(True, f"the documents are those of {version}", change)
    told = (
        f"{change.new:,} new, {change.changed:,} changed and {change.removed:,} removed documents since {version}, "
        f"{change.share:.2%} of its {change.of_bytes / 1e6:,.2f} MB"
    )
    asked = f"retrain_when asks for {section.min_changed_share:.2%}, or a version older than {section.max_age}"
    if change.share >= section.min_changed_share or age > parse_age(section.max_age):
        return Due(True, f"{told}; {version} is {in_words(age)} old, and {asked}", change)
    return Due(False, f"{told}, and it is {in_words(age)} old; {asked}", change)


def in_words(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"


def differences(config: Config, made_of: Mapping[str, Manifest]) -> list[str]:
    """What of the config, of files that it names, of the code or of the libraries is not as it was for these builds."""
    lines = []
    for stage in STAGES:
        manifest = made_of[stage]
        recorded = masked_tree(
            manifest.details["section"] if stage == "training" else manifest.config
        )  # that is a plan
        section = masked_tree(getattr(config, stage).model_dump(mode="json"))
        now = Recipe(
            stage,
            {key: section.get(key) for key in recorded},  # a stage leaves out what does not shape it
            _inputs_now(config, stage, manifest.inputs),
            code_digests(stage),
            {name: _version_of(name) for name in manifest.libraries},
        )
        changed = now.differences(manifest.model_copy(update={"config": recorded}))
        lines += [f"{stage}: {line}" for line in changed]
    return lines


def _inputs_now(config: Config, stage: str, recorded: Mapping[str, str]) -> Mapping[str, str]:
    """The inputs of a stage with the same documents: files and folders that the config names are looked at anew."""
    match stage:
        case "cleaning":
            return {**recorded, **evaluation_inputs(config.cleaning.decontamination)}
        case "evaluation":
            named = task_inputs(config.evaluation.tasks) | harness_inputs(config.evaluation.harness_tasks)
            return {**recorded, **named}
        case "tokenizer":
            keep = config.tokenizer.keep
            learned = {name: digest for name, digest in recorded.items() if name != KEPT_INPUT}
            if keep is None:
                return learned
            champions = recorded.get(KEPT_INPUT, "none yet")
            return learned | {KEPT_INPUT: champions if keep == CHAMPION else sha256_of_file(Path(keep) / FILE)}
        case "training" if config.training.start_from not in (SCRATCH, CHAMPION):
            start = Start(Path(config.training.start_from)).files()
            return {**recorded, **{f"start/{name}": digest for name, digest in start.items()}}
    return recorded


def _version_of(library: str) -> str:
    try:
        return version_of(library)
    except PackageNotFoundError:
        return "not installed"


def changes(earlier: Manifest, later: Manifest) -> Change:
    """How two corpora differ, document by document; nothing is read where their files are the same."""
    files = [manifest.matching("documents-", ".parquet") for manifest in (earlier, later)]
    if files[0] == files[1]:
        return Change(0, 0, 0, 0, 0)
    paths = [
        [str(manifest.file(name)) for name in names] for manifest, names in zip((earlier, later), files, strict=True)
    ]
    with tempfile.TemporaryDirectory() as spilled, duckdb.connect(config={"temp_directory": spilled}) as connection:
        query = (SQL / "corpus_changes.sql").read_text()
        row = connection.execute(query, {"earlier": paths[0], "later": paths[1]}).fetchone()
    assert row is not None, "an aggregate has a row"
    return Change(*row)
