"""A domain small enough to go through every stage in seconds, and ways to run it."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[2]
MINIMIND = [sys.executable, "-m", "flows.cli"]


@dataclass(frozen=True)
class Domain:
    """A config file, its corpus and a store that is not there yet."""

    config: Path
    corpus: Path
    store: Path

    def run(self, *arguments: str, expect: int = 0) -> dict[str, Any]:
        """`minimind run --json`; its object, or what it said on stderr where another exit code is expected."""
        command = [*MINIMIND, "run", str(self.config), "--store", str(self.store), "--json", *arguments]
        done = subprocess.run(command, cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=300)
        assert done.returncode == expect, done.stderr[-5000:]
        return json.loads(done.stdout) if expect == 0 else {"stderr": done.stderr, "stdout": done.stdout}

    def say(self, *arguments: str) -> str:
        """What `minimind run` prints for a person."""
        command = [*MINIMIND, "run", str(self.config), "--store", str(self.store), *arguments]
        done = subprocess.run(command, cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-5000:]
        return done.stdout


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
    tree["cleaning"]["quality"] = "none"
    tree["cleaning"]["language"]["expected"] = []
    tree["cleaning"]["split"] = {"holdout_share": 0.1, "min_documents": 5, "min_bytes": 5000}
    tree["tokenizer"]["vocabulary_size"] = 400
    tree["shards"]["tokens_per_shard"] = 5000
    sizes = {"hidden_size": 32, "layers": 2, "heads": 4, "kv_heads": 2, "head_size": 8, "intermediate_size": 64}
    tree["training"] |= {
        "preset": None, "sizes": sizes, "sequence_length": 32, "batch_tokens": 512, "micro_batch_sequences": 8,
        "budget": "60k tokens", "devices": 1, "threads": 1, "evaluations": 3, "checkpoint_seconds": 0.3,
        "permanent_checkpoint_steps": None, "max_gradient_growth": 20, "max_skipped_steps": 10,
    }  # fmt: skip
    tree["evaluation"]["sampling"] |= {"prompts": ["bade [/bold] said"], "holdout_prompts": 1, "max_new_tokens": 16}
    return tree
