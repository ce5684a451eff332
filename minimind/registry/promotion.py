"""Which version of a model is the champion. Aliases are moved here and nowhere else.

The rule: `champion` is the version in use, `challenger` the last one that was measured against it and did not replace
it. A name without a champion gets one; any other new version becomes challenger, is measured beside the champion on
one holdout, and takes its place only if it is better by the margin. A promoted version is no challenger any more.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"

Outcome = Literal["first", "promoted", "kept_champion", "already_champion"]
ScoreChampion = Callable[[str], float]  # version -> bits per byte on this run's holdout


class ChampionUnreadableError(Exception):
    """The champion cannot be measured; the message says why."""


@dataclass(frozen=True)
class Measure:
    """One row of the decision's table: what was measured of whom, what was allowed at most, and whether it held."""

    measure: str
    role: Literal["this version", "champion"]
    version: str
    value: float
    limit: float | None  # None: nothing to hold it against
    holds: bool | None


@dataclass(frozen=True)
class Decision:
    outcome: Outcome
    reasons: list[str]
    rows: list[Measure]
    champion: str  # the version that is champion afterwards
    previous_champion: str | None  # the version that was champion before


def promote(
    client: "MlflowClient",
    name: str,
    version: str,
    bits_per_byte: float,
    min_improvement: float,
    score_champion: ScoreChampion,
) -> Decision:
    """Decides about `version` and moves the aliases; doing it again changes nothing.

    To be called with the lock of the name held. Where somebody else moves the champion's alias while the champion is
    measured, it is decided anew.
    """
    while True:
        champion = champion_of(client, name)
        if champion is not None and champion != version:
            _set_alias(client, name, CHALLENGER, version)
        decision = decide(version, champion, bits_per_byte, min_improvement, score_champion)
        if champion_of(client, name) == champion:
            break
    _set_alias(client, name, CHAMPION, decision.champion)
    if decision.champion == version:
        _drop_alias(client, name, CHALLENGER, version)
    return decision


def decide(
    version: str, champion: str | None, bits_per_byte: float, min_improvement: float, score_champion: ScoreChampion
) -> Decision:
    """The decision in words and numbers; lower bits per byte are better."""
    measured = Measure("bits per byte", "this version", version, bits_per_byte, None, None)
    if champion is None:
        return Decision("first", ["no version of this name was champion"], [measured], version, None)
    if champion == version:
        return Decision("already_champion", [f"version {version} is the champion already"], [measured], version, None)
    try:
        champions = score_champion(champion)
        if not math.isfinite(champions):
            raise ChampionUnreadableError(f"it scores {champions} bits per byte")
    except ChampionUnreadableError as error:
        reason = f"the champion, version {champion}, could not be measured and does not block: {error}"
        return Decision("promoted", [reason], [measured], version, champion)
    limit = champions * (1 - min_improvement)
    better = bits_per_byte <= limit and bits_per_byte < champions
    rows = [
        Measure("bits per byte", "this version", version, bits_per_byte, limit, better),
        Measure("bits per byte", "champion", champion, champions, None, None),
    ]
    reason = _in_words(version, champion, bits_per_byte, champions, min_improvement)
    if better:
        return Decision("promoted", [reason], rows, version, champion)
    return Decision("kept_champion", [reason], rows, champion, champion)


def _in_words(version: str, champion: str, value: float, champions: float, min_improvement: float) -> str:
    change = (champions - value) / champions
    found = f"{abs(change):.2%} {'better' if change > 0 else 'worse'}" if change else "just as good"
    return (
        f"version {version} has {value:.4f} bits per byte on this run's holdout, the champion (version {champion}) "
        f"{champions:.4f}: {found}, and {min_improvement:.2%} better was asked for"
    )


def champion_of(client: "MlflowClient", name: str) -> str | None:
    """The champion's version; None if there is none."""
    version = client.get_registered_model(name).aliases.get(CHAMPION)
    return None if version is None else str(version)


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
