"""prefect.yaml as the server gets it: what is made, changed, removed; paused schedules, forms, limits."""

import asyncio
import importlib
import time
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
import yaml
from domain import PROJECT

from flows.deployments import Deployed, deploy_all, wanted_deployments
from flows.own_server import own_prefect_server
from flows.prefect_api import PrefectApi
from flows.prefect_yaml import problems_of_runs
from flows.servers import prefect_settings
from minimind.config import load_config
from minimind.errors import ConfigError

DAILY = {"slug": "daily", "cron": "0 0 * * *"}
PAST = {"slug": "past", "rrule": "DTSTART:20200101T000000\nRRULE:FREQ=DAILY;COUNT=2"}
SHIPPED = yaml.safe_load((PROJECT / "prefect.yaml").read_text())
DOMAINS = [row for row in SHIPPED["deployments"] if row["entrypoint"] == "flows/retrain.py:retrain"]


def test_each_domain_names_a_config_that_loads_and_runs_one_at_a_time() -> None:
    assert {row["name"] for row in DOMAINS} == {"software-licences", "legal-de", "legal-en"}
    for row in DOMAINS:
        assert load_config(PROJECT / row["parameters"]["request"]["config"]).name == row["name"]
        assert row["concurrency_limit"]["limit"] == 1
        assert row["schedules"]
    kinds = {kind for row in DOMAINS for schedule in row["schedules"] for kind in schedule}
    assert kinds == {"slug", "cron", "rrule", "timezone"}
    assert {row["concurrency_limit"]["collision_strategy"] for row in DOMAINS} == {"ENQUEUE", "CANCEL_NEW"}


@pytest.mark.parametrize("page", ["scheduling", "lineage"])
def test_pages_say_how_many_versions_the_weekly_pruning_keeps(page: str) -> None:
    [prune] = [row for row in SHIPPED["deployments"] if row["name"] == "prune"]
    kept = prune["parameters"]["request"]["keep_versions"]
    assert f"`minimind store prune --keep-versions {kept}`" in (PROJECT / "docs" / f"{page}.md").read_text()


def test_shipped_file_can_be_followed() -> None:
    wanted = wanted_deployments(PROJECT)
    assert set(wanted) == {(row["name"], row["entrypoint"]) for row in SHIPPED["deployments"]}


@pytest.mark.parametrize("name", ["retrain", "compare", "seeds", "prune", "explore"])
def test_form_has_its_fields_in_the_order_in_which_they_are_written(name: str) -> None:
    """The pages sort them by `position`; PostgreSQL keeps the keys of a schema in an order of its own."""
    from prefect.utilities.callables import parameter_schema

    flow = getattr(importlib.import_module(f"flows.{name}"), name)
    (request,) = parameter_schema(flow.fn).model_dump()["definitions"].values()
    assert [field["position"] for field in request["properties"].values()] == [*range(len(request["properties"]))]


def test_rule_of_a_recurrence_means_what_its_name_says() -> None:
    from prefect.server.schemas.schedules import RRuleSchedule

    (shipped,) = next(row["schedules"] for row in DOMAINS if row["name"] == "legal-en")
    schedule = RRuleSchedule(rrule=shipped["rrule"], timezone=shipped["timezone"])
    dates = asyncio.run(schedule.get_dates(3, start=datetime(2026, 2, 1, tzinfo=UTC)))
    local = [date.astimezone(ZoneInfo("America/New_York")).replace(tzinfo=None) for date in dates]
    assert local == [datetime(2026, 2, 28, 2), datetime(2026, 3, 28, 2), datetime(2026, 4, 25, 2)]  # over summer time


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tags": []}, "legal-de: tags is .*: the tag minimind is missing"),
        ({"tags": "minimind-x"}, "legal-de: tags is 'minimind-x': Input should be a valid list"),
        ({"tags": 5}, "legal-de: tags is 5"),
        ({"schedules": [{"cron": "0 0 * * *"}]}, "legal-de: schedules.0.slug is missing"),
        ({"schedules": ["0 0 * * *"]}, "legal-de: schedules.0 is '0 0"),
        ({"schedules": 5}, "legal-de: schedules is 5"),
        ({"schedule": {"cron": "0 0 * * *", "slug": "daily"}}, "legal-de: it has a `schedule`; write it as a row"),
        ({"schedules": [DAILY, DAILY]}, "the slug daily stands twice"),
        ({"schedules": [DAILY | {"cron": "every day"}]}, "schedules.0.cron is .every day.: Invalid cron"),
        ({"schedules": [DAILY | {"timezone": "Europe/Berlni"}]}, "Europe/Berlni is no time zone"),
        ({"schedules": [DAILY | {"slug": 3}]}, "schedules.0.slug is 3"),
        ({"schedules": [DAILY | {"interval": 60}]}, "it has cron and interval; give one of"),
        ({"schedules": [{"slug": "never"}]}, "it has no time; give one of cron, rrule, interval"),
        ({"schedules": [PAST | {"rrule": "often"}]}, "schedules.0.rrule is .often.: Invalid RRule"),
        ({"name": "legal-en"}, "the name legal-en stands twice"),
        ({"name": "legal-{{ $COUNTRY }}"}, "name is 'legal-.*a template is not followed here"),
        ({"name": ["a"]}, r"deployment 2: name is \['a'\]"),
        ({"entrypoint": None}, "legal-de: entrypoint is None"),
        ({"entrypoint": ["x"]}, "legal-de: entrypoint is "),
        ({"entrypoint": "flows/retrian.py:retrain"}, "there is no file flows/retrian.py in "),
        ({"concurency_limit": 1}, "legal-de: concurency_limit is unknown; remove it or correct the spelling"),
        ({"concurrency_limit": {"limit": 1, "collision_strategy": "WAIT"}}, "concurrency_limit"),
        ({"schedules": [{"slug": "a", "interval": 60, "anchor_date": "garbage"}]}, "anchor_date"),
        ({"concurrency_limit": 0}, "concurrency_limit"),
        ({"parameters": {"request": None}}, "legal-de: parameters: its scheduled runs need a `request`"),
        ({"parameters": {}}, "legal-de: parameters: its scheduled runs need a `request`"),
    ],
)
def test_file_that_cannot_be_followed_is_refused_before_anything_is_deployed(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    (tmp_path / "flows").mkdir()
    for name in ("retrain", "compare", "seeds", "prune"):
        (tmp_path / "flows" / f"{name}.py").touch()
    tree = deepcopy(SHIPPED)
    next(row for row in tree["deployments"] if row["name"] == "legal-de").update(change)
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(ConfigError, match=said):
        wanted_deployments(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("deployments: [legal-de]", "deployment 1: .*valid dictionary"),
        ("deployments: 5", "it has no list `deployments`"),
        ("deployment: []", "it has no list `deployments`; write one, "),
        ("", "a mapping of sections was expected, NoneType was found"),
        ("[]", "a mapping of sections was expected, list was found"),
        ("a: [", "it is no valid YAML"),
        ("deployments: []\ndeployments: []", "the key 'deployments' stands twice"),
        (None, "there is no such file; run this where the project lies"),
    ],
)
def test_file_without_deployments_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "prefect.yaml"
    path.mkdir() if text is None else path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        wanted_deployments(tmp_path)


def test_what_will_not_run_is_named(tmp_path: Path) -> None:
    requests = {
        "missing": {"config": "configs/nowhere.yaml"},
        "wrong": {"config": str(PROJECT / "configs" / "demo.yaml"), "overrides": ["training.bogus=1"]},
        "right": {"config": str(PROJECT / "configs" / "demo.yaml"), "overrides": ["training.seed=2"]},
        "later": {"config": "configs/{{ $COUNTRY }}.yaml"},
        "none": {"keep_versions": 10},
        "odd": {"config": str(PROJECT / "configs" / "demo.yaml"), "overrides": "training.seed=2"},
        "set": {"config": str(PROJECT / "configs" / "demo.yaml"), "overrides": ["training.seed={{ $SEED }}"]},
    }
    rows = [deployment(name, parameters={"request": request}) for name, request in requests.items()]
    never = {"slug": "never", "cron": "0 3 30 2 *"}
    rows += [deployment("out", schedules=[PAST, DAILY, never, PAST | {"slug": "off", "active": False}])]
    rows += [deployment("empty", schedules=None)]
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump({"deployments": rows}))
    (tmp_path / "tiny.py").touch()
    problems = problems_of_runs(tmp_path)
    assert [problem.partition(":")[0] for problem in problems] == ["missing", "wrong", "odd", "out", "out"]
    assert [problem for problem in problems if "its schedule past never comes due" in problem]
    assert "overrides are 'training.seed=2'; write a list" in problems[2]
    assert "configs/nowhere.yaml" in problems[0]
    assert "training.bogus is unknown" in problems[1]
    assert problems_of_runs(PROJECT) == []


def test_deployments_may_share_what_an_anchor_names(tmp_path: Path) -> None:
    base = "{entrypoint: 'tiny.py:tiny', tags: [minimind], description: one}"
    rows = "deployments: [{<<: *base, name: a}, &b {<<: *base, name: b, description: other}, {<<: *b, name: c}]"
    (tmp_path / "prefect.yaml").write_text(f"base: &base {base}\n{rows}\n")
    (tmp_path / "tiny.py").touch()
    found = wanted_deployments(tmp_path)
    assert {name: row["description"] for (name, _), row in found.items()} == {"a": "one", "b": "other", "c": "other"}


def test_empty_list_is_followed(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_text("deployments: []")
    assert wanted_deployments(tmp_path) == {}


# --- on a server ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What a process needs to talk to a server of this module's own."""
    root = tmp_path_factory.mktemp("deployed") / "store"
    with own_prefect_server(root) as url:
        yield prefect_settings(root, url)


@pytest.fixture(scope="module")
def api(settings: dict[str, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=settings["PREFECT_API_URL"], timeout=60) as client:
        yield client


TINY = """
from prefect import flow

@flow
def tiny(number: int = 1): ...
"""


def deployment(name: str, **more: Any) -> dict[str, Any]:
    """One that is quick to deploy: of a flow that imports nothing."""
    row: dict[str, Any] = {"name": name, "entrypoint": "tiny.py:tiny", "tags": ["minimind"], "description": name}
    return row | {"work_pool": {"name": "local"}} | more


def limited(strategy: str) -> dict[str, Any]:
    limit = {"limit": 1, "collision_strategy": strategy}
    return deployment(strategy.lower().replace("_", "-"), concurrency_limit=limit)


FIRST = [
    deepcopy(DOMAINS[0]) | {"name": "formed", "schedules": []},
    limited("ENQUEUE"),
    limited("CANCEL_NEW"),
    deployment("paused", schedules=[{"slug": "often", "interval": 60}]),
    deployment("stays", schedules=[{"slug": "often", "interval": 60}]),
    deployment("goes"),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for name in ("flows", "tasks", "minimind", "configs"):
        (folder / name).symlink_to(PROJECT / name)
    (folder / "tiny.py").write_text(TINY)
    return folder


def deploy(project: Path, settings: dict[str, str], deployments: list[dict[str, Any]]) -> Deployed:
    (project / "prefect.yaml").write_text(yaml.safe_dump({"name": "test", "deployments": deployments}))
    return deploy_all(project, settings)


@pytest.fixture(scope="module")
def deployed(project: Path, settings: dict[str, str], api: httpx.Client) -> dict[str, dict[str, Any]]:
    """The first deployments, by their names; beside them one of somebody else."""
    done = deploy(project, settings, FIRST)
    assert (sorted(done.made), done.removed) == (sorted(row["name"] for row in FIRST), [])
    rows = by_name(api)
    foreign = {"name": "someone-elses", "flow_id": rows["goes"]["flow_id"], "tags": ["minimind"], "path": "/elsewhere"}
    api.post("/deployments/", json=foreign | {"entrypoint": "a.py:b"}).raise_for_status()
    return rows


def by_name(api: httpx.Client) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in api.post("/deployments/filter", json={}).raise_for_status().json()}


def planned(api: httpx.Client, deployment_id: str) -> int:
    """How many runs of it are planned."""
    wanted = {"flow_runs": {"deployment_id": {"any_": [deployment_id]}, "state": {"type": {"any_": ["SCHEDULED"]}}}}
    return int(api.post("/flow_runs/count", json=wanted).raise_for_status().json())


def is_planned_at_last(api: httpx.Client, deployment_id: str) -> bool:
    until = time.monotonic() + 120
    while not (found := planned(api, deployment_id)) and time.monotonic() < until:
        time.sleep(0.5)
    return found > 0


def set_state(api: httpx.Client, run_id: str, kind: str) -> dict[str, Any]:
    answer = api.post(f"/flow_runs/{run_id}/set_state", json={"state": {"type": kind}}).raise_for_status().json()
    return dict(answer)


@pytest.mark.slow
def test_form_has_descriptions_refuses_what_does_not_fit_and_its_values_reach_the_run(
    deployed: dict[str, dict[str, Any]], api: httpx.Client
) -> None:
    row = deployed["formed"]
    assert row["enforce_parameter_schema"]
    form = row["parameter_openapi_schema"]["definitions"]["RetrainRequest"]["properties"]
    assert all(field.get("description") for field in form.values()), form

    def asked(request: dict[str, Any]) -> httpx.Response:
        return api.post(f"/deployments/{row['id']}/create_flow_run", json={"parameters": {"request": request}})

    for wrong in ({"config": "x", "untill": "corpus"}, {"config": "x", "until": "corps"}, {"config": 3}, {}):
        assert asked(wrong).status_code in (409, 422), wrong
    run = asked({"config": "configs/demo.yaml", "overrides": ["training.seed=2"]}).raise_for_status().json()
    assert run["parameters"]["request"]["overrides"] == ["training.seed=2"]
    assert run["tags"] == ["minimind"]  # by which automations find it


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "second"), [("enqueue", "AwaitingConcurrencySlot"), ("cancel-new", "Cancelled")])
def test_second_run_of_a_domain_waits_or_is_cancelled(
    deployed: dict[str, dict[str, Any]], api: httpx.Client, strategy: str, second: str
) -> None:
    asked = f"/deployments/{deployed[strategy]['id']}/create_flow_run"
    runs = [api.post(asked, json={}).raise_for_status().json()["id"] for _ in range(2)]
    assert set_state(api, runs[0], "PENDING")["status"] == "ACCEPT"
    set_state(api, runs[1], "PENDING")
    assert api.get(f"/flow_runs/{runs[1]}").json()["state_name"] == second
    asking = PrefectApi(str(api.base_url))
    assert asking.last_run(deployed[strategy]["id"]) is None, "one that was refused has not run"
    set_state(api, runs[0], "RUNNING")
    set_state(api, runs[0], "CANCELLED")
    last = asking.last_run(deployed[strategy]["id"])
    assert last is not None
    assert last["id"] == runs[0]


@pytest.mark.slow
def test_paused_deployment_makes_no_runs_also_when_it_is_deployed_again(
    deployed: dict[str, dict[str, Any]], settings: dict[str, str], api: httpx.Client, project: Path
) -> None:
    identity = deployed["paused"]["id"]
    assert is_planned_at_last(api, identity)
    api.post(f"/deployments/{identity}/pause_deployment").raise_for_status()
    assert planned(api, identity) == 0
    (schedule,) = deployed["stays"]["schedules"]
    one_schedule = f"/deployments/{deployed['stays']['id']}/schedules/{schedule['id']}"
    api.patch(one_schedule, json={"active": False}).raise_for_status()
    again = deploy(project, settings, FIRST)
    assert (again.made, again.changed, again.removed) == ([], [], [])
    assert sorted(again.kept) == sorted(row["name"] for row in FIRST)
    rows = by_name(api)
    assert rows["paused"]["paused"]
    assert [one["active"] for one in rows["stays"]["schedules"]] == [False]
    api.patch(one_schedule, json={"active": True}).raise_for_status()
    assert is_planned_at_last(api, deployed["stays"]["id"])  # the scheduler has been at work since
    assert planned(api, identity) == 0
    api.post(f"/deployments/{identity}/resume_deployment").raise_for_status()
    assert is_planned_at_last(api, identity)


@pytest.mark.slow
def test_what_is_gone_from_the_file_is_gone_from_the_server_and_the_rest_stays(
    deployed: dict[str, dict[str, Any]], settings: dict[str, str], api: httpx.Client, project: Path
) -> None:
    renamed = deployment("stays", schedules=[{"slug": "seldom", "interval": 1200}])
    left = [row for row in FIRST if row["name"] not in ("stays", "goes")]
    done = deploy(project, settings, [*left, renamed])
    assert (done.changed, sorted(done.removed)) == (["stays"], ["goes", "stays/often"])
    rows = by_name(api)
    assert "someone-elses" in rows
    assert "goes" not in rows
    assert [schedule["slug"] for schedule in rows["stays"]["schedules"]] == ["seldom"]
