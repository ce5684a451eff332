"""`minimind explore`: a corpus looked at, and one sentence for what cannot be looked at."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from domain import MINIMIND, PROJECT, Domain, PrefectServer, environment, invoked

from flows.new_config import name_of
from minimind.config import load_config


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("~/My Contracts/", "my-contracts"),
        ("/data/laws/*.txt", "laws"),
        ("texts/corpus.v2.jsonl.gz", "corpus-v2"),
        ("https://example.org/laws.tar.gz", "laws"),
        ("hf://owner/Case_Law", "case-law"),
    ],
)
def test_domain_is_named_after_what_is_looked_at(target: str, name: str) -> None:
    assert name_of(target) == name


@pytest.mark.parametrize(
    ("files", "words", "expected"),
    [
        (None, [], "is no folder, file, glob or address; check the spelling"),
        ({}, [], "has nothing that can be read"),
        ({"photo.jpg": "x"}, [], "has nothing that can be read"),
        ({"a.txt": "x"}, ["--budget", "soon"], "'soon' is no budget"),
        ({"a.txt": "x"}, ["--set", "cleaning.qualty=none"], "cleaning.qualty is unknown"),
        ({"a.txt": "x"}, ["--name", "No Name"], "'No Name' is no name for a domain"),
        ({"laws.yaml": "name: laws"}, [], "corpus is missing"),
    ],
    ids=["missing", "empty", "nothing readable", "budget", "override", "name", "incomplete YAML"],
)
def test_what_cannot_be_looked_at_is_a_sentence_and_makes_no_store(
    files: dict[str, str] | None, words: list[str], expected: str, tmp_path: Path
) -> None:
    folder = tmp_path / "texts"
    for name, text in (files or {}).items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    if files == {}:
        folder.mkdir()
    target = folder / "laws.yaml" if "laws.yaml" in (files or {}) else folder
    said = invoked(["explore", str(target), "--store", str(tmp_path / "store"), "--json", *words], expect=2)
    assert expected in said["stderr"]
    assert "Traceback" not in said["stderr"]
    assert not (tmp_path / "store").exists()


@pytest.mark.slow  # test_retrain has its like
def test_failed_exploration_says_in_its_state_which_stage_failed_and_why(
    prefect: PrefectServer, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text(" \n")
    command = ["explore", str(tmp_path / "a.txt"), "--name", "blank", "--store", str(tmp_path / "store"), "--json"]
    with prefect.spoken_to():
        said = invoked([*command, "--set", "cleaning.quality=none", "--refresh"], expect=2)
    runs = {"flow_runs": {"name": {"any_": [str(tmp_path / "a.txt")]}}}
    [run] = httpx.post(f"{prefect.url}/flow_runs/filter", json=runs).raise_for_status().json()
    assert (run["state_type"], run["labels"]["minimind.stage"]) == ("FAILED", "corpus")
    assert run["state"]["message"].startswith("corpus: source local gave no document")
    assert run["state"]["message"].removeprefix("corpus: ") in said["stderr"]


def explored(target: Path, store: Path, *words: str, expect: int = 0, folder: Path = PROJECT) -> dict[str, Any]:
    command = [*MINIMIND, "explore", str(target), "--store", str(store), "--json", *words]
    paths = {"PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, cwd=folder, env=environment(**paths), capture_output=True, text=True, timeout=600)
    assert done.returncode == expect, done.stderr[-5000:]
    return json.loads(done.stdout) if expect == 0 else {"stderr": done.stderr}


@pytest.mark.slow
def test_corpus_is_explored_once_and_a_run_goes_on_from_it(make_domain: Callable[..., Domain], tmp_path: Path) -> None:
    domain = make_domain("explored", 200)
    first = explored(domain.config, domain.store, "--budget", "200k tokens")
    assert not any(stage["reused"] for stage in first["stages"].values())
    whole, half, quarter = first["trials"]
    assert (half["tokens"], quarter["tokens"]) == (whole["tokens"] // 2, whole["tokens"] // 2)
    assert quarter["unique_tokens"] < half["unique_tokens"] < whole["unique_tokens"]
    assert 0.2 < quarter["unique_tokens"] / whole["unique_tokens"] < 0.3
    assert 0 < whole["bits_per_byte"] < half["bits_per_byte"] < 8
    page = Path(first["page"]).read_text()
    assert "A tiny model of it" in page
    assert len(first["verdict"]["gains"]) == 6
    config = load_config(Path(first["config"]))
    assert (config.training.preset, config.training.budget) == (
        first["verdict"]["advised"]["preset"], first["verdict"]["advised"]["budget"],
    )  # fmt: skip

    again = explored(domain.config, domain.store, "--budget", "200k tokens")
    assert all(stage["reused"] for stage in again["stages"].values())
    assert Path(again["page"]) == Path(first["page"])
    assert again["verdict"] == first["verdict"]
    assert not list((domain.store / "explore").glob("*/train-*.arrow"))

    run = domain.run("--until", "shards")
    assert all(run["stages"][stage]["reused"] for stage in ("corpus", "tokenizer", "shards"))

    short = explored(domain.config, domain.store, "--budget", "8k tokens", expect=2)
    assert "problem in --budget" in short["stderr"]
    assert "Traceback" not in short["stderr"]


@pytest.mark.slow
def test_folder_too_small_to_train_on_is_audited_and_one_without_text_is_refused(tmp_path: Path) -> None:
    """The project's own pages: English, and fewer than fifty."""
    folder = tmp_path / "Our Pages"
    shutil.copytree(PROJECT / "docs", folder)
    found = explored(folder, tmp_path / "store", "--write", folder=tmp_path)
    assert (found["name"], found["trials"]) == ("our-pages", [])
    assert "the holdout, at most a fifth of the documents" in found["verdict"]["refusal"]
    assert "From raw to clean" in Path(found["page"]).read_text()
    written = yaml.safe_load((tmp_path / "configs" / "our-pages.yaml").read_text())
    assert written["cleaning"]["language"]["expected"] == ["en"]
    assert written["tokenizer"]["vocabulary_size"] == 4096
    assert written["cleaning"]["split"]["min_documents"] == 50

    again = explored(folder, tmp_path / "store", "--write", folder=tmp_path, expect=2)
    assert "our-pages.yaml is there already" in again["stderr"]

    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "a.txt").write_text(" \n")
    refused = explored(empty, tmp_path / "store", folder=tmp_path, expect=2)
    assert "source local gave no document" in refused["stderr"]
    assert "Traceback" not in refused["stderr"]


@pytest.mark.slow
def test_folder_of_which_nothing_is_left_is_audited_and_says_why(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / "junk").mkdir(exist_ok=True)
        (tmp_path / "junk" / f"{number}.txt").write_text(f"Yes, but {number} of them.\n")
    found = explored(tmp_path / "junk", tmp_path / "store", folder=tmp_path)
    assert "all 12 documents were removed" in found["verdict"]["refusal"]
    assert found["counts"]["cleaning"]["documents"] == 0
    page = Path(found["page"]).read_text()
    assert "No text is left" in page
    assert "From raw to clean" in page
