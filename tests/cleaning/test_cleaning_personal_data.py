"""Personal data from the raw document to the published text, and its precision on a hand-labelled sample."""

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import pytest
from cleaned import config
from similar_texts import fillers

from minimind.cleaning.personal_data import find
from minimind.errors import ConfigError
from minimind.store import Store

LABELS = Path(__file__).with_name("personal_data_labels.jsonl")
REPLACE_ALL = dict.fromkeys(["email", "phone", "iban", "card", "ip", "ssn"], "replace") | {"phone_region": "US"}


@pytest.fixture
def planted():
    texts = fillers(30)
    one, two, three = sorted(texts)[:3]
    texts[one] += "\nWrite to jane@example.com or 👩🏽‍⚖️ john@example.com, or call (202) 555-0143."
    texts[two] += "\nThe host 10.2.1.4 answers; Section 10.2.1.4 does not."
    texts[three] += "\nPay DE89 3704 0044 0532 0130 00 with 4111 1111 1111 1111; 123-45-6789."
    return texts, (one, two, three)


def test_replaced_data_is_gone_from_what_is_published_and_counted(clean, planted):
    texts, (one, two, three) = planted
    cleaned = clean(texts, config(personal_data=REPLACE_ALL))
    assert cleaned.kept[one].endswith("Write to <email> or 👩🏽‍⚖️ <email>, or call <phone>.")
    assert cleaned.kept[two].endswith("The host <ip> answers; Section 10.2.1.4 does not.")
    assert cleaned.kept[three].endswith("Pay <iban> with <card>; <ssn>.")
    assert all(cleaned.kept[key] == texts[key].strip("\n") for key in cleaned.kept if key not in (one, two, three))
    counted = [tuple(row.values()) for row in cleaned.manifest.details["personal_data"]]
    assert counted == [
        ("card", "replace", 1, 1),
        ("email", "replace", 2, 1),
        ("iban", "replace", 1, 1),
        ("ip", "replace", 1, 1),
        ("phone", "replace", 1, 1),
        ("ssn", "replace", 1, 1),
    ]
    counts, details = cleaned.manifest.counts, cleaned.manifest.details
    assert counts["bytes"] == sum(len(text.encode()) for text in cleaned.kept.values())
    assert counts["bytes_in"] - sum(row["bytes"] for row in details["funnel"]) == counts["bytes"]
    assert sum(source["bytes"] for source in details["sources"].values()) == counts["bytes"]


def test_flagged_data_stays_and_is_named_in_the_metadata(clean, planted):
    texts, (one, two, _) = planted
    section = config(personal_data={"email": "flag", "phone": "flag", "ip": "replace", "phone_region": "US"})
    cleaned = clean(texts, section)
    assert cleaned.kept[one] == texts[one].strip("\n")
    assert "<ip>" in cleaned.kept[two]
    metadata = {
        row["document_id"]: dict(row["metadata"]) for name in ("train", "holdout") for row in cleaned.rows(name)
    }
    assert metadata[one]["personal_data"] == "email 2, phone 1"
    assert all("personal_data" not in metadata[key] for key in metadata if key != one)
    counted = {row["kind"]: (row["action"], row["hits"]) for row in cleaned.manifest.details["personal_data"]}
    assert counted == {"email": ("flag", 2), "phone": ("flag", 1), "ip": ("replace", 1)}


def test_data_that_overlaps_with_what_is_only_flagged_is_replaced(clean):
    texts = fillers(20) | {"near/a": "Write to +1 202-555-0143@example.com today.\nOr call 202-555-0143 at any time."}
    section = config(personal_data={"email": "flag", "phone": "replace", "phone_region": "US"})
    assert clean(texts, section).kept["near/a"].count("<phone>") == 2


def test_kept_data_is_not_looked_for(clean, planted):
    texts, _ = planted
    cleaned = clean(texts, config())
    assert cleaned.kept == {key: text.strip("\n") for key, text in texts.items()}
    assert cleaned.manifest.details["personal_data"] == []


def test_one_thread_and_four_replace_alike(clean, planted, tmp_path):
    section = config(personal_data=REPLACE_ALL)
    one = clean(planted[0], section, threads=1)
    four = clean(planted[0], section, threads=4, store=Store(tmp_path / "other", "test"))
    assert one.digests == four.digests


def test_a_region_without_numbers_is_refused(clean):
    with pytest.raises(ConfigError, match="phone_region is XX, which is no country"):
        clean(fillers(20), config(personal_data={"phone": "replace", "phone_region": "XX"}))


@pytest.mark.skipif("MINIMIND_CORPORA" not in os.environ, reason="MINIMIND_CORPORA names no folder with the corpora")
def test_precision_on_the_labelled_sample():
    """At least 0.95 of the labelled hits that are still found are right; at least 0.95 of the right are still found."""
    labels = [json.loads(line) for line in LABELS.read_text().splitlines()]
    assert len(labels) >= 200
    found = Counter()
    for corpus in sorted({label["corpus"] for label in labels}):
        wanted = [label for label in labels if label["corpus"] == corpus]
        texts = corpus_texts(corpus, {label["document_id"] for label in wanted})
        hits = {key: set(find(text, "US")) for key, text in texts.items()}
        for label in wanted:
            still = (label["kind"], label["start_char"], label["end_char"]) in hits[label["document_id"]]
            found[label["kind"], label["right"], still] += 1
    for kind in sorted({kind for kind, _, _ in found}):
        right, wrong = found[kind, True, True], found[kind, False, True]
        print(f"{kind}: {right} right of {right + wrong}, {found[kind, True, False]} right ones not found any more")
        assert right / (right + wrong) >= 0.95
        assert right / (right + found[kind, True, False]) >= 0.95


def corpus_texts(corpus: str, ids: set[str]) -> dict[str, str]:
    texts = {}
    for path in sorted(Path(os.environ["MINIMIND_CORPORA"], corpus).glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                if row["id"] in ids:
                    texts[row["id"]] = row["text"]
    return texts
