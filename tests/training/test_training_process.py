"""What happens to the training process when its supervisor is gone, and what it needs to run."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import small_inputs, training_config

from minimind.errors import DivergenceError, OutOfMemoryError, TrainingError, TrainingInterruptedError
from minimind.store import Store
from minimind.training.__main__ import exit_code_of
from minimind.training.budget import make_plan
from minimind.training.build import build
from minimind.training.launch import end_leftover, error_for, stop, trains_in
from minimind.training.process import ExitCode, RunFolder

SUPERVISOR = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from small import small_inputs, training_config
from minimind.store import Store
from minimind.training.build import build

store = Store(Path({store!r}), "made")
build(training_config(budget="100M tokens"), small_inputs(store), store)
"""


def start_supervisor(store: Path) -> "subprocess.Popen[bytes]":
    code = SUPERVISOR.format(tests=str(Path(__file__).parent), store=str(store))
    return subprocess.Popen([sys.executable, "-c", code])


def wait_for(found, seconds):
    deadline = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return value


def test_process_dies_with_its_killed_supervisor_and_the_next_run_goes_on(tmp_path):
    supervisor = start_supervisor(tmp_path)
    try:
        checkpoint = wait_for(lambda: next((tmp_path / "training").glob(".building-*/checkpoints/*.json"), None), 240)
        folder = RunFolder(checkpoint.parents[1])
        pid = json.loads(folder.worker.read_text())["pid"]
        assert trains_in(folder, pid)
    finally:
        supervisor.kill()
        supervisor.wait()
    assert wait_for(lambda: not trains_in(folder, pid), 10)
    assert "with a checkpoint" in folder.log.read_text()

    def interrupt_when_resumed(path, fingerprint):
        if "resumed at step" in folder.log.read_text():
            raise KeyboardInterrupt

    store = Store(tmp_path, "made")
    inputs = replace(small_inputs(store), watch=interrupt_when_resumed)
    with pytest.raises(KeyboardInterrupt):
        build(training_config(budget="100M tokens"), inputs, store)
    assert not trains_in(folder, json.loads(folder.worker.read_text())["pid"])


@pytest.fixture
def pretender():
    """Starts processes whose command line is that of a training in some folder."""
    started = []

    def start(folder: Path):
        command = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(99)"]
        process = subprocess.Popen([*command, "minimind.training", str(folder)], stdout=subprocess.PIPE)
        started.append(process)
        process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_leftover_process_of_the_folder_is_ended(tmp_path, pretender):
    process = pretender(tmp_path)
    (tmp_path / "worker.json").write_text(json.dumps({"pid": process.pid}))
    end_leftover(RunFolder(tmp_path))
    assert process.wait(10) == -signal.SIGTERM


def test_process_that_got_the_number_of_a_dead_one_is_left_alone(tmp_path, pretender):
    process = pretender(tmp_path / "other")
    (tmp_path / "worker.json").write_text(json.dumps({"pid": process.pid}))
    end_leftover(RunFolder(tmp_path))
    assert process.poll() is None


@pytest.mark.parametrize("content", ["", "no json", "[]", '{"pid": null}'])
def test_record_cut_short_by_a_kill_is_no_obstacle(tmp_path, content):
    (tmp_path / "worker.json").write_text(content)
    end_leftover(RunFolder(tmp_path))


def test_process_whose_supervisor_is_gone_at_its_start_leaves_at_once(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "minimind.training", str(tmp_path), "--supervisor", str(os.getpid() + 1)], timeout=60
    )
    assert ended.returncode == 75
    assert list(tmp_path.iterdir()) == []


ABSENT = (
    "yaml", "tokenizers", "tiktoken", "psutil",  # the last three only to prepare shards
    "prefect", "duckdb", "mlflow", "datasets", "transformers", "httpx", "jinja2", "typer", "rich", "numba", "scipy",
    "matplotlib", "pandas", "fsspec", "zstandard", "lxml", "ftfy", "py3langid",
)  # fmt: skip
NEEDED = (  # modules, and what they need of that
    ((), ("minimind.training.__main__", "minimind.training.loop", "minimind.training.fit")),
    (
        ("yaml",),
        [f"benchmarks.{name}" for name in ("ladder.__main__", "throughput", "loader", "resume", "time_to_loss", "gpu")],
    ),
    ((), ("benchmarks.recipe.__main__",)),
    (("tokenizers", "tiktoken", "psutil"), ("benchmarks.recipe.prepare",)),
)


def test_training_and_its_benchmarks_import_nothing_that_a_bare_gpu_machine_lacks():
    code = f"import sys; sys.modules.update(dict.fromkeys({ABSENT}))\n"
    for present, modules in NEEDED:
        code += "".join(f"del sys.modules[{name!r}]\n" for name in present)
        code += "".join(f"import {name}\n" for name in modules)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), ExitCode.DISK_FULL),
        (RuntimeError("I/O error: No space left on device (os error 28)"), ExitCode.DISK_FULL),
        (torch.OutOfMemoryError("CUDA out of memory"), ExitCode.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: out of memory"), ExitCode.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), ExitCode.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), ExitCode.OUT_OF_MEMORY),
        (MemoryError(), ExitCode.OUT_OF_MEMORY),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
    ],
)
def test_full_disk_and_memory_have_exit_codes_of_their_own(error, code):
    assert exit_code_of(error) is code


def broken_off_recording():
    try:
        raise torch.OutOfMemoryError("CUDA out of memory")
    finally:
        raise RuntimeError("operation failed due to a previous error during capture")


def test_memory_that_ran_out_is_seen_behind_the_error_that_was_met_on_the_way():
    with pytest.raises(RuntimeError, match="during capture") as raised:
        broken_off_recording()
    assert exit_code_of(raised.value) is ExitCode.OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("code", "error", "said"),
    [
        (ExitCode.OUT_OF_MEMORY, OutOfMemoryError, r"lower training.micro_batch_sequences \(it is 2\)"),
        (ExitCode.DIVERGED, DivergenceError, "^training diverged at step 3$"),
        (ExitCode.INTERRUPTED, TrainingInterruptedError, "run again to continue"),
        (-signal.SIGTERM, TrainingInterruptedError, "run again to continue"),
        (-signal.SIGKILL, OutOfMemoryError, "killed by signal 9, .*memory runs out.*micro_batch_sequences"),
        (1, TrainingError, "ended with code 1 and left no model; the end of its log:\nfirst line\n"),
        (ExitCode.DISK_FULL, OSError, "No space left"),
    ],
)
def test_end_of_the_process_is_told_in_words(tmp_path, code, error, said):
    store = Store(tmp_path / "store", "made")
    plan = make_plan(training_config(), small_inputs(store).shards, store)
    folder = RunFolder(tmp_path)
    folder.log.write_text("first line\n2026-01-01 10:00:00,000 ERROR training diverged at step 3\n")
    with pytest.raises(error, match=said):
        raise error_for(code, folder, plan)


class SecondTerm(BaseException):
    """As Prefect raises one in a flow for each TERM."""


@pytest.mark.parametrize(("raised", "ends_in_peace"), [(SecondTerm, True), (KeyboardInterrupt, False)])
def test_supervisor_that_is_told_again_waits_for_the_checkpoint_and_a_person_does_not(tmp_path, raised, ends_in_peace):
    written, ready = tmp_path / "checkpoint", tmp_path / "ready"
    code = (
        "import pathlib, signal, time\n"
        "def end(*_):\n"
        f"    time.sleep(1); pathlib.Path({str(written)!r}).touch(); raise SystemExit\n"
        f"signal.signal(signal.SIGTERM, end); pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    wait_for(ready.exists, 10)

    def tell_again(*_):
        raise raised

    before = signal.signal(signal.SIGALRM, tell_again)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(raised):
            stop(process)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert process.poll() == (0 if ends_in_peace else -signal.SIGKILL)
    assert written.exists() == ends_in_peace
