"""`minimind status`: how each service is, what runs and what runs next, how each domain's last run ended."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from flows import servers
from flows.keeper_state import KeeperState, load_state
from flows.prefect_api import PrefectApi
from flows.profiles import Place, recorded_place
from flows.settings import store_root
from flows.store_views import ANY_WIDTH

WHY_CHARACTERS = 400


@dataclass(frozen=True)
class ServiceState:
    name: str
    state: str  # up, down (failing: tried every 10 minutes), or unhealthy: the process lives and does not do its work
    address: str
    since: str  # ISO, of this machine's time zone
    detail: str = ""  # what the keeper says of it


@dataclass(frozen=True)
class RunState:
    domain: str
    state: str
    at: str | None  # ISO: when it is due, began, or ended
    detail: str = ""  # the stage that it is in, or why it ended as it did


@dataclass(frozen=True)
class Slot:
    name: str
    used: int
    slots: int


@dataclass(frozen=True)
class Status:
    profile: str | None  # None: nothing was ever up in this store
    services: list[ServiceState] = field(default_factory=list)  # what should be up
    running: list[RunState] = field(default_factory=list)
    next: list[RunState] = field(default_factory=list)
    last: list[RunState] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    unanswered: str = ""  # why nothing is known of runs

    @property
    def is_healthy(self) -> bool:
        return all(service.state == "up" for service in self.services) and not self.unanswered


def show(option: Path | None, as_json: bool) -> bool:
    """Prints the status; False if something that should be up is not."""
    status = look(store_root(option))
    if as_json:
        print(json.dumps(asdict(status) | {"healthy": status.is_healthy}))
    else:
        _print(status)
    return status.is_healthy


def look(root: Path) -> Status:
    place, recorded = recorded_place(root), servers.recorded_servers(root)
    if place is None or not recorded:
        return Status(place.setup.profile if place else None)
    described = place.services()
    kept = load_state(root)
    states = [_state_of(server, described.get(server.name), kept) for server in recorded]
    prefect = next((state.state for state in states if state.name == "Prefect"), "down")
    if prefect != "up":
        return Status(place.setup.profile, states, unanswered=f"Prefect is {prefect}")
    try:
        return _with_runs(place, states)
    except httpx.HTTPError as error:
        return Status(place.setup.profile, states, unanswered=f"Prefect does not answer: {error}")


def _state_of(server: servers.Started, service: servers.Service | None, kept: KeeperState) -> ServiceState:
    alive = server.is_alive()
    healthy = alive and (service is None or service.is_healthy())
    since = datetime.fromtimestamp(server.started_at).astimezone().isoformat(timespec="seconds")
    state = "up" if healthy else "unhealthy" if alive else "down, failing" if server.name in kept.failing else "down"
    return ServiceState(server.name, state, server.url, since, kept.said.get(server.name, ""))


def _with_runs(place: Place, states: list[ServiceState]) -> Status:
    api = place.prefect_api()
    deployments = api.deployments()
    names = {row["id"]: row["name"] for row in deployments}
    under_way = api.runs_under_way()
    stages = api.stages_of([run["id"] for run in under_way])
    return Status(
        place.setup.profile,
        states,
        running=[_run(run, names, "start_time", stages.get(run["id"], "")) for run in under_way],
        next=_first_of_each([_run(run, names, "expected_start_time") for run in _scheduled(api)])
        + [paused for row in deployments for paused in _paused(row)],
        last=[_run(run, names, "end_time", _why(run)) for key in names if (run := api.last_run(key))],
        slots=[Slot(_limited(row["name"], names), row["active_slots"], row["limit"]) for row in api.limits()],
    )


def _limited(name: str, names: dict[str, str]) -> str:
    """What a limit is for: a deployment's own is called after its id."""
    key = name.removeprefix("deployment:")
    return f"runs of {names.get(key, key)}" if key != name else name


def _scheduled(api: PrefectApi) -> list[dict[str, Any]]:
    return api.runs(["SCHEDULED"], "EXPECTED_START_TIME_ASC")


def _first_of_each(runs: list[RunState]) -> list[RunState]:
    return list({run.domain: run for run in reversed(runs)}.values())[::-1]


def _run(run: dict[str, Any], names: dict[str, str], moment: str, detail: str = "") -> RunState:
    at = run[moment] and datetime.fromisoformat(run[moment]).astimezone().isoformat(timespec="seconds")
    return RunState(names.get(run["deployment_id"], run["name"]), run["state_name"], at, detail)


def _paused(deployment: dict[str, Any]) -> Iterator[RunState]:
    """What somebody has paused and may have forgotten: a whole deployment, or some of its schedules."""
    slugs = [str(one["slug"] or "a schedule made by hand") for one in deployment["schedules"] if not one["active"]]
    if deployment["paused"] or slugs:
        yield RunState(deployment["name"], "Paused", None, "" if deployment["paused"] else ", ".join(slugs))


def _why(run: dict[str, Any]) -> str:
    """What Prefect keeps of a run that did not complete, on one line."""
    message = " ".join(str((run["state"] or {}).get("message") or "").split())
    shown = message if len(message) <= WHY_CHARACTERS else f"{message[: WHY_CHARACTERS - 1]}…"
    return "" if run["state_type"] == "COMPLETED" else shown


# --- for people -------------------------------------------------------------------------------------------------------


def _print(status: Status) -> None:
    if not status.services:
        print("nothing is up; `minimind up` starts it")
        return
    _table(
        "service",
        status.services,
        lambda row: (row.name, row.state, row.address, f"since {_when(row.since)}", row.detail),
    )
    _table("running", status.running, lambda row: (row.domain, row.state, row.detail, f"since {_when(row.at)}"))
    _table("next", status.next, lambda row: (row.domain, row.state, _when(row.at) if row.at else row.detail))
    _table("last", status.last, lambda row: (row.domain, row.state, _when(row.at), row.detail))
    _table("slots", status.slots, lambda row: (row.name, f"{row.used} of {row.slots} in use"))
    if status.unanswered:
        print(f"\nnothing is known of runs: {status.unanswered}")


def _table(title: str, rows: list[Any], cells: Callable[[Any], tuple[str, ...]]) -> None:
    if rows:
        table = Table(show_header=False, show_edge=False, pad_edge=False, box=None, padding=(0, 2, 0, 0))
        for row in rows:
            table.add_row(*cells(row))
        print(f"\n{title}" if title != "service" else title)
        Console(width=ANY_WIDTH).print(table)


def _when(moment: str | None) -> str:
    """In this machine's time zone."""
    return datetime.fromisoformat(moment).strftime("%a %Y-%m-%d %H:%M %Z").strip() if moment else "not yet"
