"""What prefect.yaml lists, as deployments of a Prefect server: made, changed, and removed where it is there no more.

`prefect deploy` makes and changes. It leaves a schedule whose slug was renamed, and both run from then on; and it
leaves a deployment that is gone from the YAML. Both are removed here, the latter only if it bears our tag and was made
from this folder: other people's deployments on the same server stay.
"""

import os
import subprocess
import sys
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from flows import local_run, servers
from flows.automations import check_address, register
from flows.prefect_api import WORK_POOL, PrefectApi
from flows.prefect_yaml import TAG, problems_of_runs, read_deployments
from flows.profiles import recorded_place, refuse_to_tell
from flows.services import KEEPER
from minimind.errors import ConfigError, ServerError

SHOWN = ("parameters", "tags", "description", "concurrency_limit", "concurrency_options", "job_variables")

Row = dict[str, Any]
Wanted = Mapping[tuple[str, str], Row]


@dataclass(frozen=True)
class Deployed:
    """What a deploy did, by the names of deployments; schedules as `deployment/slug`."""

    made: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        named = (("made", self.made), ("changed", self.changed), ("removed", self.removed), ("as before", self.kept))
        return [f"{word:<9} {', '.join(names)}" for word, names in named if names]


def deploy(project: Path, notify: str | None, root: Path) -> list[str]:
    """Deploys to the server of PREFECT_API_URL, else to that of `minimind up`; what was done, line by line.

    Raises UserError, and deploys nothing, where nobody can be told of failures though `notify` asks for it.
    """
    if not os.environ.get("PREFECT_API_URL") and not servers.running_servers(root).keys() & {"Prefect", KEEPER}:
        raise ServerError(
            "there is no Prefect server to deploy to; set PREFECT_API_URL to one, or start one with `minimind up`"
        )
    if notify:
        check_address(notify)
    with local_run.prefect_server(root):
        place = recorded_place(root)
        if notify and place and place.is_asked(os.environ["PREFECT_API_URL"]):
            refuse_to_tell(place.setup.profile)
        if problems := problems_of_runs(project):
            raise ConfigError(str(project / "prefect.yaml"), problems)
        lines = deploy_all(project, os.environ).lines()
        if notify:
            lines += register(notify).lines()
    return lines


def deploy_all(project: Path, environment: Mapping[str, str]) -> Deployed:
    """Deploys the project's prefect.yaml to the server that PREFECT_API_URL in `environment` names.

    Raises ConfigError for a YAML that cannot be followed, ServerError with what Prefect said. Nothing is removed unless
    all could be deployed.
    """
    wanted = wanted_deployments(project)
    with PrefectApi.of(environment["PREFECT_API_URL"], environment).client_of_command() as server:
        before = ours_or_wanted(server, wanted, project)
        if server.get(f"/work_pools/{WORK_POOL}").status_code == httpx.codes.NOT_FOUND:
            prefect(["work-pool", "create", WORK_POOL, "--type", "process"], project, environment)
        try:
            if wanted:  # of none Prefect would ask for an entrypoint
                prefect(["deploy", "--all"], project, environment)
        except ServerError:  # some were deployed before it failed
            with suppress(httpx.HTTPError):
                keep_paused(server, wanted, before)
            raise
        keep_paused(server, wanted, before)
        removed = reconcile(server, wanted, ours_or_wanted(server, wanted, project), {row["id"] for row in before})
        after = ours_or_wanted(server, wanted, project)
    return compared(before, after, removed)


def wanted_deployments(project: Path) -> Wanted:
    """(name, entrypoint) -> the deployment as prefect.yaml has it. Raises ConfigError where it cannot be followed."""
    return {(row["name"], row["entrypoint"]): row for row in read_deployments(project)}


def prefect(arguments: list[str], project: Path, environment: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
    done = subprocess.run(command, cwd=project, env=os.environ | environment, capture_output=True, text=True)
    if done.returncode:
        raise ServerError(f"`prefect {' '.join(arguments)}` failed:\n{(done.stdout + done.stderr).strip()[-2000:]}")


# --- on the server ----------------------------------------------------------------------------------------------------


def ours_or_wanted(server: httpx.Client, wanted: Wanted, project: Path) -> list[Row]:
    """The deployments that the YAML lists, and those that it listed once."""
    rows, offset = [], 0
    while page := server.post("/deployments/filter", json={"limit": 200, "offset": offset}).raise_for_status().json():
        rows += page
        offset += len(page)
    return [row for row in rows if (row["name"], row["entrypoint"]) in wanted or is_ours(row, project)]


def is_ours(row: Row, project: Path) -> bool:
    """Whether the deployment bears our tag and was made from this folder."""
    folders = [options.get("directory") for step in row.get("pull_steps") or [] for options in step.values()]
    return TAG in row["tags"] and {row.get("path"), *folders} & {str(project), str(project.resolve())} != set()


def keep_paused(server: httpx.Client, wanted: Wanted, before: list[Row]) -> None:
    """Pauses again what somebody had paused, where the YAML says nothing of it: `prefect deploy` has resumed it."""
    for row in before:
        asked = wanted.get((row["name"], row["entrypoint"]))
        if asked is None:
            continue
        if row["paused"] and "paused" not in asked:
            server.post(f"/deployments/{row['id']}/pause_deployment").raise_for_status()
        said = {one["slug"] for one in asked.get("schedules") or [] if "active" in one}
        there = {one["id"] for one in server.get(f"/deployments/{row['id']}").raise_for_status().json()["schedules"]}
        for one in row["schedules"]:
            if not one["active"] and one["id"] in there and one["slug"] not in said:
                path = f"/deployments/{row['id']}/schedules/{one['id']}"
                server.patch(path, json={"active": False}).raise_for_status()


def reconcile(server: httpx.Client, wanted: Wanted, rows: list[Row], known: Container[str]) -> list[str]:
    """Removes deployments and schedules that the YAML does not list; the names of what is gone.

    Of deployments only those that were there before, whose ids are `known`: another deploy may be at work. A schedule
    without a slug was made by hand, in Prefect's pages, and stays.
    """
    removed = []
    for row in rows:
        asked = wanted.get((row["name"], row["entrypoint"]))
        if asked is None:
            if row["id"] in known:
                server.delete(f"/deployments/{row['id']}").raise_for_status()
                removed.append(row["name"])
            continue
        slugs = {one["slug"] for one in asked.get("schedules") or []}
        for schedule in row["schedules"]:
            if schedule["slug"] and schedule["slug"] not in slugs:
                server.delete(f"/deployments/{row['id']}/schedules/{schedule['id']}").raise_for_status()
                removed.append(f"{row['name']}/{schedule['slug']}")
    return removed


def compared(before: list[Row], after: list[Row], removed: list[str]) -> Deployed:
    then, now = ({row["name"]: shown(row) for row in rows} for rows in (before, after))
    deployed = Deployed(removed=removed)
    for name, row in now.items():
        kind = deployed.made if name not in then else deployed.kept if then[name] == row else deployed.changed
        kind.append(name)
    return deployed


def shown(row: Row) -> Row:
    """What of a deployment the YAML decides; an interval counts from the day of each deploy, which is no change."""
    schedules = {
        one["slug"]: [{key: value for key, value in one["schedule"].items() if key != "anchor_date"}, one["parameters"]]
        for one in row["schedules"]
    }
    return {key: row.get(key) or None for key in SHOWN} | {"schedules": schedules}
