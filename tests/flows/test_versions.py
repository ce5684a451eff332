"""`minimind compare` and `minimind seeds` as a user calls them, and the event of the gate's decision."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from domain import Domain, PrefectServer, invoked


@pytest.fixture(scope="package")
def versions(retrained: Domain, prefect: PrefectServer) -> Domain:
    """With version 1, champion, and the shorter trained version 2."""
    retrained.call(prefect)
    retrained.call(prefect, "--set", "training.budget=8k tokens")
    return retrained


def command(domain: Domain, prefect: PrefectServer, *words: str, expect: int = 0) -> dict[str, Any]:
    with prefect.spoken_to():
        return invoked([*words, "--store", str(domain.store), "--json"], expect)


def rows_of(domain: Domain, query: str) -> set[str]:
    with closing(sqlite3.connect(domain.store / "prefect" / "prefect.db")) as database:
        return {row[0] for row in database.execute(query)}


def test_comparison_is_json_a_page_an_artifact_and_a_metric(versions: Domain, prefect: PrefectServer) -> None:
    found = command(versions, prefect, "compare", "retrained", "--versions", "1,2")
    assert {"verdict", "effect", "interval", "by_source"} <= found.keys()
    assert found["verdict"] == "worse"
    assert found["interval"]["covers"] == ["documents", "seeds"]
    page = Path(found["page"])
    assert page.is_relative_to(versions.store)
    assert "Version 2 is worse than version 1" in page.read_text()
    assert {"retrained-comparison", "retrained-comparison-page"} <= rows_of(versions, "select key from artifact")


def test_versions_that_are_not_there_are_one_sentence(versions: Domain, prefect: PrefectServer) -> None:
    said = command(versions, prefect, "compare", "retrained", "--versions", "1,77", expect=2)
    assert "models:/retrained/77 does not exist: retrained has the versions 1, 2" in said["stderr"]
    assert "Traceback" not in said["stderr"]


def test_decision_of_the_gate_is_an_event(versions: Domain) -> None:
    deadline = time.monotonic() + 30
    expected = {"minimind.model.promoted", "minimind.model.refused"}
    while time.monotonic() < deadline and not expected <= rows_of(versions, "select event from events"):
        time.sleep(0.2)
    assert expected <= rows_of(versions, "select event from events")
    (resource,) = rows_of(
        versions, "select resource_id from events where event = 'minimind.model.refused'"
    )  # fmt: skip
    assert resource == "minimind.model.retrained"


@pytest.mark.slow  # the parts: test_training_seeds
def test_seeds_are_trained_with_one_plan_and_their_spread_is_kept(versions: Domain, prefect: PrefectServer) -> None:
    before = {path.name for path in (versions.store / "training").iterdir()}
    found = command(versions, prefect, "seeds", str(versions.config), "--n", "2", "--budget", "4k tokens")
    assert found["seeds"] == [1, 2]
    assert len(set(found["bits_per_byte"])) == 2
    assert 0 < found["spread"] < 1
    (kept,) = (versions.store / "seeds" / "retrained").iterdir()
    measured = json.loads(kept.read_text())
    assert measured["bits_per_byte"] == found["bits_per_byte"]
    assert (measured["small"], measured["trained_budget"]) == (True, "3,584 tokens")
    left = {path.name for path in (versions.store / "training").iterdir()} - before
    assert len(left) == 1, "the other seed's model is removed; that of the config's own seed may serve a run"


def test_promotion_and_rollback_by_hand(versions: Domain, prefect: PrefectServer) -> None:
    assert command(versions, prefect, "promote", "retrained", "2") == {
        "name": "retrained", "champion": "2", "before": "1",
    }  # fmt: skip
    assert command(versions, prefect, "rollback", "retrained") == {"name": "retrained", "champion": "1", "before": "2"}
    again = versions.call(prefect, "--set", "training.budget=8k tokens")
    assert again["model"]["decision"] == "kept_champion"
