"""The command that runs all GPU parts: what it would run, and what becomes of parts that fail or do not end."""

import json
import sys
from importlib import import_module

import pytest

from benchmarks import gpu


def given(*arguments):
    return gpu.arguments().parse_args(["--shards", "s", "--corpus", "c", "--results", "r", *arguments])


@pytest.mark.parametrize("name", [name for name in gpu.LIMITS if name != "tests"])
def test_each_part_is_a_command_that_its_benchmark_understands(name):
    _, _, module, *arguments = gpu.command_of(name, given("--seeds", "1,2"), seconds=1000)
    parsed = import_module(module).arguments().parse_args(arguments)
    assert (parsed.corpus, parsed.results.name) == ("c", f"{name}.json")
    assert "cuda" in (getattr(parsed, "device", None), getattr(parsed, "devices", None))


def test_time_to_loss_is_sized_to_fit_into_what_is_left():
    for seconds, seeds in ((300, "1"), (2_000, "1,2,3")):
        command = gpu.command_of("time_to_loss", given("--seeds", seeds), seconds)
        baseline = float(command[command.index("--seconds") + 1])
        runs = 2 * baseline + sum(gpu.SHARES) * baseline + (2 + len(gpu.SHARES)) * gpu.RUN_SECONDS
        assert seconds - 10 < runs * len(seeds.split(",")) <= seconds + 10
    assert gpu.command_of("time_to_loss", given(), 60) == gpu.command_of("loader", given(), 0) == []


def test_part_that_fails_or_does_not_end_is_said_and_the_next_begins(tmp_path, monkeypatch, capsys):
    endless = "import time; time.sleep(99)"
    codes = {"tests": "raise SystemExit(3)", "loader": endless, "resume": "print('measured')"}
    monkeypatch.setattr(gpu, "command_of", lambda name, *_: [sys.executable, "-c", codes[name]])
    monkeypatch.setattr(gpu, "LIMITS", {"tests": 1.0, "loader": 0.02, "resume": 1.0})
    monkeypatch.setattr(sys, "argv", ["gpu", "--shards", "s", "--corpus", "c", "--results", str(tmp_path)])
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--minutes", "0.3", "--parts", "tests,loader,resume"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 1
    found = json.loads((tmp_path / "parts.json").read_text())
    assert [part["ended"] for part in found["parts"]] == ["failed", "at its limit", "done"]
    assert found["parts"][1]["limit_seconds"] == 0.4
    assert (tmp_path / "resume.log").read_text() == "measured\n"
    assert "loader: at its limit" in capsys.readouterr().out
