"""`minimind documents` over a cleaning whose fates are known."""

import json
import re
import shutil

import pytest
import yaml
from audited import Domain, prose

from minimind.audit.documents import Wanted, opened
from minimind.audit.samples import draw_changes, draw_examples


def test_near_duplicate_is_found_with_what_was_kept_and_how_they_differ(domain: Domain) -> None:
    code, out, _ = domain.documents("--removed", "near_duplicate", "--like", "quarrelsome")
    assert code == 0
    assert "local/near/b" in out
    assert "removed by near_duplicates: near_duplicate of local/near/a, Jaccard 0.9" in " ".join(out.split())
    assert "{+quarrelsome+}" in out
    assert "local/near/a" not in re.sub(r"of\s+local/near/a", "", out)


def test_steps_and_reasons_select_what_they_removed(domain: Domain) -> None:
    for said in ("exact_duplicate", "exact-duplicate", "exact duplicate"):  # as the ledger, a shell and a page have it
        assert {row["document_id"] for row in domain.listed("--removed", said)} == {"local/same/b"}
    assert {row["document_id"] for row in domain.listed("--removed", "quality")} >= {"local/short/a"}
    assert {row["reason"] for row in domain.listed("min_words")} == {"min_words"}
    assert all(row["step"] for row in domain.listed("--removed", "--limit", "100"))
    assert all(row["split"] for row in domain.listed("--kept", "--limit", "100"))
    everything = domain.listed("--limit", "1000")
    assert len(everything) == domain.cleaning.counts["documents_in"]


def test_words_are_found_in_any_case_and_the_phrase_comes_first(domain: Domain) -> None:
    found = domain.listed("--like", "AND the  same")
    assert [row["document_id"] for row in found[:2]] == ["local/same/a", "local/same/b"]
    assert domain.listed("--like", "the first OF them")[0]["document_id"] == "local/near/a"  # its title
    assert domain.listed("--like", "quarrelsome mountains") == []
    assert domain.listed("--like", "100% ' of_ % \\") == []


def test_one_document_shows_its_fate_its_cluster_and_what_cleaning_changed(domain: Domain) -> None:
    (row,) = domain.listed("--id", "local/near/b", "--text", "--raw")
    assert (row["step"], row["reason"], row["kept_document_id"]) == (
        "near_duplicates",
        "near_duplicate",
        "local/near/a",
    )
    assert row["partners"][0]["document_id"] == "local/near/a"
    assert row["partner_count"] == 2
    assert "quarrelsome" in row["text"]
    assert row["raw_text"].startswith(row["text"][:50])
    (row,) = domain.listed("--id", "local/same/b")
    assert row["jaccard"] is None
    assert row["difference_from_kept"] == []
    (row,) = domain.listed("--id", "local/odd/spaces")
    assert ["removed", "\u00a0"] in row["difference_from_raw"]
    out = domain.documents("--id", "local/odd/spaces", "--raw")[1]
    assert "Wide[-⍽-]" in out
    assert "raw text:" in out


def test_output_fits_eighty_columns_and_steers_no_terminal(domain: Domain) -> None:
    out = domain.documents("--limit", "100")[1] + domain.documents("--id", "local/odd/hostile")[1]
    full = domain.documents("--id", "local/odd/hostile", "--raw", "--text")[1]
    assert not set("\x1b\u202e\u202c") & set(full)
    assert "‹1B›[31mred" in full
    assert not set("\x1b\u202e\u202c") & set(out)
    assert "‹1B›[31mred" in out
    for line in out.splitlines():
        assert len(line) <= 80
        assert line == line.rstrip()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--removed", "near_duplicat"], "removed nothing by 'near_duplicat'"),
        (["--source", "nowhere"], "its sources are local"),
        (["--id", "near/b"], "local/near/b"),
        (["--kept", "--removed"], "exclude each other"),
        (["--id", "local/near/b", "--like", "x"], "--id names one document"),
    ],
)
def test_what_cannot_be_looked_up_is_said_in_a_sentence(domain: Domain, arguments: list[str], said: str) -> None:
    code, out, err = domain.documents(*arguments)
    assert code == 2
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_nothing_found_is_said_and_is_no_error(domain: Domain) -> None:
    code, out, err = domain.documents("--like", "zebra")
    assert (code, out) == (0, "")
    assert "none of the 51 documents" in err


def test_domain_that_was_never_cleaned_is_told_how(domain: Domain, tmp_path) -> None:
    empty = Domain(domain.config, tmp_path / "store", "")
    code, _, err = empty.documents("--removed")
    assert code == 2
    assert "has not been cleaned" in err
    assert "clean " in err


def test_lookup_is_of_the_cleaning_last_used_and_says_where_the_config_has_another(domain: Domain, tmp_path) -> None:
    """Built anew or found again: the clock of a build that is found again stands."""
    shutil.copytree(domain.root, tmp_path / "store")
    rows = [json.dumps({"id": str(number), "text": " ".join(prose(number))}) + "\n" for number in range(20)]
    (tmp_path / "trial.jsonl").write_text("".join(rows))
    settings = yaml.safe_load(domain.config.read_text())
    source = {"kind": "local_files", "name": "trial", "paths": [str(tmp_path / "trial.jsonl")], "license": None}
    settings["corpus"]["sources"] = [source]
    (tmp_path / "trial.yaml").write_text(yaml.safe_dump(settings))
    used = Domain(domain.config, tmp_path / "store", "")
    assert used.run("clean", str(tmp_path / "trial.yaml"))[0] == 0
    _, out, err = used.documents("--kept", "--json")
    assert {row["source"] for row in json.loads(out)["documents"]} == {"trial"}
    assert f"note: {domain.config} has other settings or sources than this cleaning of 20" in err
    assert "Nothing new" in used.run("clean", str(domain.config))[1]
    _, out, err = used.documents("--kept", "--json")
    assert json.loads(out)["cleaning"] == domain.cleaning.fingerprint
    assert "note" not in err


def test_lookup_does_without_the_raw_corpus(domain: Domain, tmp_path) -> None:
    root = tmp_path / "store"
    shutil.copytree(domain.root / "cleaning", root / "cleaning")
    pruned = Domain(domain.config, root, "")
    assert pruned.listed("--id", "local/near/b")[0]["difference_from_raw"] == []
    assert "not in the store any more" in pruned.documents("--id", "local/near/b", "--raw")[2]


def test_the_same_cleaning_draws_the_same_documents(domain: Domain) -> None:
    drawn = []
    for threads in (1, 4):
        with opened(domain.cleaning, domain.corpus) as audit:
            audit.connection.execute(f"set threads = {threads}")
            drawn.append((draw_examples(audit), draw_changes(audit)))
    assert drawn[0] == drawn[1]
    examples, changes = drawn[0]
    assert {one.reason for one in examples} == {
        row["reason"] for row in domain.cleaning.details["funnel"] if row["documents"]
    }
    assert changes is not None
    assert changes.drawn == domain.cleaning.counts["documents"]
    assert changes.drawn > changes.changed > changes.reworded > 0
    assert changes.shown[changes.reworded].document_id == "local/odd/spaces"  # changed in blank space alone
    assert {change.document_id for change in changes.shown} >= {"local/odd/spaces", "local/odd/hostile"}


def test_search_says_how_many_there_are_beyond_the_limit(domain: Domain) -> None:
    with opened(domain.cleaning, None) as audit:
        found, matches = audit.search(Wanted(like="court"), limit=3)
    assert (len(found), matches > 3) == (3, True)
    assert f"3 of {matches} matches" in domain.documents("--like", "court", "--limit", "3")[2]
