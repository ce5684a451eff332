"""Aliases moved by hand: back and forth, twice, side by side, and with an MLflow that goes away in the middle."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from mlflow import MlflowClient
from requests import ConnectionError as AwayError

from minimind.errors import ModelNotFoundError, ServerError, UserError
from minimind.registry import promotion, tracking
from minimind.registry.gate import Decision
from minimind.registry.promotion import previous_champion, promote, rollback, settle
from minimind.store import Store

Judge = Callable[[str | None], Decision]


@pytest.fixture
def client(uri: str) -> MlflowClient:
    """With five versions of `tests`, none of them champion."""
    client = tracking.connect(uri)
    client.create_registered_model("tests")
    for _ in range(5):
        client.create_model_version("tests", source="/nowhere")
    return client


def champion(client: MlflowClient) -> str | None:
    return promotion.champion_of(client, "tests")


def aliases(client: MlflowClient) -> dict[str, str]:
    return {name: str(version) for name, version in client.get_registered_model("tests").aliases.items()}


def saying(version: str, promoted: bool) -> Judge:
    """A gate that says so."""

    def judge(before: str | None) -> Decision:
        outcome = "promoted" if promoted else "kept_champion"
        return Decision(outcome, [], [], version if promoted else before, before, 2.0, None, None, "", 8, None)

    return judge


def test_rollback_goes_back_step_by_step_and_then_says_so(client: MlflowClient, uri: str, store: Store) -> None:
    for version in ("1", "2", "3"):
        settle(client, "tests", version, saying(version, promoted=True))
    assert rollback("tests", uri, store) == ("2", "3")
    assert rollback("tests", uri, store) == ("1", "2")
    assert aliases(client) == {"champion": "1"}
    with pytest.raises(UserError, match="version 1 of tests has no earlier champion"):
        rollback("tests", uri, store)
    assert champion(client) == "1"


def test_promotion_by_hand_can_be_taken_back(client: MlflowClient, uri: str, store: Store) -> None:
    settle(client, "tests", "1", saying("1", promoted=True))
    settle(client, "tests", "2", saying("2", promoted=False))
    assert promote("tests", "2", uri, store) == "1"
    assert aliases(client) == {"champion": "2"}
    assert rollback("tests", uri, store) == ("1", "2")
    assert champion(client) == "1"


def test_rollback_after_the_alias_was_taken_away_and_given_again_moves_it(
    client: MlflowClient, uri: str, store: Store
) -> None:
    for version in ("1", "2"):
        settle(client, "tests", version, saying(version, promoted=True))
    client.delete_registered_model_alias("tests", "champion")
    promote("tests", "2", uri, store)
    assert rollback("tests", uri, store) == ("1", "2")
    assert champion(client) == "1"


def test_decision_of_a_champion_is_given_back_whole_until_it_is_announced_and_its_table_for_ever(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = [{"rule": "taken out of use by hand", "verdict": "passed"}]
    decision = replace(saying("1", promoted=True)(None), rules=rules, reasons=["it is better"])
    with monkeypatch.context() as patch:
        patch.setattr(promotion, "_drop_alias", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            settle(client, "tests", "1", lambda champion: decision)
    assert champion(client) == "1"
    already = replace(decision, outcome="already_champion", rules=[], reasons=["it is champion"])
    assert settle(client, "tests", "1", lambda champion: already) == decision
    client.delete_model_version_tag("tests", "1", promotion.UNANNOUNCED_TAG)
    for _ in range(2):
        said = settle(client, "tests", "1", lambda champion: already)
        assert said == replace(already, rules=rules, reasons=["it is champion", "it is better"])
    client.delete_model_version_tag("tests", "1", promotion.DECISION_TAG)  # as an earlier release has left it
    assert settle(client, "tests", "1", lambda champion: already) == replace(already, rules=rules)


def test_challenger_stays_where_the_judge_fails(client: MlflowClient) -> None:
    settle(client, "tests", "1", saying("1", promoted=True))
    settle(client, "tests", "2", saying("2", promoted=False))
    with pytest.raises(ZeroDivisionError):
        settle(client, "tests", "3", lambda champion: 1 / 0)  # type: ignore[arg-type, return-value]
    assert aliases(client) == {"champion": "1", "challenger": "2"}


def test_promoting_twice_changes_nothing(client: MlflowClient, uri: str, store: Store) -> None:
    settle(client, "tests", "1", saying("1", promoted=True))
    assert promote("tests", "3", uri, store) == "1"
    assert promote("tests", "3", uri, store) is None
    assert previous_champion(client, "tests") == "1"


def test_what_a_person_took_out_of_use_is_remembered_until_a_person_brings_it_back(
    client: MlflowClient, uri: str, store: Store
) -> None:
    settle(client, "tests", "1", saying("1", promoted=True))
    settle(client, "tests", "2", saying("2", promoted=True))
    assert not promotion.is_taken_out(client, "tests", "1"), "the gate has replaced it, not a person"
    rollback("tests", uri, store)
    assert promotion.is_taken_out(client, "tests", "2")
    promote("tests", "2", uri, store)
    assert not promotion.is_taken_out(client, "tests", "2")
    assert promotion.is_taken_out(client, "tests", "1")


def test_alias_that_was_moved_in_the_pages_is_the_truth(client: MlflowClient, uri: str, store: Store) -> None:
    for version in ("1", "2"):
        settle(client, "tests", version, saying(version, promoted=True))
    client.set_registered_model_alias("tests", "champion", "5")
    assert previous_champion(client, "tests") == "2"
    assert rollback("tests", uri, store) == ("2", "5")
    client.set_registered_model_alias("tests", "champion", "1")
    with pytest.raises(UserError, match="no earlier champion"):
        rollback("tests", uri, store)


def test_deleted_champion_leaves_the_gate_shut_and_gives_way_to_the_one_before_it(
    client: MlflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    for version in ("1", "2", "3"):
        settle(client, "tests", version, saying(version, promoted=True))
    client.set_model_version_tag("tests", "2", promotion.TAKEN_OUT_TAG, "true")
    client.delete_model_version("tests", "3")
    held_to: list[str | None] = []

    def judge(before: str | None) -> Decision:
        held_to.append(before)
        return saying("4", promoted=False)(before)

    settle(client, "tests", "4", judge)
    assert held_to == ["1"]
    assert aliases(client) == {"champion": "1", "challenger": "4"}
    assert "tests has lost its champion: version 1, the last that was one, is it again" in caplog.text
    client.delete_model_version("tests", "1")
    settle(client, "tests", "5", saying("5", promoted=True))
    assert aliases(client) == {"champion": "5", "challenger": "4"}


def test_two_promotions_at_once_leave_one_champion_and_a_history(client: MlflowClient, uri: str, store: Store) -> None:
    with ThreadPoolExecutor(2) as pool:
        befores = list(pool.map(lambda version: promote("tests", version, uri, store), ["1", "2"]))
    assert sorted(before or "" for before in befores) in (["", "1"], ["", "2"])
    assert champion(client) in ("1", "2")
    assert previous_champion(client, "tests") in ({"1", "2"} - {str(champion(client))})


def test_rollback_that_was_killed_is_forgotten_once_the_champions_are_others(
    client: MlflowClient, uri: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("1", "2", "3"):
        settle(client, "tests", version, saying(version, promoted=True))
    with monkeypatch.context() as patch:
        patch.setattr(promotion, "_remember", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            rollback("tests", uri, store)
    assert champion(client) == "2"
    settle(client, "tests", "4", saying("4", promoted=True))
    assert rollback("tests", uri, store) == ("2", "4")
    assert rollback("tests", uri, store) == ("1", "2")


MOVES: dict[str, Callable[[str, Store], Any]] = {
    "promote": lambda uri, store: promote("tests", "3", uri, store),
    "rollback": lambda uri, store: rollback("tests", uri, store),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "call",
    ["get_registered_model", "set_model_version_tag", "set_registered_model_tag", "set_registered_model_alias",
     "delete_registered_model_alias"],
)  # fmt: skip
@pytest.mark.parametrize("move", MOVES)
def test_mlflow_that_goes_away_in_the_middle_is_one_sentence_and_moves_the_alias_wholly_or_not(
    move: str, call: str, when: str, client: MlflowClient, uri: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the same command again, once MLflow is back, ends where an undisturbed one would have: never further on."""
    for version in ("1", "2"):
        settle(client, "tests", version, saying(version, promoted=True))
    settle(client, "tests", "3", saying("3", promoted=False))
    original, target = getattr(MlflowClient, call), {"promote": "3", "rollback": "1"}[move]

    def away(*arguments: Any, **options: Any) -> Any:
        if when == "after":
            original(*arguments, **options)
        raise AwayError("Connection refused")

    client.set_registered_model_alias("tests", "challenger", target)
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, away)
        with pytest.raises(ServerError, match="connection refused"):
            MOVES[move](uri, store)
    assert champion(client) in ("2", target)
    said = MOVES[move](uri, store)
    assert move == "promote" or said == ("1", "2")
    assert aliases(client) == {"champion": target}
    assert previous_champion(client, "tests") == {"promote": "2", "rollback": None}[move]
    assert promotion.is_taken_out(client, "tests", "2")
    assert not promotion.is_taken_out(client, "tests", "1")


@pytest.mark.parametrize(
    ("name", "version", "said"),
    [
        ("tests", "9", "has the versions 1, 2, 3, 4, 5"),
        ("tests", "latest", "names no version"),
        ("other", "1", "the registered models are tests"),
    ],
)
def test_unknown_version_is_told_with_what_there_is(
    name: str, version: str, said: str, client: MlflowClient, uri: str, store: Store
) -> None:
    with pytest.raises(ModelNotFoundError, match=said):
        promote(name, version, uri, store)
    assert champion(client) is None


def test_rollback_of_what_is_not_there_is_one_sentence(client: MlflowClient, uri: str, store: Store) -> None:
    with pytest.raises(ModelNotFoundError, match="no model is called 'other': the registered models are tests"):
        rollback("other", uri, store)
    with pytest.raises(UserError, match="tests has no champion"):
        rollback("tests", uri, store)
    for version in ("1", "2"):
        settle(client, "tests", version, saying(version, promoted=True))
    client.delete_model_version("tests", "1")
    with pytest.raises(ModelNotFoundError, match="models:/tests/1 does not exist"):
        rollback("tests", uri, store)
    assert champion(client) == "2"
    assert not promotion.is_taken_out(client, "tests", "2")


def test_looking_for_a_champion_makes_no_database(store: Store) -> None:
    with pytest.raises(ModelNotFoundError, match="no model is registered"):
        rollback("tests", tracking.tracking_uri(store.root, {}), store)
    assert not (store.root / "mlflow.db").exists()
