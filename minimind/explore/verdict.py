"""What to make of a corpus, in words and figures: what it supports, what more would bring, what to do first."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from minimind.config import Config, TrainingConfig
from minimind.explore.findings import Finding, duplicates, findings, losses, lost_shares, removals
from minimind.explore.fit import Forecast, Gain, Kind, Trial, forecast
from minimind.explore.support import Support, advised, supported
from minimind.store import Manifest
from minimind.training.ladder import LADDER

KINDS: tuple[Kind, ...] = ("training", "text", "both")
FACTORS = (2, 4)
MUCH = 0.01  # of bits per byte: less is nothing to speak of
CLEARLY = 1.5  # times as much: the two do not bring about the same
HOLDOUTS = 5  # at the least, in a corpus
BLOCKING_SHARE = 0.3  # of the text: what a finding concerns is mended before anything is trained
MORE_TEXT_SHARE = 0.03  # of bits per byte that twice the text would bring in the end, from which it is looked for first
WIDE = {"sequence_length": 1024, "batch_tokens": 262_144}  # of the training on a GPU
FIT_SEED = 1


@dataclass(frozen=True)
class Verdict:
    heading: str
    sentences: list[str]
    first: str  # what to do first
    findings: list[Finding]
    refusal: str | None = None  # why nothing was trained
    gains: list[dict[str, Any]] | None = None  # kind, factor, value, low, high (bits per byte saved), bits_per_byte
    supported: list[Support] | None = None
    advised: Support | None = None
    values: dict[str, Any] | None = None  # of the YAML to go on with, by its keys

    def as_json(self) -> dict[str, Any]:
        rows = {
            "findings": [found._asdict() for found in self.findings],
            "supported": [row._asdict() for row in self.supported or []],
            "advised": self.advised._asdict() if self.advised else None,
        }
        return asdict(self) | rows


def refused(config: Config, stages: Mapping[str, Manifest], refusal: str) -> Verdict:
    """Of a corpus that nothing could be trained on."""
    corpus, cleaning = stages["corpus"], stages["cleaning"]
    some_is_left = cleaning.counts["documents"] > 0
    return Verdict(
        heading="Too little text to train and to measure on" if some_is_left else "No text is left",
        sentences=[kept_in_words(cleaning, None), f"{refusal[:1].upper()}{refusal[1:]}."],
        first=first_of_refused(config, cleaning),
        findings=findings(config, corpus, cleaning, None),
        refusal=refusal,
        values=values_for_losses(config, corpus, cleaning) if some_is_left else None,
    )


def first_of_refused(config: Config, cleaning: Manifest) -> str:
    """More text, where all of it would not be enough; else what took most of it."""
    split, documents, size = config.cleaning.split, int(cleaning.counts["documents_in"]), cleaning.counts["bytes_in"]
    needed = HOLDOUTS * split.min_documents, HOLDOUTS * split.min_bytes
    if documents < needed[0] or size < needed[1]:
        return (
            f"First: add text. Even all of it, {documents:,} documents with {megabytes(size)}, would be too little: at "
            f"most a fifth is held back to measure on, so {needed[0]:,} documents with {megabytes(needed[1])} are "
            "needed."
        )
    costly = sorted(filter(None, [duplicates(cleaning), *removals(cleaning)]), key=lambda one: -one.share)
    if costly and costly[0].share >= BLOCKING_SHARE:
        return first_of(costly[0])
    return "First: add text. What cleaning removed would not have made enough of it."


def judged(config: Config, section: TrainingConfig, stages: Mapping[str, Manifest]) -> Verdict:
    """`config` is what a run would go by, `section` what was trained with; stages up to `explore`."""
    corpus, cleaning, explored = (stages[stage] for stage in ("corpus", "cleaning", "explore"))
    trials = [Trial(row["tokens"], row["unique_tokens"], row["bits_per_byte"]) for row in explored.details["trials"]]
    seen = forecast(trials, curve_points(explored), explored.counts["parameters"], FIT_SEED)
    rows = supported(
        section, trials[0], int(explored.counts["parameters"]), explored.counts["tokens_per_second"],
        int(explored.details["model"]["vocabulary_size"]),
    )  # fmt: skip
    chosen = advised(rows)
    later, by_ladder = seen.share_of_text(chosen.tokens), by_the_ladder(chosen, trials[0].unique_tokens)
    found = findings(config, corpus, cleaning, explored.details["largest_document"])
    return Verdict(
        heading=f"{megabytes(cleaning.counts['bytes'])} of unique text: preset {chosen.preset}, for {chosen.budget}",
        sentences=[
            kept_in_words(cleaning, trials[0].unique_tokens),
            support_in_words(chosen, trials[0], explored),
            f"{comparison_in_words(seen)}. {later_in_words(chosen, later, by_ladder)}.",
        ],
        first=first_in_words(found, chosen, later),
        findings=found,
        gains=[
            {"kind": kind, "factor": factor, **gain._asdict(), "bits_per_byte": trials[0].bits_per_byte - gain.value}
            for kind in KINDS
            for factor in FACTORS
            for gain in [seen.gain(kind, factor)]
        ],
        supported=rows,
        advised=chosen,
        values={
            "training.preset": chosen.preset,
            "training.budget": chosen.budget,
            **wide(config.training, chosen, explored),
            **values_for_losses(config, corpus, cleaning),
        },
    )


def curve_points(explored: Manifest) -> list[tuple[float, float]]:
    """Of the training's own curve, at the full learning rate, as the forecast wants them."""
    return [(row["tokens"], row["bits_per_byte"]) for row in explored.details["curve"] if row["full_rate"]]


def by_the_ladder(chosen: Support, unique_tokens: float) -> float:
    """What twice the text would save after the advised training, as a share, by the law of the project's own models."""
    law, size = LADDER.law, chosen.parameters
    now = law.bits_per_byte(size, chosen.tokens, unique_tokens)
    return 1 - law.bits_per_byte(size, chosen.tokens, 2 * unique_tokens) / now


def wide(training: TrainingConfig, chosen: Support, explored: Manifest) -> dict[str, Any]:
    """Longer sequences and larger batches, for a model that wants a GPU where there is one."""
    fits = explored.details["device"] == "cuda" and training.micro_batch_sequences == "auto"
    return {f"training.{key}": value for key, value in WIDE.items()} if fits and chosen.preset != "tiny" else {}


def values_for_losses(config: Config, corpus: Manifest, cleaning: Manifest) -> dict[str, Any]:
    """A run would stop at what a source loses; here it has been said."""
    if losses(config, corpus, cleaning) is None:
        return {}
    return {"cleaning.max_removed_share": min(1.0, round(max(lost_shares(corpus, cleaning).values()) + 0.05, 2))}


# --- in words ---------------------------------------------------------------------------------------------------------


def kept_in_words(cleaning: Manifest, unique_tokens: float | None) -> str:
    counts = cleaning.counts
    tokens = f", {unique_tokens / 1e6:,.2f}M tokens of them to train on" if unique_tokens else ""
    return (
        f"Of {counts['documents_in']:,} documents ({megabytes(counts['bytes_in'])}), {counts['documents']:,} "
        f"({megabytes(counts['bytes'])}) are left without copies and junk{tokens}."
    )


def support_in_words(chosen: Support, trial: Trial, explored: Manifest) -> str:
    times = chosen.tokens / trial.tokens
    reads = f"{chosen.epochs:,.1f} times" if chosen.epochs >= 1 else f"{chosen.epochs:.0%} of it, once"
    return (
        f"On this machine that supports {chosen.preset} ({chosen.parameters / 1e6:,.1f}M parameters), trained for "
        f"{hours(chosen.seconds)}, in which it reads the text {reads}. The trial of {hours(trial_seconds(explored))} "
        f"reached {trial.bits_per_byte:.2f} bits per byte; about {chosen.bits_per_byte:.1f} may be expected, which is "
        f"foreseen for {times:,.0f} times the tokens and so a guess."
    )


def trial_seconds(explored: Manifest) -> float:
    return float(explored.details["trials"][0]["seconds"])


def comparison_in_words(seen: Forecast) -> str:
    """Such as `more training would help more than more text: ...`, from where the trial stands.

    One is said to help more where the ranges lie apart.
    """
    training, text = seen.gain("training", 2), seen.gain("text", 2)
    said = f"twice the training would save {saved(training)} bits per byte, twice the text {saved(text)}"
    most = max(training.value, text.value)
    if most < MUCH * seen.start.bits_per_byte:
        which = "neither more training nor more text would help much"
    elif training.low > text.high:
        which = "more training would help more than more text"
    elif text.low > training.high:
        which = "more text would help more than more training"
    elif most > CLEARLY * min(training.value, text.value):
        which = "whether more training or more text would help more is not clear, for the ranges overlap"
    else:
        which = "more text and more training would help about equally"
    return f"From where the trial stands, {which}: {said}{unread(seen.start)}"


def unread(start: Trial) -> str:
    share = start.tokens / start.unique_tokens
    return f" (it has read {share:.0%} of what there is)" if share < 1 else ""


def saved(gain: Gain) -> str:
    return f"{gain.value:.2f} ({gain.low:.2f} to {gain.high:.2f})"


def later_in_words(chosen: Support, later: Gain, by_ladder: float) -> str:
    if chosen.epochs <= 1:
        return f"After {chosen.budget} there is still text that has not been read: more of it brings nothing by then"
    return (
        f"After {chosen.budget}, with the text read {chosen.epochs:,.1f} times, twice the text would save "
        f"{later.value:.0%} ({later.low:.0%} to {later.high:.0%}) by what the three trainings measured, "
        f"{by_ladder:.0%} by the project's own law for {chosen.preset}"
    )


def first_in_words(found: list[Finding], chosen: Support, later: Gain) -> str:
    blocking = [one for one in found if one.share >= BLOCKING_SHARE and one.mendable]
    if blocking:
        return first_of(blocking[0])
    if later.value >= MORE_TEXT_SHARE and chosen.used_up:
        return "First: look for more text of this kind; the machine has time for more than there is. Then train."
    return "First: train with the YAML below. What stands in the way is small."


def first_of(finding: Finding) -> str:
    return f"First: {finding.name}. {finding.remedy[:1].upper()}{finding.remedy[1:]}."


def megabytes(number: float) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 1e5 else f"{number / 1e3:,.1f} kB"


def hours(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:,.0f} minutes" if seconds < 5400 else f"{seconds / 3600:,.1f} hours"
