"""What the suite looks at may go at any moment."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from flows.servers import is_over
from tests.system.fleeting import children_of, files_below, kill, words_of
from tests.system.patience import wait_until

PARENT = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"


def test_child_of_a_process_that_stands_still_is_over_once_it_is_killed() -> None:
    """Nobody takes notice of its end: it stays a zombie until its parent goes on."""
    process = psutil.Process(subprocess.Popen([sys.executable, "-c", PARENT]).pid)
    try:
        wait_until(lambda: children_of(process), 60, "child", pause=0.01)
        (child,) = children_of(process)
        process.send_signal(signal.SIGSTOP)
        assert not is_over(child)
        kill([child])
        assert is_over(child)
        assert child.status() == psutil.STATUS_ZOMBIE
        assert words_of(child) == []
    finally:
        kill([process])
    assert children_of(process) == []


def test_folder_that_goes_while_it_is_looked_through_is_left_out(tmp_path: Path) -> None:
    for name in ("gone", "here"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / "first").touch()
    (tmp_path / "link").symlink_to(tmp_path / "first")
    found = files_below(tmp_path)
    assert next(found) == tmp_path / "first"
    shutil.rmtree(tmp_path / "gone")
    assert list(found) == [tmp_path / "here" / "file"]
