"""What a soak calls a leak, on made-up runs and samples."""

import argparse
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests.system import growth, patience, soak, soak_faults
from tests.system.installation import Installation

END = 1_000_000.0  # when the schedules were paused


class Planned:
    """An installation that has these runs, (state, seconds to the end); at each look one that is due ends, or none."""

    def __init__(self, *runs: tuple[str, float], come: bool = True) -> None:
        self.come = come
        self.found: list[dict[str, Any]] = [
            {
                "id": str(number),
                "state_type": state,
                "deployment_id": "often",
                "expected_start_time": datetime.fromtimestamp(END - seconds, UTC).isoformat(),
            }
            for number, (state, seconds) in enumerate(runs)
        ]

    def ask(self, path: str, body: object) -> list[dict[str, str]]:
        return [{"id": "often"}]

    def runs(self) -> list[dict[str, Any]]:
        seen = [dict(run) for run in self.found]
        waiting = [run for run in self.found if run["state_type"] == "SCHEDULED"]
        if self.come and waiting:
            waiting[0]["state_type"] = "COMPLETED"
        return seen


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.0)


def test_run_that_was_due_and_never_came_is_a_leak() -> None:
    late = [("COMPLETED", 60.0), ("SCHEDULED", 40.0), ("SCHEDULED", 20.0), ("SCHEDULED", -20.0)]
    with pytest.raises(AssertionError, match="no start of any of 2 runs that are due"):
        soak.wait_for_due(Planned(*late, come=False), END)
    soak.wait_for_due(Planned(*late), END)


@pytest.mark.parametrize(
    ("times", "missing"), [((60, 40, 20, 0, -20), None), ((60, 20, 0), 40), ((60, 40), 40), ((), "no run was planned")]
)
def test_time_of_the_schedule_without_a_run_is_a_leak(times: tuple[float, ...], missing: float | str | None) -> None:
    planned = Planned(*(("COMPLETED", seconds) for seconds in times))
    if missing is None:
        soak.assert_every_time_has_a_run(planned, END)
        return
    with pytest.raises(AssertionError, match=missing if isinstance(missing, str) else f"planned for {missing} s"):
        soak.assert_every_time_has_a_run(planned, END)


def test_memory_and_builds_that_grow_are_a_leak_and_a_service_unseen_is_none() -> None:
    samples = [
        {
            "memory_mb MLflow": 100.0 + 20 * number,
            "memory_mb worker": 50.0,
            "disk_mb builds": 1.0 + number,
            "disk_mb logs": number,
        }
        for number in range(16)
    ]
    assert growth.grown(samples) == ["MLflow grew from 210 to 370 MB", "what is built grew from 6.5 to 14.5 MB"]
    assert growth.grown(samples[:1]) == growth.grown([{}, {}, {}, {"memory_mb worker": 50.0}]) == []


class Away(Installation):
    """One of which only Prefect is there, and takes no request that writes."""

    def service(self, name: str) -> None:
        return None

    @property
    def place(self) -> Any:
        refused = httpx.MockTransport(lambda request: httpx.Response(503))
        api = SimpleNamespace(client=lambda: httpx.Client(base_url="http://prefect", transport=refused))
        return SimpleNamespace(prefect_api=lambda: api)


def test_pause_in_vain_is_a_leak_that_says_why(tmp_path: Path) -> None:
    said: list[str] = []
    found = soak.Soak(1, 1)
    with soak.failures_told(found):
        soak.pause(Away(tmp_path, lambda seed, words: ""), "often", said.append)
    (leak,) = found.leaks
    assert re.search("no pause of the schedules .* the last answer: 503 in", leak)
    parts = ("pausing: 503", "/health ConnectError", "no listener", "no process", "no lease lock", "keeper: silent")
    assert all(part in said[0] for part in parts), said


def test_what_was_seen_can_be_kept() -> None:
    found = soak.Soak(1, 1, faults=[(3.0, "flow killed")], samples=[{"seconds": 1.0}])
    found.runs.update(["Completed", "Completed", "Crashed"])
    kept = json.loads(json.dumps(soak.as_json(found)))
    assert kept["runs"] == {"Completed": 2, "Crashed": 1}
    assert kept["faults"] == [[3.0, "flow killed"]]
    assert kept["samples"] == found.samples


def test_server_that_answers_to_nothing_is_a_leak_and_the_figures_are_told() -> None:
    found = soak.Soak(1, 1, samples=[{"seconds": 1.0}])
    with soak.failures_told(found):
        raise httpx.ReadTimeout("")
    assert "Leaked: ReadTimeout" in soak.figures(found)


@pytest.mark.parametrize("there", [("worker",), ("flow",), ()])
def test_worker_and_flow_are_hurt_where_one_of_both_is_there(
    there: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[Any] = []
    monkeypatch.setattr(soak_faults, "kill", killed.extend)
    monkeypatch.setattr(soak_faults, "words_of", lambda process: ["python", "-m", "prefect.engine"])
    found = SimpleNamespace(
        serving=lambda name: [name] if name in there else [], processes=lambda: ["flow"] if "flow" in there else []
    )
    assert soak_faults.kill_worker_and_flow(found) == bool(there)
    assert killed == list(there)


def test_soak_too_short_to_tell_anything_is_refused() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"0\.1 minutes are too few .* give 1 or more"):
        soak.long_enough("0.1")
    assert soak.long_enough("1") == 1
