"""prefect.yaml as we can follow it: what Prefect would pass over in silence, or say in a traceback, is refused.

Templates (`{{ ... }}`) work in parameters, in descriptions and in the steps of a deployment. A name, an entrypoint or a
schedule is written out: by these a deployment is found again on the server.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictStr,
    ValidationError,
    field_validator,
    model_validator,
)

from minimind.config import describe_problem, load_config, read_yaml
from minimind.errors import ConfigError, UserError

TAG = "minimind"  # of every deployment, and so of its runs
KINDS = ("cron", "rrule", "interval")


def _written_out(text: str) -> str:
    if "{{" in text:
        raise ValueError("a template is not followed here; write it out")
    return text


WrittenOut = Annotated[StrictStr, Field(min_length=1), AfterValidator(_written_out)]


class Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Schedule(Row):
    slug: WrittenOut
    cron: WrittenOut | None = None
    rrule: WrittenOut | None = None
    interval: timedelta | None = None
    anchor_date: StrictStr | None = None
    timezone: WrittenOut | None = None
    day_or: bool = True
    active: bool | None = None
    replaces: WrittenOut | None = None
    parameters: dict[str, Any] = {}

    @field_validator("timezone")
    @classmethod
    def _zone_is_known(cls, zone: str | None) -> str | None:
        if zone is not None and zone not in available_timezones():
            raise ValueError(f"{zone} is no time zone; write one such as Europe/Berlin")
        return zone

    @model_validator(mode="after")
    def _has_one_time(self) -> "Schedule":
        named = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(named) != 1:
            raise ValueError(f"it has {' and '.join(named) or 'no time'}; give one of {', '.join(KINDS)}")
        kept_by_prefect(self)
        return self


def kept_by_prefect(schedule: Schedule) -> Any:
    """As Prefect's server keeps it. Raises ValueError for what is no schedule."""
    from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

    if schedule.cron is not None:
        return CronSchedule(cron=schedule.cron, timezone=schedule.timezone, day_or=schedule.day_or)
    if schedule.rrule is not None:
        return RRuleSchedule(rrule=schedule.rrule, timezone=schedule.timezone or "UTC")
    more = {"anchor_date": schedule.anchor_date} if schedule.anchor_date else {}
    return IntervalSchedule(interval=schedule.interval, timezone=schedule.timezone, **more)


def comes_due(schedule: Schedule) -> bool:
    """Whether there is a next time, as Prefect counts it."""
    try:
        return bool(asyncio.run(kept_by_prefect(schedule).get_dates(1, start=datetime.now(UTC))))
    except Exception:  # noqa: BLE001 - croniter's for a day that no month has is of no one kind
        return False


class ConcurrencyLimit(Row):
    limit: int | None = Field(default=None, ge=1)
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"] | None = None
    grace_period_seconds: int | None = None


class WorkPool(Row):
    name: str | None = None
    work_queue_name: str | None = None
    job_variables: dict[str, Any] = {}


class Deployment(Row):
    name: WrittenOut
    entrypoint: WrittenOut
    tags: Annotated[list[WrittenOut], Field(validate_default=True)] = []
    description: str | None = None
    version: str | None = None
    version_type: str | None = None
    flow_name: str | None = None
    schedules: list[Schedule] | None = None
    paused: bool | None = None
    concurrency_limit: Annotated[int, Field(ge=1)] | ConcurrencyLimit | None = None
    parameters: dict[str, Any] = {}
    enforce_parameter_schema: bool | None = None
    work_pool: WorkPool | None = None
    build: Any = None
    push: Any = None
    pull: Any = None
    triggers: Any = None
    sla: Any = None

    @model_validator(mode="before")
    @classmethod
    def _one_of_before(cls, data: Any) -> Any:
        if isinstance(data, dict) and "schedule" in data:
            raise ValueError("it has a `schedule`; write it as a row of `schedules`, with a slug")
        return data

    @field_validator("tags")
    @classmethod
    def _is_known_as_ours(cls, tags: list[str]) -> list[str]:
        if TAG not in tags:
            raise ValueError(f"the tag {TAG} is missing, by which it is told from other people's; add it to the list")
        return tags

    @field_validator("schedules")
    @classmethod
    def _slugs_differ(cls, schedules: list[Schedule] | None) -> list[Schedule] | None:
        slugs = [schedule.slug for schedule in schedules or []]
        if twice := sorted({slug for slug in slugs if slugs.count(slug) > 1}):
            raise ValueError(f"the slug {', '.join(twice)} stands twice")
        return schedules


def read_deployments(project: Path) -> list[dict[str, Any]]:
    """The deployments of the project's prefect.yaml, each as it stands there. Raises ConfigError with all problems."""
    path = project / "prefect.yaml"
    if not path.is_file():
        raise ConfigError(str(path), ["there is no such file; run this where the project lies"])
    rows = read_yaml(path).get("deployments")
    if not isinstance(rows, list):
        raise ConfigError(str(path), ["it has no list `deployments`; write one, [] where nothing is to be deployed"])
    problems = [problem for number, row in enumerate(rows) for problem in problems_of(row, number, project)]
    names = [row["name"] for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)]
    problems += [f"the name {name} stands twice" for name in sorted({n for n in names if names.count(n) > 1})]
    if problems:
        raise ConfigError(str(path), problems)
    return rows


def problems_of(row: Any, number: int, project: Path) -> list[str]:
    name = row.get("name") if isinstance(row, dict) else None
    who = name if isinstance(name, str) and name else f"deployment {number + 1}"
    try:
        deployment = Deployment.model_validate(row)
    except ValidationError as error:
        return [f"{who}: {describe_problem(problem).removeprefix('the file: ')}" for problem in error.errors()]
    file = deployment.entrypoint.partition(":")[0]
    if file.endswith(".py") and not (project / file).is_file():
        return [f"{who}: entrypoint: there is no file {file} in {project}"]
    given = [deployment.parameters | schedule.parameters for schedule in deployment.schedules or []]
    if file.startswith("flows/") and not all(parameters.get("request") for parameters in given):
        return [f"{who}: parameters: its scheduled runs need a `request`, with what the flow is to work on"]
    return []


def problems_of_runs(project: Path) -> list[str]:
    """What keeps deployments that can be made from their work: a schedule that has run out, a config that fails."""
    problems = []
    for row in read_deployments(project):
        for schedule in Deployment.model_validate(row).schedules or []:
            if schedule.active is not False and not comes_due(schedule):
                problems.append(f"{row['name']}: its schedule {schedule.slug} never comes due; correct its time")
        request = (row.get("parameters") or {}).get("request")
        if isinstance(request, dict) and isinstance(request.get("config"), str) and "{{" not in str(request):
            problems += [f"{row['name']}: {problem}" for problem in problems_of_config(project, request)]
    return problems


def problems_of_config(project: Path, request: dict[str, Any]) -> list[str]:
    overrides = request.get("overrides") or []
    if not isinstance(overrides, list) or not all(isinstance(one, str) for one in overrides):
        return [f"overrides are {overrides!r}; write a list of section.key=value"]
    try:
        load_config(project / request["config"], overrides)
    except UserError as error:
        return [" ".join(str(error).split())]
    return []
