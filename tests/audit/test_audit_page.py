"""The audit page, of a real cleaning and of counts that a real one may have."""

import html
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
from audited import HOSTILE, Domain

from minimind.config import load_config
from minimind.report.cleaning import cleaning_part
from minimind.report.page import render_audit, render_report
from minimind.store import Manifest


def page_of(domain: Domain) -> str:
    (path,) = (domain.root / "reports" / "laws").glob("*/cleaning.html")
    assert path.parent.name == domain.cleaning.fingerprint
    return path.read_text()


def test_clean_tells_the_funnel_and_where_its_page_is(domain: Domain) -> None:
    told = " ".join(domain.cleaned.split())
    for part in (
        "read",
        "- exact duplicate",
        "- quality: min words",
        "- near duplicate",
        "kept for training",
        "Sources",
        "cleaning.html",
    ):
        assert part in told
    assert all(len(line) <= 80 or "/" in line for line in domain.cleaned.splitlines())


def test_cleaning_again_reuses_both_stages_and_writes_the_same_page(domain: Domain) -> None:
    before = page_of(domain)
    code, out, _ = domain.run("clean", str(domain.config), "--json")
    result = json.loads(out)
    assert code == 0
    assert [stage["reused"] for stage in result["stages"].values()] == [True, True]
    assert result["counts"]["removed"] == domain.cleaning.counts["removed"]
    assert made_now(Path(result["report"]).read_text()) == before


def test_run_reuses_what_clean_has_built(domain: Domain) -> None:
    """Fingerprints are those of a run's stages; the run itself would start Prefect."""
    from minimind.cleaning.build import CleaningInputs
    from minimind.cleaning.build import build as build_cleaning
    from minimind.corpus.build import CorpusInputs
    from minimind.corpus.build import build as build_corpus

    config = load_config(domain.config)
    corpus = build_corpus(config.corpus, CorpusInputs(), domain.store)
    cleaning = build_cleaning(config.cleaning, CleaningInputs(corpus), domain.store)
    assert corpus.reused
    assert cleaning.reused


def test_page_shows_every_part_that_there_is(domain: Domain) -> None:
    page = page_of(domain)
    for part in (
        "From raw to clean", "Lengths", "Where it comes from", "Licences", "What resembles what", "Clusters",
        "Why documents went", "Before and after", "How it was made", "local/near/b", "quarrelsome",
    ):  # fmt: skip
        assert part in page, part
    assert "Languages" not in page or domain.cleaning.details.get("languages")
    assert "Personal data" not in page or domain.cleaning.details.get("personal_data")


def test_hostile_document_does_nothing_and_long_ones_are_cut(domain: Domain) -> None:
    page = page_of(domain)
    assert "<script" not in page
    assert html.escape("<script>") in page
    assert not set("\u202e\u202c\x1b") & set(page)
    assert html.escape("‹202E›") in page
    assert "x" * 2_000 not in page
    assert len(page.encode()) < 200_000
    assert HOSTILE not in page


def test_personal_data_is_counted_and_not_shown(domain: Domain) -> None:
    page = page_of(domain)
    assert "jane.doe" not in page
    assert "Too short. █████" in page
    assert "Personal data" in page


def test_page_of_ten_thousand_documents_of_every_kind_is_below_a_megabyte(domain: Domain, tmp_path: Path) -> None:
    cleaning = domain.cleaning
    many = {
        "licenses": [
            {
                "license": f"Licence {n} {HOSTILE}",
                "licenses": 1,
                "documents_in": n,
                "documents_kept": n,
                "bytes_kept": n,
            }
            for n in range(10_000)
        ],
        "sources": {f"source-{n}": {"train_documents": n, "holdout_documents": 1, "bytes": n} for n in range(10_000)},
    }
    page = rendered(domain, cleaning.model_copy(update={"details": cleaning.details | many}), tmp_path)
    assert len(page.encode()) < 1_000_000
    assert "<script" not in page


def test_what_was_left_out_or_read_in_another_way_is_told(domain: Domain, tmp_path: Path) -> None:
    corpus = domain.corpus
    sources = {
        "a": {"skipped": {"nothing in it": 2}, "repaired": {"decoded as windows-1252": 1}},
        "b": {"skipped": {"nothing in it": 3}},
    }
    unreadable = [
        {"path": f"laws/{n}.jsonl", "line": n, "problem": f"text is missing {HOSTILE} of jane.doe@example.org"}
        for n in range(30)
    ]
    odd = corpus.model_copy(
        update={
            "counts": corpus.counts | {"unreadable": 31},
            "details": {"sources": sources, "unreadable": unreadable},
        }
    )
    view = cleaning_part({"corpus": odd, "cleaning": domain.cleaning}, opens=True)
    assert view
    rows = [(row["name"], row["value"]) for row in view["oddities"]["bars"]["rows"]]
    assert rows == [("cannot be read", 31), ("nothing in it", 5), ("decoded as windows-1252", 1)]
    assert view["oddities"]["unreadable"][2]["where"] == "laws/2.jsonl, line 2"
    assert (len(view["oddities"]["unreadable"]), view["oddities"]["more"]) == (20, 11)
    render_audit(load_config(domain.config), {"corpus": odd, "cleaning": domain.cleaning}, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Left out, or read in another way" in page
    assert "And 11 more." in page
    assert "jane.doe" not in page
    assert HOSTILE not in page


def test_languages_repeated_lines_and_personal_data_are_drawn_as_they_were_counted(
    domain: Domain, tmp_path: Path
) -> None:
    cleaning = domain.cleaning
    counted = {
        "languages": [{"language": "de", "documents": 77, "documents_kept": 66, "bytes_kept": 5}],
        "repeated_lines": [{"text": f"Page 1 of 2 john@example.org {HOSTILE}", "documents": 4321, "removed": True}],
        "personal_data": [
            {"kind": "email", "action": "replace", "hits": 8765, "documents": 543},
            {"kind": "ssn", "action": "flag", "hits": 0, "documents": 0},
        ],
    }
    page = rendered(domain, cleaning.model_copy(update={"details": cleaning.details | counted}), tmp_path)
    for told in (
        "de",
        "of 77 read",
        "Page 1 of 2",
        "4,321",
        "email",
        "8,765",
        "replaced in 543 documents",
        "none found",
    ):
        assert told in page, told
    assert "<script" not in page
    assert "john@" not in page
    assert "\u202e" not in page


def test_part_without_its_counts_is_left_out(domain: Domain, tmp_path: Path) -> None:
    cleaning = domain.cleaning
    kept = {name: cleaning.details[name] for name in ("funnel", "sources", "lengths")}
    page = rendered(domain, cleaning.model_copy(update={"details": kept}), tmp_path)
    for part in ("Licences", "What resembles what", "Languages", "Repeated lines", "Personal data"):
        assert part not in page, part
    assert "From raw to clean" in page


def test_counts_of_the_cleaning_are_those_of_its_tables(domain: Domain) -> None:
    details, counts = domain.cleaning.details, domain.cleaning.counts
    assert sum(row["documents_in"] for row in details["licenses"]) == counts["documents_in"]
    assert sum(row["documents_kept"] for row in details["licenses"]) == counts["documents"]
    assert {row["license"]: row["documents_kept"] for row in details["licenses"]}["CC0-1.0"] == 40
    assert [(row["min_documents"], row["clusters"], row["documents"]) for row in details["clusters"]][-1] == (2, 2, 5)
    pairs = pq.read_table(domain.cleaning.file("pairs.parquet")).num_rows
    assert sum(row["pairs"] for row in details["similarities"]) == pairs > 0
    assert all(0.7 <= row["min_jaccard"] < row["max_jaccard"] <= 1 for row in details["similarities"])


def test_report_of_a_run_has_the_same_part_folded(domain: Domain, tmp_path: Path) -> None:
    stages = {"corpus": domain.corpus, "cleaning": domain.cleaning}
    render_report(load_config(domain.config), stages, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Why documents went" in page
    assert '<details class="group">' in page
    part = cleaning_part(stages, opens=False)
    assert part is not None
    assert part["examples"][0]["reason"] == "exact duplicate"


def test_clean_imports_neither_servers_nor_torch() -> None:
    heavy = ("torch", "prefect", "mlflow", "datasets", "transformers", "tokenizers")
    script = f"import sys, flows.clean, flows.documents; print([name for name in {heavy} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.strip() == "[]"


def made_now(page: str) -> str:
    return page.replace('<span class="reused">reused</span>', "built")


def rendered(domain: Domain, cleaning: Manifest, folder: Path) -> str:
    cleaning._path = domain.cleaning.path
    render_audit(load_config(domain.config), {"corpus": domain.corpus, "cleaning": cleaning}, folder / "page.html")
    return (folder / "page.html").read_text()
