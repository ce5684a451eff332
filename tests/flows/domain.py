"""A domain small enough to go through every stage in seconds, and ways to run it."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.servers import prefect_settings
from minimind.store import Store

PROJECT = Path(__file__).parents[2]
MINIMIND = [sys.executable, "-m", "flows.cli"]
REPRODUCIBLE = ("corpus", "cleaning", "tokenizer", "shards", "training")  # evaluation also measures speed
CLOCKED = ("metrics.jsonl", "summary.json")  # carry wall-clock times


@dataclass(frozen=True)
class Domain:
    """A config file, its corpus and a store that is not there yet."""

    config: Path
    corpus: Path
    store: Path

    def run(self, *arguments: str, expect: int = 0, **settings: str) -> dict[str, Any]:
        """`minimind run --json`; its object, or what it said on stderr where another exit code is expected."""
        command = [*MINIMIND, "run", str(self.config), "--store", str(self.store), "--json", *arguments]
        done = subprocess.run(
            command, cwd=PROJECT, env=environment(**settings), capture_output=True, text=True, timeout=300
        )
        assert done.returncode == expect, done.stderr[-5000:]
        return json.loads(done.stdout) if expect == 0 else {"stderr": done.stderr, "stdout": done.stdout}

    def started(self, *arguments: str, **settings: str) -> "subprocess.Popen[str]":
        """`minimind run --json` as a process to watch, and to hurt."""
        command = [*MINIMIND, "run", str(self.config), "--store", str(self.store), "--json", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=PROJECT, env=environment(**settings), stdout=pipe, stderr=pipe, text=True)

    def call(self, server: "PrefectServer", *arguments: str, expect: int = 0) -> dict[str, Any]:
        """The same as `run` within this process, which has imported by now what a new one spends most time on."""
        words = ["run", str(self.config), "--store", str(self.store), "--json", *arguments]
        with server.spoken_to():
            return invoked(words, expect)

    def clean(self, *arguments: str, expect: int = 0) -> dict[str, Any]:
        """`minimind clean --json` within this process."""
        words = ["clean", str(self.config), "--store", str(self.store), "--json", *arguments]
        return invoked(words, expect)

    def plan(self, *arguments: str, expect: int = 0) -> dict[str, Any]:
        """`minimind plan --json` within this process."""
        return invoked(["plan", str(self.config), "--store", str(self.store), "--json", *arguments], expect)

    def say(self, server: "PrefectServer", *arguments: str) -> str:
        """What `minimind run` prints for a person, within this process."""
        with server.spoken_to():
            return answered(["run", str(self.config), "--store", str(self.store), *arguments], 0).stdout


def invoked(words: list[str], expect: int) -> dict[str, Any]:
    """The object that the command prints; what it says where another exit code than 0 is expected."""
    done = answered(words, expect)
    return json.loads(done.stdout) if expect == 0 else {"stderr": done.stderr, "stdout": done.stdout}


def answered(words: list[str], expect: int) -> Result:
    """The command as it is called in this process, which keeps its own handler of SIGTERM."""
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        done = CliRunner().invoke(app, words, env={"MLFLOW_TRACKING_URI": None, "MINIMIND_STORE": None})
    finally:
        signal.signal(signal.SIGTERM, terminated)
    assert done.exit_code == expect, done.stderr[-5000:]
    return done


@dataclass(frozen=True)
class PrefectServer:
    """A running server, and the store that it lies in."""

    store: Path
    url: str

    @contextmanager
    def spoken_to(self) -> Iterator[None]:
        """Flows of this process run on it, with the settings that the command gives them."""
        from prefect.context import use_profile
        from prefect.settings import Profile

        with (
            patch.dict(os.environ, prefect_settings(self.store, self.url)),
            use_profile(Profile(name="tests"), include_current_context=False),
        ):
            yield


def published(store: Store) -> dict[str, str]:
    """<stage>/<file> -> sha256 of the domain's newest build of each stage that must be the same on every run."""
    manifests = {stage: store.newest(stage) for stage in REPRODUCIBLE}
    return {
        f"{stage}/{name}": entry.sha256
        for stage, manifest in manifests.items()
        if manifest
        for name, entry in manifest.files.items()
        if name not in CLOCKED
    }


def environment(**more: str) -> dict[str, str]:
    servers = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "MINIMIND_STORE")
    return {key: value for key, value in os.environ.items() if key not in servers} | more


def write_corpus(path: Path, sentences: Callable[[int, int], str], documents: int) -> None:
    """Documents of 80 to 300 words; every tenth is a near-copy of the one before."""
    chance = random.Random(1)
    rows: list[dict[str, str]] = []
    for number in range(documents):
        text = sentences(number, chance.randrange(80, 300))
        if number % 10 == 9:
            text = rows[-1]["text"] + " one more word"
        rows.append({"id": f"{number:04}", "text": text, "title": f"Text {number}", "license": "CC0-1.0"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def small_config(name: str, corpus: Path) -> dict[str, Any]:
    tree: dict[str, Any] = yaml.safe_load((PROJECT / "configs" / "demo.yaml").read_text())
    tree["name"] = tree["registry"]["experiment"] = name
    tree["corpus"]["sources"] = [{"kind": "local_files", "name": "texts", "paths": [str(corpus)]}]
    tree["registry"]["max_figures"] = {}
    tree["cleaning"]["quality"] = "none"
    tree["cleaning"]["language"]["expected"] = []
    tree["cleaning"]["split"] = {"holdout_share": 0.1, "min_documents": 5, "min_bytes": 5000}
    tree["tokenizer"]["vocabulary_size"] = 400
    tree["shards"]["tokens_per_shard"] = 5000
    sizes = {"hidden_size": 32, "layers": 2, "heads": 4, "kv_heads": 2, "head_size": 8, "intermediate_size": 64}
    tree["training"] |= {
        "preset": None, "sizes": sizes, "sequence_length": 32, "batch_tokens": 512, "micro_batch_sequences": 8,
        "budget": "30k tokens", "devices": 1, "threads": 1, "evaluations": 3, "checkpoint_seconds": 0.3,
        "permanent_checkpoint_steps": None, "max_gradient_growth": 20, "max_skipped_steps": 10,
    }  # fmt: skip
    tree["training"]["optimizer"]["warmup_ratio"] = 0.1  # a step of it in the few that the tests train
    tree["evaluation"] |= {
        "questions": 4, "memorisation_passages": 4, "generations": 4, "generation_tokens": 8, "speed_tokens": 4,
    }  # fmt: skip
    tree["evaluation"]["sampling"] |= {"prompts": ["bade [/bold] said"], "holdout_prompts": 1, "max_new_tokens": 16}
    return tree
