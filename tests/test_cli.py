import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows import cli, doctor
from flows.cli import app
from flows.settings import store_root
from flows.summary import store_option
from minimind.config import load_config
from minimind.pruning import size_of
from minimind.store import Outcome, Recipe, Store

runner = CliRunner()


def run(*arguments: str) -> tuple[int, str, str]:
    terminated = signal.getsignal(signal.SIGTERM)  # which some commands handle in their own way
    result = runner.invoke(app, list(arguments))
    signal.signal(signal.SIGTERM, terminated)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["run"],
        ["clean"],
        ["documents"],
        ["new"],
        ["explore"],
        ["generate"],
        ["compare"],
        ["seeds"],
        ["promote"],
        ["rollback"],
        ["lineage"],
        ["reproduce"],
        ["doctor"],
        ["up"],
        ["deploy"],
        ["down"],
        ["boot-unit"],
        ["status"],
        ["backup"],
        ["restore"],
        ["store"],
        ["store", "why"],
    ],
)
def test_every_command_explains_itself(command: list[str]) -> None:
    code, out, _ = run(*command, "--help")
    assert code == 0
    assert "Usage" in out


@pytest.mark.parametrize(
    "command",
    [["run"], ["clean"], ["documents"], ["new"], ["explore"], ["generate"], ["compare"],
     ["seeds"], ["promote"], ["rollback"], ["lineage"], ["reproduce"], ["doctor"], ["up"], ["deploy"], ["down"],
     ["boot-unit"], ["status"], ["backup"], ["restore"], ["store"],
     ["store", "ls"], ["store", "why"], ["store", "prune"]],
)  # fmt: skip
def test_every_command_has_examples(command: list[str]) -> None:
    _, out, _ = run(*command, "--help")
    assert f"minimind {' '.join(command)}" in out.partition("Examples")[2]


def test_deploy_without_a_server_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    code, _, said = run("deploy", "--store", str(tmp_path))
    assert code == 2
    assert "no Prefect server to deploy to; set PREFECT_API_URL" in said


def test_each_flow_has_its_command_beside_it_by_one_rule() -> None:
    """A flow is NAME.py; the command that starts it is NAME_command.py, and no flow itself."""
    files = {path.stem: path.read_text() for path in Path(cli.__file__).parent.glob("*.py")}
    flows = {name for name, text in files.items() if "@flow(" in text}
    assert flows == {"retrain", "compare", "seeds", "explore", "prune"}
    commands = {name.removesuffix("_command") for name in files if name.endswith("_command")}
    assert commands == flows - {"prune"}  # which is one of the store's commands


def test_version_is_said() -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert out.split()[0] == "minimind"
    assert out.split()[1][0].isdigit()


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "prefect", "mlflow", "duckdb", "pyarrow", "pydantic")
    script = f"import sys, flows.cli; print([name for name in {heavy} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.strip() == "[]"


def test_wrong_yaml_is_a_sentence_and_exit_code_2_and_makes_no_store(tmp_path: Path) -> None:
    store = tmp_path / "store"
    code, out, err = run("run", "configs/demo.yaml", "--set", "training.budgett=2h", "--store", str(store), "--json")
    assert code == 2
    assert out == ""
    assert "training.budgett is unknown" in err
    assert "Traceback" not in err
    assert not store.exists()


def test_unknown_stage_is_refused(tmp_path: Path) -> None:
    assert run("run", "configs/demo.yaml", "--until", "packing")[0] == 2
    assert run("store", "why", "packing", "--store", str(tmp_path))[0] == 2


def test_tracking_server_that_does_not_answer_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    store = tmp_path / "store"
    code, _, err = run("run", "configs/demo.yaml", "--store", str(store))
    assert code == 2
    assert "MLflow does not answer at http://127.0.0.1:9" in err
    assert not store.exists()


def test_prefect_server_that_does_not_answer_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    code, _, err = run("run", "configs/demo.yaml", "--store", str(tmp_path / "store"))
    assert code == 2
    assert "Prefect does not answer at http://127.0.0.1:9/api" in err


def test_new_writes_a_complete_config_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.md").write_text("hello")
    (tmp_path / "texts" / "b.jsonl.gz").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("new", "contracts", "--from", "texts")
    assert code == 0
    assert "minimind run configs/contracts.yaml" in out
    config = load_config(Path("configs/contracts.yaml"))
    assert config.name == "contracts"
    (source,) = config.corpus.sources
    assert source.model_dump()["paths"] == ["texts/**/*.jsonl.gz", "texts/**/*.md"]
    assert run("new", "contracts", "--from", "texts")[0] == 2


@pytest.mark.parametrize(
    ("origin", "kind"),
    [
        ("https://example.org/laws.tar.gz", "http"),
        ("https://example.org/laws.git", "git"),
        ("git@example.org:team/laws.git", "git"),
        ("ssh://git@example.org/team/laws", "git"),
        ("s3://laws/2026", "bucket"),
        ("s3://laws/2026/*.jsonl.gz", "bucket"),
        ("hf://common-pile/regulations", "huggingface"),
        ("https://huggingface.co/datasets/common-pile/regulations", "huggingface"),
        ("texts/*.txt", "local_files"),
    ],
)
def test_new_understands_addresses_and_globs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: str, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("new", "laws", "--from", origin)[0] == 0
    (source,) = load_config(Path("configs/laws.yaml")).corpus.sources
    assert source.kind == kind


@pytest.mark.parametrize(("name", "origin"), [("Laws", "."), ("../laws", "."), ("laws", "no/such/folder")])
def test_new_refuses_what_it_cannot_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, origin: str
) -> None:
    (tmp_path / "a.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    code, _, err = run("new", name, "--from", origin)
    assert code == 2
    assert "Traceback" not in err
    assert not list(tmp_path.rglob("*.yaml"))


def test_store_commands_without_a_store_say_so(tmp_path: Path) -> None:
    for command in (["ls"], ["why", "corpus"], ["prune"]):
        code, _, err = run("store", *command, "--store", str(tmp_path / "none"))
        assert code == 2
        assert "there is no store" in err


def test_store_lists_explains_and_prunes(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", "laws")
    option = ["--store", str(store.root)]

    def write(folder: Path) -> Outcome:
        (folder / "a").write_text("x" * 1000)
        return Outcome({})

    builds = [store.build(Recipe("tokenizer", {"vocabulary_size": size}, {}, {}, {}), write) for size in (300, 400)]
    listed = json.loads(run("store", "ls", *option, "--json")[1])["builds"]
    assert [row["fingerprint"] for row in listed] == [build.fingerprint for build in builds]
    assert builds[0].fingerprint in run("store", "ls", *option)[1]
    assert json.loads(run("store", "why", "tokenizer", *option, "--json")[1])["changed"] == [
        "config vocabulary_size: 300 -> 400"
    ]
    assert "300 -> 400" in run("store", "why", "tokenizer", *option)[1]

    would_go = json.loads(run("store", "prune", "--dry-run", *option, "--json")[1])
    assert [row["path"] for row in would_go["prunable"]] == [str(builds[0].path)]
    assert builds[0].path.exists()
    run("store", "prune", *option)
    assert not builds[0].path.exists()
    assert builds[1].path.exists()


def test_store_lists_long_names_in_one_piece(tmp_path: Path) -> None:
    name = "a-domain-whose-name-is-about-as-long-as-a-name-of-a-domain-may-be"[:63]
    store = Store(tmp_path / "store", name)
    store.build(Recipe("tokenizer", {}, {}, {}, {}), lambda folder: Outcome({}))
    out = run("store", "ls", "--store", str(store.root))[1]
    [row] = [line for line in out.splitlines() if line.startswith("tokenizer")]
    assert name in row
    assert "…" not in out


def test_store_lists_and_prunes_texts_that_no_corpus_has_any_more(
    tmp_path: Path, sentences: Callable[[int, int], str]
) -> None:
    corpus, option = tmp_path / "laws.jsonl", ["--store", str(tmp_path / "store")]
    settings = [f"cleaning.split.{key}=1" for key in ("min_documents", "min_bytes")] + [
        "cleaning.quality=none",
        "cleaning.language.expected=[]",
    ]
    command = ["clean", "configs/demo.yaml", "--source", str(corpus), *option, "--json"]
    for texts in (40, 30):
        rows = [{"id": f"{number:02}", "text": sentences(number, 80)} for number in range(texts)]
        corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert run(*command, *(word for setting in settings for word in ("--set", setting)))[0] == 0
    [listed] = json.loads(run("store", "ls", *option, "--json")[1])["texts"]
    assert listed["bytes"] > 0
    assert listed["fingerprint"] in run("store", "ls", *option)[1]
    would_go = json.loads(run("store", "prune", "--dry-run", *option, "--json")[1])["within"]
    assert would_go[-1]["reason"] == "10 of 40 texts read are in no corpus any more"
    assert would_go[-1]["bytes"] > 0
    removed = json.loads(run("store", "prune", *option, "--json")[1])["within"]
    assert removed[-1]["path"] == str(Path(listed["path"]).parent)
    assert size_of(Path(listed["path"])) == listed["bytes"] - removed[-1]["bytes"]


def test_doctor_expects_the_versions_of_the_lock_file() -> None:
    lines = (Path(__file__).parents[1] / "requirements.lock").read_text().splitlines()
    assert {f"{name}=={version}" for name, (version, _) in doctor.PINNED.items()} <= set(lines)


def test_doctor_names_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    for least in ("MIN_MEMORY_GB", "MIN_DISK_GB"):  # this machine may be busy with other things
        monkeypatch.setattr(doctor, least, 0.0)
    code, out, _ = run("doctor", "--store", str(tmp_path), "--json")
    topics = {finding["topic"]: finding for finding in json.loads(out)["findings"]}
    assert {"python", "prefect", "torch", "device", "memory", "disk", "MLflow"} <= topics.keys()
    assert (code, [finding for finding in topics.values() if finding["problem"]]) == (0, [])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    code, out, _ = run("doctor", "--store", str(tmp_path))
    assert code == 1
    assert "unset MLFLOW_TRACKING_URI" in out
    assert "secret" not in out


def test_generate_refuses_what_is_no_model(tmp_path: Path) -> None:
    code, _, err = run("generate", str(tmp_path), "Hello")
    assert code == 2
    assert "no model folder" in err


def test_text_of_half_characters_is_held_back() -> None:
    from flows.generate import whole_characters

    pieces = [b"a", "é".encode()[:1], "é".encode()[1:], b"b"]

    def decode(tokens: list[int]) -> str:
        return b"".join(pieces[token] for token in tokens).decode("utf-8", errors="replace")

    assert list(whole_characters(iter(range(4)), decode)) == ["a", "é", "b", ""]


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    script = f"{sys.executable} -m flows.cli store ls --json --store {tmp_path} | true"
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, env=os.environ)
    assert "Traceback" not in said.stderr


@pytest.mark.parametrize("place", ["a%20b", "a?b", "file", "file/below", "~nosuchuser/store"])
def test_store_that_cannot_be_is_refused_at_once(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    chosen = place if place.startswith("~") else str(tmp_path / place)
    code, _, err = run("run", "configs/demo.yaml", "--store", chosen)
    assert code == 2
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_command_in_words_names_the_store_where_it_is_not_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert store_option(store_root()) == ""
    assert store_option(store_root("my store")) == f" --store '{tmp_path}/my store'"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_store_that_must_not_be_written_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(path: Path, *arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    (tmp_path / "store" / "corpus").mkdir(parents=True)
    monkeypatch.setattr(Path, "mkdir", refuse)
    code, _, err = run("store", "prune", "--store", str(tmp_path / "store"))
    assert (code, "Traceback" in err) == (2, False)
    assert f"{os.strerror(number)}; mend its permissions" in err


@pytest.mark.parametrize(
    "value",
    ["2020-13-45", "{[a]: b}", "[" * 5000, "!!timestamp x", "!!bool x"],
    ids=["date", "key", "nesting", "time", "bool"],
)
def test_value_that_yaml_cannot_read_is_refused(tmp_path: Path, value: str) -> None:
    code, _, err = run("run", "configs/demo.yaml", "--set", f"description={value}", "--store", str(tmp_path / "store"))
    assert code == 2
    assert "no valid YAML" in err


def test_address_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:abc/")
    code, _, err = run("run", "configs/demo.yaml", "--store", str(tmp_path / "store"))
    assert code == 2
    assert "MLflow does not answer" in err
