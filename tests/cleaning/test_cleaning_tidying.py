"""Front matter, page furniture and wrapped lines: what goes, and what looks alike and stays."""

import textwrap

import pytest

from minimind.cleaning.front_matter import without_front_matter
from minimind.cleaning.normalize import tidied

PROSE = textwrap.fill(
    "Die Einfuhr von Gegenständen, die ausschließlich für den Bedarf der Europäischen Schulen bestimmt sind, ist "
    "einfuhrumsatzsteuerfrei. Dies gilt nicht für die Einfuhr von Lebensmitteln und Tabakerzeugnissen, welche von den "
    "Schulen weiterveräußert werden. Wird ein Gegenstand, den die Europäischen Schulen erworben oder eingeführt haben, "
    "veräußert, so ist die Steuer nachzuentrichten, es sei denn, dass der Erwerber selbst zum Abzug berechtigt ist.",
    width=70,
)


def tidy(text, **switches):
    names = ("drop_front_matter", "drop_page_furniture", "reflow")
    return tidied(text, *(switches.get(name, not switches) for name in names))


def paragraphs(text):
    return text.replace("\n\n", "\f").replace("\n", " ").replace("\f", "\n\n")


# --- front matter ---


def test_yaml_front_matter_is_dropped():
    text = "---\nTitle: Gesetz über\n  die Schulen\nslug: schulg\ntags:\n- a\n\n---\n\n# Gesetz\n\nText."
    assert tidy(text, drop_front_matter=True) == "# Gesetz\n\nText."


def test_front_matter_is_gone_at_once_however_many_blocks_stand_on_each_other():
    """Block by block, with a copy of the text for each, megabytes of it would take hours."""
    fields = "Title: a\nAuthor: b\nStatus: c\nDate: d\n\n"
    blocks = "---\ntitle: a\n---\n", f"---\ntitle: a\n---\n\n{fields}", fields
    for block in blocks:
        assert without_front_matter(block * 500 + "Text.").strip() == "Text."
    below_title = "A law\n" + "---\ntitle: a\n---\n" * 500 + "Text."
    assert without_front_matter(below_title) == "A law\nText."


def test_title_above_its_front_matter_stays():
    text = "Gesetz\nüber die Schulen\n---\nTitle: in Karlsruhe\nslug: schulg\n---\n\nText."
    assert tidy(text, drop_front_matter=True) == "Gesetz\nüber die Schulen\n\nText."


def test_bibliographic_fields_are_dropped():
    text = "PEP: 1\nTitle: Purpose\nAuthor: A B <a@example.org>,\n        C D\nStatus: Active\n\nAbstract\n========"
    assert tidy(text, drop_front_matter=True) == "Abstract\n========"


def test_identifier_lines_are_dropped():
    text = "Migraine\nMigraine\nm00264\nadb46e47-e013-4a89-bf0e-00e3a3ab6218\nLearning Outcomes"
    assert tidy(text, drop_front_matter=True) == "Migraine\nMigraine\nLearning Outcomes"


@pytest.mark.parametrize(
    "text",
    [
        "---\n\nA rule above, no front matter.\n\n---\n\nText.",
        "---\n\nA rule above, then an example:\n\n---\ntitle: no front matter\n---\n\nText.",
        "--- Optional exception to the licence ---\n\nAs an exception:",
        "From: A\nTo: B\nSubject: The lease\nDate: 3 May 2001\n\nDear Sir",
        "# Gesetz\n\n---\nTitle: in the middle\n---\n\nText.",
        "The id adb46e47-e013-4a89-bf0e-00e3a3ab6218 is named.",
    ],
)
def test_what_only_looks_like_front_matter_stays(text):
    assert tidy(text, drop_front_matter=True) == text


# --- page furniture ---


def pages(count, number, header=None):
    """A text of pages with four clauses each, and its clauses alone."""
    body = [[" ".join([f"clause-{'abcdefgh'[page]}-{line}"] * 20) for line in "wxyz"] for page in range(count)]
    ends = [[number(page + 1)] + ([header] if header else []) for page in range(count)]
    lines = [line for clauses, end in zip(body, ends, strict=True) for line in clauses + end]
    return "\n\n".join(lines), [line for clauses in body for line in clauses]


def lines_of(text):
    return [line for line in text.split("\n") if line]


@pytest.mark.parametrize("form", ["{}", "- {} -", "-{}-", "Page {}", "Page {} of 5", "Seite {} von 5", "          {}"])
def test_page_numbers_are_dropped(form):
    text, clauses = pages(5, form.format)
    assert lines_of(tidy(text, drop_page_furniture=True)) == clauses


def test_running_header_goes_with_the_page_numbers():
    text, clauses = pages(5, str, "Source: ACME LTD., 10-K, 3/30/2020")
    assert lines_of(tidy(text, drop_page_furniture=True)) == clauses


def test_line_that_also_stands_elsewhere_is_no_header():
    text, _ = pages(5, str, "[Intentionally left blank]")
    text = text.replace("\n\nclause-b-x", "\n\n[Intentionally left blank]\n\nclause-b-x")
    text = text.replace("\n\nclause-c-x", "\n\n[Intentionally left blank]\n\nclause-c-x")
    assert tidy(text, drop_page_furniture=True).count("[Intentionally left blank]") == 7


@pytest.mark.parametrize(
    "text",
    [
        "One number\n\n3\n\nproves nothing. " + "word " * 100,
        "\n\n".join(f"{n}" for n in range(1, 9)),  # close together: a list
        "\n\n".join(f"{n}\nArticle {n} begins here. " + "word " * 100 for n in range(1, 9)),  # a numbered heading
        "\n\n".join(f"{n * 7}\n\n" + "word " * 100 for n in range(1, 9)),  # counts nothing
    ],
)
def test_numbers_that_are_no_page_numbers_stay(text):
    text = text.strip()
    assert tidy(text, drop_page_furniture=True) == text


def test_edges_of_pages_are_dropped_at_form_feeds():
    text = "\f".join(f"LEASE AGREEMENT\n\nwhat page {name} says\n\n{number}" for number, name in enumerate("abcd", 1))
    left = tidy(text, drop_page_furniture=True)
    assert lines_of(left) == [f"what page {name} says" for name in "abcd"]
    assert "\f" not in tidy(text, reflow=True)
    assert "LEASE" in tidy(text, reflow=True)


# --- wrapped lines ---


def test_wrapped_lines_are_joined():
    assert tidy(PROSE, reflow=True) == paragraphs(PROSE)


def test_wrapped_list_items_are_joined_and_stay_apart():
    items = (
        "1.  dies dem Schutz der öffentlichen Sicherheit und Ordnung oder vor\n"
        "    ernsthaften und schwerwiegenden Gefahren dient,\n"
        "2.  die Maßnahmen angemessen sind."
    )
    joined = items.replace("oder vor\n    ernst", "oder vor ernst")
    assert tidy(f"{PROSE}\n\n{items}", reflow=True) == f"{paragraphs(PROSE)}\n\n{joined}"


@pytest.mark.parametrize(
    "block",
    [
        "## Ein Abschnitt, dessen Überschrift so lang ist wie eine Zeile, und\nmehr",
        "| Spalte | eine Zeile einer Tabelle, die so lang ist wie andere | x |\n| Spalte | noch eine | y |",
        "    if condition and another_condition and yet_another_condition_x:\n    return",
        "```\nein_befehl --mit vielen Argumenten, die eine ganze Zeile füllen bis\nhier\n```",
        "Erster Artikel         Allgemeines           die erste Spalte\nArtikel 2              Besonderes",
        "Hier endet der Absatz.\nDer nächste beginnt.",
        "Er nennt das, was in den folgenden Nummern steht, und sonst nichts als:\n1. eines\n2. zwei",
        "Ein Abschnitt, der mit einer Reihe von Zeichen unterstrichen ist, ist\n=====================",
    ],
)
def test_structure_stays_as_it_is(block):
    assert tidy(f"{PROSE}\n\n{block}", reflow=True) == f"{paragraphs(PROSE)}\n\n{block}"


@pytest.mark.parametrize(
    "text",
    [
        "One line a paragraph, as long as it happens to be.\n" * 20,
        "\n".join(
            f"Regulation .{n:02}B amended effective December {n % 28 + 1}, 1997 (24:24 Md. R. 1669)" for n in range(20)
        ),
        "Short lines\nas in an address\n51 Franklin Street\nBoston\nMassachusetts\nUSA",
        "Three lines that are as long as any of a text that was wrapped, and of\nwhich nobody can"
        " say, for want of more of them, whether a fixed width\ncut them apart.",
    ],
)
def test_documents_that_are_not_wrapped_stay_as_they_are(text):
    assert tidy(text.strip(), reflow=True) == text.strip()


@pytest.mark.parametrize(
    ("above", "below", "elsewhere", "joined"),
    [
        ("Bundes-", "rat", "Der Bundesrat stimmt zu.", "Bundesrat"),
        ("Bundes-", "rat", "", "Bundes-\nrat"),
        ("third-", "party", "a third-party claim", "third-party"),
        ("Energie-", "und Wärme", "", "Energie- und Wärme"),
        ("EU-", "Richtlinie", "", "EU-Richtlinie"),
    ],
)
def test_broken_word_is_made_whole_only_where_the_document_says_how(above, below, elsewhere, joined):
    line = "Sie gilt auch für Angelegenheiten, soweit dafür zuständig ist"
    text = f"{PROSE}\n\n{line} {above}\n{below} nach dem Gesetz.\n\n{elsewhere}".strip()
    assert f"ist {joined} nach dem Gesetz." in tidy(text, reflow=True)
