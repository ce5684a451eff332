"""What is wrong with a corpus, from its audit: each trouble with its figures and what to do about it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from minimind.config import Config
from minimind.store import Manifest

DUPLICATES = ("exact_duplicate", "near_duplicate")
DUPLICATE_SHARE = 0.1  # of the text read, from which each of these is said
REMOVED_SHARE = 0.2  # of the text, or of the documents, that a step removed
SOURCE_SHARE = 0.8  # of the text kept
DOCUMENT_SHARE = 0.2  # of the training text
LANGUAGE_SHARE = 0.02  # of the documents kept
PERSONAL_SHARE = 0.01
LINE_SHARE = 0.1
LICENSE_SHARE = 0.5


class Finding(NamedTuple):
    name: str
    share: float  # of the documents or of the text that it concerns
    sentence: str
    remedy: str
    mendable: bool = True  # the corpus is worth more once it is mended


class Removal(NamedTuple):
    """Of the documents that a step of cleaning removed: `words` in the remedy is their commonest `reason`."""

    name: str
    went: str
    remedy: str
    mendable: bool = True


REMOVALS = {
    "empty": Removal(
        "much of it has no text",
        "have no text in them",
        "look at them: pages that were scanned need text recognition first, and what is no text is better left out",
    ),
    "quality": Removal(
        "much of it counts as junk",
        "broke a rule of quality",
        "look at the examples under {words}, below: if they are good text, loosen cleaning.quality.{reason} or take "
        "another preset of cleaning.quality",
    ),
    "language": Removal(
        "much of it is in another language",
        "are in another language than cleaning.language.expected",
        "if it shall be learned, name {reason} there, or set cleaning.language.others to keep; else nothing has to be "
        "done, it is left out",
        mendable=False,
    ),
    "split": Removal(
        "much of it is like text of both sides of the split",
        "are near-copies of training and of holdout documents",
        "nothing has to be done, they are left out; but text that is new counts, not more of the same",
        mendable=False,
    ),
    "decontamination": Removal(
        "much of it stands in what the model is measured on",
        "share 13-grams with the holdout or an evaluation file",
        "nothing has to be done if they are copies, they are left out; if they only quote the same, raise "
        "cleaning.decontamination.max_overlap",
        mendable=False,
    ),
}


def findings(config: Config, corpus: Manifest, cleaning: Manifest, largest: Mapping[str, Any] | None) -> list[Finding]:
    """Those that matter, what costs most text first; what costs none (personal data, licences) last.

    `config` is what a run would go by; `largest` the largest training document with its share, where it is known.
    """
    costly = [
        found
        for found in (
            losses(config, corpus, cleaning), duplicates(cleaning), *removals(cleaning), one_source(cleaning),
            one_document(largest), languages(cleaning), boilerplate(cleaning),
        )
        if found
    ]  # fmt: skip
    costly.sort(key=lambda found: -found.share)
    return costly + [found for found in (personal_data(cleaning), licenses(cleaning)) if found]


def losses(config: Config, corpus: Manifest, cleaning: Manifest) -> Finding | None:
    """A source that loses so much that a run would stop at it."""
    permitted = config.cleaning.max_removed_share
    worst = max(lost_shares(corpus, cleaning).items(), key=lambda item: item[1], default=("", 0.0))
    if worst[1] <= permitted:
        return None
    return Finding(
        "a source loses most of its documents",
        worst[1],
        f"{worst[0]} loses {worst[1]:.0%} of its documents, and cleaning.max_removed_share permits {permitted:.0%}: "
        "a run would stop there",
        "look at why documents went, below; loosen the rules that do not fit, or raise the share",
    )


def lost_shares(corpus: Manifest, cleaning: Manifest) -> dict[str, float]:
    """Source -> share of its documents that were removed."""
    read = {name: row["documents"] for name, row in corpus.details["sources"].items()}
    kept = {
        name: row["train_documents"] + row["holdout_documents"] for name, row in cleaning.details["sources"].items()
    }
    return {name: 1 - kept[name] / read[name] for name in kept if read.get(name)}


def duplicates(cleaning: Manifest) -> Finding | None:
    rows = {str(row["reason"]): row for row in cleaning.details["funnel"]}
    exact, near = (rows.get(reason, {"documents": 0, "bytes": 0}) for reason in DUPLICATES)
    share = (exact["bytes"] + near["bytes"]) / cleaning.counts["bytes_in"]
    if share < DUPLICATE_SHARE:
        return None
    return Finding(
        "much of it is there more than once",
        share,
        f"{exact['documents']:,} exact copies and {near['documents']:,} near-copies, {share:.0%} of the text, went",
        "nothing has to be done, they are left out; but text that is new counts, not more of the same",
        mendable=False,
    )


def removals(cleaning: Manifest) -> list[Finding]:
    """What a step removed, other than copies."""
    found = []
    for step, removal in REMOVALS.items():
        rows = [row for row in cleaning.details["funnel"] if row["step"] == step and row["documents"]]
        documents = sum(row["documents"] for row in rows)
        share = sum(row["bytes"] for row in rows) / cleaning.counts["bytes_in"]
        if max(share, documents / cleaning.counts["documents_in"]) < REMOVED_SHARE:
            continue
        most = max(rows, key=lambda row: int(row["bytes"]))
        said = {"reason": most["reason"], "words": str(most["reason"]).replace("_", " ")}
        mostly = f"; most for {said['words']} ({most['documents']:,})" if said["words"] != step else ""
        sentence = f"{documents:,} documents, {share:.0%} of the text, {removal.went}{mostly}"
        found.append(Finding(removal.name, share, sentence, removal.remedy.format(**said), removal.mendable))
    return found


def one_source(cleaning: Manifest) -> Finding | None:
    sources = {name: row["bytes"] for name, row in cleaning.details["sources"].items()}
    name = max(sources, key=lambda name: int(sources[name]))
    share = sources[name] / max(1, sum(sources.values()))
    if len(sources) < 2 or share < SOURCE_SHARE:
        return None
    return Finding(
        "one source has nearly all of the text",
        share,
        f"{name} has {share:.0%} of the text that is kept; the other sources will hardly be heard",
        "add text to the others, or give them more weight in shards.source_weights",
    )


def one_document(largest: Mapping[str, Any] | None) -> Finding | None:
    if largest is None or largest["share"] < DOCUMENT_SHARE:
        return None
    return Finding(
        "one document has much of the text",
        float(largest["share"]),
        f"{largest['document_id']} alone has {largest['share']:.0%} of the training text",
        "cut it into its parts, if it is a collection, so that each counts as a document of its own",
    )


def languages(cleaning: Manifest) -> Finding | None:
    rows = cleaning.details.get("languages") or []
    expected = cleaning.config["language"]["expected"]
    others = [row for row in rows if row["language"] not in expected and row["documents_kept"]]
    share = sum(row["documents_kept"] for row in others) / max(1, cleaning.counts["documents"])
    if not expected or share < LANGUAGE_SHARE:
        return None
    named = ", ".join(f"{row['language'] or 'unknown'} {row['documents_kept']:,}" for row in others[:3])
    return Finding(
        "some of it is in another language",
        share,
        f"{share:.0%} of the documents kept are not in {' or '.join(expected)} ({named})",
        "set cleaning.language.others to remove, or name the language in cleaning.language.expected",
    )


def boilerplate(cleaning: Manifest) -> Finding | None:
    rows = [row for row in cleaning.details.get("repeated_lines") or [] if not row["removed"]]
    share = max((row["documents"] for row in rows), default=0) / max(1, cleaning.counts["documents"])
    if share < LINE_SHARE:
        return None
    return Finding(
        "the same lines stand in many documents",
        min(share, 1.0),
        f"{len(rows):,} lines are shown below that stand in many documents, the commonest in {rows[0]['documents']:,}",
        "if they are notices or headers and no part of the texts, set cleaning.repeated_lines.action to remove",
    )


def personal_data(cleaning: Manifest) -> Finding | None:
    rows = [row for row in cleaning.details.get("personal_data") or [] if row["hits"]]
    share = max((row["documents"] for row in rows), default=0) / max(1, cleaning.counts["documents"])
    if share < PERSONAL_SHARE:
        return None
    named = ", ".join(f"{row['kind']} {row['hits']:,}" for row in sorted(rows, key=lambda row: -int(row["hits"])))
    return Finding(
        "it holds personal data",
        share,
        f"at least {share:.0%} of the documents kept hold some ({named}); names of people are not looked for",
        "it is replaced or noted as cleaning.personal_data says; check that you may train on such text at all",
        mendable=False,
    )


def licenses(cleaning: Manifest) -> Finding | None:
    rows = cleaning.details.get("licenses") or []
    without = sum(row["documents_kept"] for row in rows if row["license"] is None and row["licenses"] == 1)
    share = without / max(1, cleaning.counts["documents"])
    if share < LICENSE_SHARE:
        return None
    return Finding(
        "its licence is not known",
        share,
        f"{share:.0%} of the documents kept name no licence",
        "write it into the YAML, as license of the source; the model's card then says what it was trained on",
        mendable=False,
    )
