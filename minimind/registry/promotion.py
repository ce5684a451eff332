"""Which version of a model is the champion. Aliases are moved here and nowhere else.

`champion` is the version in use, `challenger` the last one that was held against it and did not replace it. The alias
is the truth, and moving it is one request that MLflow carries out whole or not at all. Beside it the registered model
keeps a tag with the champions in their order, so that a move can be taken back; where the two differ, after a kill or a
change in MLflow's pages, the tag is put right at the next move.

Moves of one name exclude each other by a lock in the store (`champion-NAME`). Beside it a rollback writes down from
where it goes back, until it has ended: MLflow alone cannot tell a call that is repeated from a second step.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from minimind.durable import write_whole
from minimind.errors import UserError
from minimind.registry.gate import Decision
from minimind.registry.packaged_model import download, find_version, opened, refuse_unknown
from minimind.registry.tracking import MODEL_TAG, if_there, quick_requests
from minimind.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)
CHAMPION, CHALLENGER = "champion", "challenger"
CHAMPIONS_TAG = "minimind.champions"  # of the registered model: the versions in the order in which they became it
TAKEN_OUT_TAG = "minimind.taken_out"  # of a version that a person took out of use: no run promotes it again
DECISION_TAG = "minimind.decision_json"  # of a version: the whole of the last decision that a gate took on it
OUTCOME_TAG = "minimind.decision"  # of that, the word
RULES_TAG = "minimind.decision_rules"  # and the table
UNANNOUNCED_TAG = "minimind.unannounced_decision"  # of a version whose decision nobody has been told of yet
MAX_CHAMPIONS = 500  # remembered

Judge = Callable[[str | None], Decision]  # the champion's version, None if there is none


def settle(client: "MlflowClient", name: str, version: str, judge: Judge) -> Decision:
    """Has it judged whether `version` takes over, and moves the aliases; doing it again changes nothing.

    To be called with the lock of the name held.
    Where the champion was deleted, or its alias, the newest of those before it that is there is champion again first:
    else the gate would hold this version to nothing, and let any pass.
    Where somebody else moves the champion's alias while the champion is measured, it is judged anew. The version gets
    the decision's tags before the aliases move. Of one that is champion already, the decision is the one that it bears:
    whole, if a kill kept it from being announced, else as what is known of a champion.
    """
    while True:
        champion = champion_of(client, name) or _reinstate(client, name)
        decision = judge(champion)
        if champion_of(client, name) == champion:
            break
    if decision.outcome != "already_champion":
        _note_decision(client, name, version, decision)
    else:
        decision = _as_decided(client.get_model_version(name, version).tags, decision)
    if decision.champion == version:
        _make_champion(client, name, version)
    else:
        _set_alias(client, name, CHALLENGER, version)
    return decision


def _reinstate(client: "MlflowClient", name: str) -> str | None:
    """Gives the alias to the newest of the champions that is there and was not taken out of use; None without one."""
    for version in reversed(_champions(client, name, None)):
        found = if_there(partial(client.get_model_version, name, version))
        if found is not None and TAKEN_OUT_TAG not in found.tags:
            logger.warning("%s has lost its champion: version %s, the last that was one, is it again", name, version)
            client.set_registered_model_alias(name, CHAMPION, version)
            return version
    return None


def _note_decision(client: "MlflowClient", name: str, version: str, decision: Decision) -> None:
    """Puts the decision on the version; UNANNOUNCED_TAG first, so that a kill in between is known."""
    tags = {
        UNANNOUNCED_TAG: "true",
        DECISION_TAG: json.dumps(asdict(decision)),
        OUTCOME_TAG: decision.outcome,
        "minimind.gate": "passed" if decision.promoted else "refused",
        "minimind.decision_reasons": "; ".join(decision.reasons),
        RULES_TAG: json.dumps(decision.rules),
        "minimind.bits_per_byte": f"{decision.bits_per_byte:.6f}",
    }
    if decision.previous_champion:
        tags["minimind.measured_against_version"] = decision.previous_champion
    if decision.champion_bits_per_byte is not None:
        tags["minimind.champion_bits_per_byte"] = f"{decision.champion_bits_per_byte:.6f}"
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)


def _as_decided(tags: Mapping[str, str], already: Decision) -> Decision:
    """What the tags of a champion say of its own decision; `already` judges nothing and has no rules.

    Versions of earlier releases bear the table alone.
    """
    table = {"rules": json.loads(tags.get(RULES_TAG, "[]")), "reasons": []}
    decided = replace(already, **(json.loads(tags[DECISION_TAG]) if DECISION_TAG in tags else table))
    if UNANNOUNCED_TAG in tags and decided.promoted:
        return decided
    reasons = [*already.reasons, *decided.reasons]
    return replace(decided, outcome=already.outcome, champion=already.champion, reasons=reasons)


def promote(name: str, version: str, uri: str, store: Store) -> str | None:
    """Makes a version champion because a person says so; the champion before, if it was another one.

    No run makes that one champion again. Raises ModelNotFoundError if there is no such version or its files are not
    those that were registered, ServerError if MLflow does not answer; calling it again then completes what was begun.
    """
    with store.lock(f"champion-{name}"), quick_requests(), opened(uri, store.root) as client:
        number = usable_version(client, name, version, uri, store)
        return _promote(client, name, number)


def rollback(name: str, uri: str, store: Store) -> tuple[str, str]:
    """Makes the champion before this one champion again: (the version in use now, the one taken out of use).

    After a call that did not come to its end, the next one ends that and goes no further back. Raises UserError if
    there was none, ModelNotFoundError if it, or the name, is not there any more.
    """
    with store.lock(f"champion-{name}"), quick_requests(), opened(uri, store.root) as client:
        begun = store.root / "locks" / f"rollback-{name}"
        return _rollback(client, name, begun, lambda version: usable_version(client, name, version, uri, store))


def usable_version(client: "MlflowClient", name: str, version: str, uri: str, store: Store) -> str:
    """The version's number as MLflow writes it, once its files have been seen to be those that were registered."""
    found = find_version(client, f"models:/{name}/{version}")
    if MODEL_TAG in found.tags:  # else it is not one of ours
        download(client, found, uri, store.root)
    return str(found.version)


def _promote(client: "MlflowClient", name: str, version: str) -> str | None:
    before = champion_of(client, name)
    if before is not None and before != version:
        client.set_model_version_tag(name, before, TAKEN_OUT_TAG, "true")
    if is_taken_out(client, name, version):
        client.delete_model_version_tag(name, version, TAKEN_OUT_TAG)
    _make_champion(client, name, version)
    return before if before != version else None


def _rollback(client: "MlflowClient", name: str, begun: Path, check: Callable[[str], object]) -> tuple[str, str]:
    """`begun` is where the champions are written down, in their order, from which it goes one back; `check` raises
    where a version cannot be used."""
    refuse_unknown(client, name)
    champion = champion_of(client, name)
    if champion is None:
        raise UserError(f"{name} has no champion, so there is nothing to take back; `minimind promote` names one")
    champions = _champions(client, name, champion)
    if begun.exists() and (before := json.loads(begun.read_text()))[:-1] == champions:
        champions = before
    *earlier, taken_out = champions
    if not earlier:
        raise UserError(f"version {champion} of {name} has no earlier champion; `minimind promote` names another")
    check(earlier[-1])  # it may have been deleted
    write_whole(begun, json.dumps(champions))
    client.set_model_version_tag(name, taken_out, TAKEN_OUT_TAG, "true")
    if is_taken_out(client, name, earlier[-1]):
        client.delete_model_version_tag(name, earlier[-1], TAKEN_OUT_TAG)
    client.set_registered_model_alias(name, CHAMPION, earlier[-1])
    _remember(client, name, earlier)
    _drop_alias(client, name, CHALLENGER, earlier[-1])
    begun.unlink()
    return earlier[-1], taken_out


def _make_champion(client: "MlflowClient", name: str, version: str) -> None:
    """The tag first: if the alias does not follow, the tag is known to be ahead of it."""
    champion = champion_of(client, name)
    champions = _champions(client, name, champion)
    if champion != version:
        _remember(client, name, [*champions, version])
        client.set_registered_model_alias(name, CHAMPION, version)
    _drop_alias(client, name, CHALLENGER, version)


def _champions(client: "MlflowClient", name: str, champion: str | None) -> list[str]:
    """The champions in their order, the present one last: the tag, put right by the alias."""
    noted = json.loads(client.get_registered_model(name).tags.get(CHAMPIONS_TAG, "[]"))
    found = [version for version, _ in groupby(noted)]  # twice in a row: its alias was taken away in between
    if champion is None:
        return found
    while champion in found and found[-1] != champion:
        found.pop()
    return found if found and found[-1] == champion else [*found, champion]


def _remember(client: "MlflowClient", name: str, champions: list[str]) -> None:
    client.set_registered_model_tag(name, CHAMPIONS_TAG, json.dumps(champions[-MAX_CHAMPIONS:]))


def previous_champion(client: "MlflowClient", name: str) -> str | None:
    """The champion before the present one; None if there was none."""
    champion = champion_of(client, name)
    earlier = _champions(client, name, champion)[:-1] if champion else []
    return earlier[-1] if earlier else None


def champion_of(client: "MlflowClient", name: str) -> str | None:
    """The champion's version; None if there is none."""
    version = client.get_registered_model(name).aliases.get(CHAMPION)
    return None if version is None else str(version)


def is_taken_out(client: "MlflowClient", name: str, version: str) -> bool:
    return TAKEN_OUT_TAG in client.get_model_version(name, version).tags


def aliases_of(client: "MlflowClient", name: str, version: str) -> list[str]:
    """The aliases that a version has now. (A version that was searched for does not know its own.)"""
    aliases = client.get_registered_model(name).aliases
    return sorted(alias for alias, bearer in aliases.items() if str(bearer) == version)


def _set_alias(client: "MlflowClient", name: str, alias: str, version: str) -> None:
    if alias not in aliases_of(client, name, version):
        client.set_registered_model_alias(name, alias, version)


def _drop_alias(client: "MlflowClient", name: str, alias: str, version: str) -> None:
    if alias in aliases_of(client, name, version):
        client.delete_registered_model_alias(name, alias)
