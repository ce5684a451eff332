"""The gate: every rule of the YAML with what was measured, its limit and the verdict. It decides, and moves nothing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from minimind.config import RegistryConfig
from minimind.evaluation.compare import Difference, in_words
from minimind.evaluation.overlap import unchecked_in_words
from minimind.evaluation.seed_spread import Known

Outcome = Literal["first", "promoted", "kept_champion", "not_promoted", "already_champion"]
RuleVerdict = Literal["passed", "refused", "not measured"]
Unit = Literal["share", "number"]


@dataclass(frozen=True)
class Rule:
    """One row of the decision's table. A rule whose figure is missing does not hold."""

    rule: str  # what is measured, in words
    value: float | None  # None: not measured
    sign: Literal["at least", "above", "at most"]
    limit: float
    unit: Unit
    remark: str = ""

    @property
    def verdict(self) -> RuleVerdict:
        if self.value is None:
            return "not measured"
        holds = {
            "at least": self.value >= self.limit,
            "above": self.value > self.limit,
            "at most": self.value <= self.limit,
        }
        return "passed" if holds[self.sign] else "refused"

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"verdict": self.verdict}


@dataclass(frozen=True)
class Measured:
    """What is known of the new version, and of the champion beside it on the same documents."""

    version: str
    bits_per_byte: float
    figures: Mapping[str, float]  # of its evaluation
    taken_out: bool  # whether a person took this very version out of use
    champion: str | None  # None: there is none
    unreadable: str | None  # why the champion cannot be measured
    incomparable: str | None  # why no document is left on which the two can be compared
    documents: int  # of the new version's evaluation; `whole` has those that the champion was scored on, too
    whole: Difference | None  # None: no champion, or one that cannot be measured or compared
    sources: Mapping[str, Difference | None]  # of the new version; None: the two share no document of it
    champion_figures: Mapping[str, float]  # of the champion's own evaluation
    spread: Known
    unchecked_documents: int = 0  # of `whole`: those not held against the champion's training text, which is not known


@dataclass(frozen=True)
class Decision:
    """Of a version that is champion already, figures, rules and all reasons but the first are of when it was judged."""

    outcome: Outcome
    reasons: list[str]
    rules: list[dict[str, Any]]  # of Rule, with `verdict`
    champion: str | None  # the version that is champion afterwards
    previous_champion: str | None  # the version that was champion before, where it is another
    bits_per_byte: float  # on the documents of both, where the champion was measured
    champion_bits_per_byte: float | None  # of the champion before, on the same documents
    change: list[float | None] | None  # share of the champion's bits per byte; from, to: None if not known
    seed_spread: str  # in words
    documents: int  # of the evaluation
    compared_documents: int | None  # of these, those that the champion was not trained on and was measured on, too
    unchecked_documents: int = 0  # of those, what may stand in the champion's training text, which is not known

    @property
    def promoted(self) -> bool:
        return self.outcome in ("first", "promoted")


def decide(section: RegistryConfig, measured: Measured) -> Decision:
    """Promoted if all rules hold; a first version, or one whose champion is unreadable, has no rival to be held to."""
    if measured.champion == measured.version:
        return _decision("already_champion", [f"version {measured.version} is the champion already"], [], measured)
    rules = all_rules(section, measured)
    failed = [rule for rule in rules if rule.verdict != "passed"]
    reasons = [_about_champion(measured), *(_why(rule) for rule in failed)]
    if failed:
        return _decision("kept_champion" if measured.champion else "not_promoted", reasons, rules, measured)
    return _decision("promoted" if measured.champion else "first", reasons, rules, measured)


def all_rules(section: RegistryConfig, measured: Measured) -> list[Rule]:
    rules = [Rule("taken out of use by hand", float(measured.taken_out), "at most", 0, "number")]
    if measured.incomparable is not None:
        rules.append(Rule("documents compared with the champion", 0, "at least", 1, "number", measured.incomparable))
    if measured.whole is not None:
        rules += _rules_of_bits(section, measured.whole, measured.spread, measured.unchecked_documents)
        rules += [
            Rule(f"more bits per byte than the champion on {source}", one.change.value if one else None, "at most",
                 section.max_regression, "share", f"{one.documents if one else 'no'} documents of both")
            for source, one in measured.sources.items()
        ]  # fmt: skip
        rules += [_task_rule(name, most, measured) for name, most in section.required_tasks.items()]
    return rules + [
        Rule(figure_in_words(name), measured.figures.get(name), "at most", most, "number")
        for name, most in section.max_figures.items()
    ]


def _rules_of_bits(section: RegistryConfig, whole: Difference, spread: Known, unchecked: int) -> list[Rule]:
    """Of the interval, the end that speaks against the new version: noise makes both rules harder, never easier.

    `better`: it may not reach 0. `not_worse`: it may not pass `max_regression`, the margin of a test of non-inferiority
    (Piaggio et al. 2012, JAMA 308). Without the noise of the seeds neither is measured.
    """
    change, known = whole.change, whole.effect.known and whole.knows_seeds
    remark = f"{unchecked:,} documents not checked for leaks into the champion's training text" if unchecked else ""
    if section.promote_when == "better":
        surely = -change.high if known else None
        return [
            Rule("fewer bits per byte than the champion", -change.value, "at least", section.min_improvement, "share",
                 remark),
            Rule("of that, beyond the noise of documents and seeds", surely, "above", 0, "share", spread.said),
        ]  # fmt: skip
    at_worst, margin = change.high if known else None, section.max_regression
    return [
        Rule("more bits per byte than the champion", change.value, "at most", margin, "share", remark),
        Rule("the same, with the noise of documents and seeds against it", at_worst, "at most", margin, "share",
             spread.said),
    ]  # fmt: skip


def _task_rule(name: str, most: float, measured: Measured) -> Rule:
    mine, champions = measured.figures.get(name), measured.champion_figures.get(name)
    below = None if mine is None or champions is None else champions - mine
    said = ", ".join(
        f"{who} {'not measured' if value is None else format(value, '.4g')}"
        for who, value in (("this version", mine), ("champion", champions))
    )
    return Rule(f"{figure_in_words(name)} below the champion's", below, "at most", most, "number", said)


def figure_in_words(figure: str) -> str:
    """`memorisation/training_share` as `memorisation: training share`."""
    return figure.replace("/", ": ").replace("_", " ")


def _about_champion(measured: Measured) -> str:
    if measured.champion is None:
        return "there is no champion to hold it against"
    if measured.incomparable is not None:
        return f"the champion, version {measured.champion}, could not be compared: {measured.incomparable}"
    if measured.whole is None:
        return (
            f"the champion, version {measured.champion}, could not be measured and does not block: "
            f"{measured.unreadable}"
        )
    said = in_words(measured.whole, f"version {measured.version}", f"the champion, version {measured.champion},")
    if (left_out := measured.documents - measured.whole.documents) > 0:
        said += f"; {left_out:,} of {measured.documents:,} holdout documents stand in the champion's training text"
    if measured.unchecked_documents:
        said += f"; {unchecked_in_words(f'version {measured.champion}', measured.unchecked_documents)}"
    return said


def _why(rule: Rule) -> str:
    remark = f" ({rule.remark})" if rule.remark else ""
    if rule.value is None:
        return f"{rule.rule}: not measured, {rule.sign} {in_unit(rule.limit, rule.unit)} was asked for{remark}"
    measured, limit = in_unit(rule.value, rule.unit), in_unit(rule.limit, rule.unit)
    return f"{rule.rule}: {measured}, {rule.sign} {limit} was asked for{remark}"


def in_unit(value: float, unit: Unit | str) -> str:
    return f"{value:.2%}" if unit == "share" else f"{value:.4g}"


def _decision(outcome: Outcome, reasons: list[str], rules: list[Rule], measured: Measured) -> Decision:
    takes_over = outcome in ("first", "promoted")
    whole = measured.whole
    return Decision(
        outcome=outcome,
        reasons=reasons,
        rules=[rule.as_json() for rule in rules],
        champion=measured.version if takes_over else measured.champion,
        previous_champion=measured.champion if measured.champion != measured.version else None,
        bits_per_byte=whole.candidate if whole else measured.bits_per_byte,
        champion_bits_per_byte=whole.baseline if whole else None,
        change=whole.change.as_json() if whole else None,
        seed_spread=measured.spread.said,
        documents=measured.documents,
        compared_documents=whole.documents if whole else None,
        unchecked_documents=measured.unchecked_documents,
    )
