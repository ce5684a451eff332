"""Lines that stand in many documents: which count, which are cut, and from what."""

import pytest
from cleaned import config
from similar_texts import fillers

from minimind.errors import CorpusTooSmallError

NOTICE = "This notice stands below every document."


def noticed(documents, copies, line=NOTICE):
    """Documents, of which the first few bear a line at their end."""
    return {
        key: text + f"\n\n{line}" * (place < copies) for place, (key, text) in enumerate(fillers(documents).items())
    }


def removing(**keys):
    return config(repeated_lines={"action": "remove"} | keys)


def test_line_of_enough_documents_is_cut(clean):
    cleaned = clean(noticed(12, 3), removing())
    assert cleaned.kept == fillers(12)
    assert cleaned.manifest.details["repeated_lines"] == [{"text": NOTICE, "documents": 3, "removed": True}]
    [row] = [row for row in cleaned.manifest.details["funnel"] if row["step"] == "repeated_lines"]
    assert row["bytes"] == 3 * len(f"\n\n{NOTICE}")
    assert cleaned.manifest.counts["bytes"] == sum(len(text.encode()) for text in cleaned.kept.values())


def test_line_of_too_few_documents_stays(clean):
    texts = noticed(12, 2)
    cleaned = clean(texts, removing())
    assert cleaned.kept == texts
    assert cleaned.manifest.details["repeated_lines"] == []


def test_line_counts_once_for_a_document(clean):
    texts = noticed(12, 2, f"{NOTICE}\n{NOTICE}")
    assert clean(texts, removing()).kept == texts


def test_short_line_stays(clean):
    texts = noticed(12, 12, "Finally")
    assert clean(texts, removing()).kept == texts


def test_kept_lines_are_shown(clean):
    texts = noticed(12, 4)
    cleaned = clean(texts)
    assert cleaned.kept == texts
    assert cleaned.manifest.details["repeated_lines"] == [{"text": NOTICE, "documents": 4, "removed": False}]


def test_document_that_would_lose_too_much_keeps_its_lines(clean):
    texts = noticed(12, 4)
    assert clean(texts, removing(max_cut_share=0.001)).kept == texts


def test_removed_documents_do_not_count(clean):
    texts = noticed(12, 2)
    first = next(iter(texts))
    texts["zz/copy"] = texts[first]
    assert clean(texts, removing()).manifest.details["repeated_lines"] == []


def test_ignored_lines_are_not_counted(clean):
    texts = noticed(12, 4)
    cleaned = clean(texts, config(repeated_lines={"action": "ignore"}))
    assert cleaned.kept == texts
    assert cleaned.manifest.details["repeated_lines"] == []


def test_personal_data_in_a_line_that_is_cut_counts_nowhere(clean):
    texts = noticed(12, 3, "Write to the office: jane@example.com")
    first, *_, last = texts
    texts[first] += "\n\nAsk john@example.com or call."
    texts[last] += "\n\nAsk joan@example.com or call."
    cleaned = clean(texts, config(repeated_lines={"action": "remove"}, personal_data={"email": "replace"}))
    assert cleaned.kept[first].endswith("\n\nAsk <email> or call.")
    [row] = cleaned.manifest.details["personal_data"]
    assert (row["hits"], row["documents"]) == (2, 2)
    published = sum(len(text.encode()) for text in cleaned.kept.values())
    counts, details = cleaned.manifest.counts, cleaned.manifest.details
    assert counts["bytes"] == counts["train_bytes"] + counts["holdout_bytes"] == published
    assert counts["bytes_in"] - sum(row["bytes"] for row in details["funnel"]) == published
    assert sum(row["bytes_kept"] for row in details["licenses"]) == published


def test_flags_name_no_personal_data_of_a_line_that_is_cut(clean):
    texts = noticed(12, 3, "Write to the office: jane@example.com")
    cleaned = clean(texts, config(repeated_lines={"action": "remove"}, personal_data={"email": "flag"}))
    rows = cleaned.rows("train") + cleaned.rows("holdout")
    assert not any("personal_data" in dict(row["metadata"]) for row in rows)


def test_holdout_has_its_least_bytes_after_lines_are_cut(clean):
    notice = "This notice stands below every document. " * 400
    texts = noticed(40, 40, notice.strip())
    remove = {"action": "remove", "max_cut_share": 1}
    cleaned = clean(texts, config(repeated_lines=remove, holdout_share=0.01, min_bytes=2_000))
    assert 2_000 <= cleaned.manifest.counts["holdout_bytes"] < 4_000
    with pytest.raises(CorpusTooSmallError, match="the holdout, at most a fifth"):
        clean(texts, config(repeated_lines=remove, holdout_share=0.01, min_bytes=30_000))
