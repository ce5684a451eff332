"""Lines that stand in many documents: which count, which are cut, and from what."""

from cleaned import config
from similar_texts import fillers

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
