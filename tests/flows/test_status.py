"""What `minimind status` says of runs, by what a server answers."""

from types import SimpleNamespace
from typing import Any

from flows import status
from flows.profiles import PROFILES

MOMENT = "2026-11-30T02:00:00+00:00"


def seen(*deployments: dict[str, Any], last: dict[str, Any] | None = None) -> status.Status:
    api = SimpleNamespace(
        deployments=lambda: list(deployments),
        runs_under_way=list,
        stages_of=lambda ids: {},
        runs=lambda states, sort: [],
        last_run=lambda key: last,
        limits=list,
    )
    place = SimpleNamespace(prefect_api=lambda: api, profile=PROFILES["local"], setup=SimpleNamespace(profile="local"))
    return status._with_runs(place, [])  # type: ignore[arg-type]


def deployment(name: str, *schedules: tuple[str | None, bool], paused: bool = False) -> dict[str, Any]:
    rows = [{"slug": slug, "active": active} for slug, active in schedules]
    return {"id": name, "name": name, "paused": paused, "schedules": rows}


def test_what_is_paused_is_told() -> None:
    rows = [
        deployment("laws", ("nightly", True), ("monthly", False), (None, False)),
        deployment("recipes", ("nightly", True), paused=True),
        deployment("birds", ("nightly", True)),
        deployment("compare"),
    ]
    found = [(row.domain, row.state, row.detail) for row in seen(*rows).next]
    assert found == [("laws", "Paused", "monthly, a schedule made by hand"), ("recipes", "Paused", "")]


def test_a_message_of_several_lines_is_told_with_its_cause() -> None:
    failed = {"state_type": "FAILED", "state_name": "Failed", "deployment_id": "birds", "name": "a", "end_time": MOMENT}
    message = "before the first stage: 1 problem in configs/birds.yaml:\n  - there is no such file"
    (last,) = seen(deployment("birds"), last=failed | {"state": {"message": message}}).last
    assert last.detail == "before the first stage: 1 problem in configs/birds.yaml: - there is no such file"
    (last,) = seen(deployment("birds"), last=failed | {"state": {"message": "long " * 500}}).last
    assert len(last.detail) == status.WHY_CHARACTERS
    completed = failed | {"state_type": "COMPLETED", "state": {"message": "All is well."}}
    assert seen(deployment("birds"), last=completed).last[0].detail == ""
