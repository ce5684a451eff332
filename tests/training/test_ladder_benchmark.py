"""The ladder on made-up shards, the fit on a law that is known, and the constants on the committed rows."""

import json
import sys
from pathlib import Path

import pytest
from small import make_documents, write_shard, write_token_bytes

from benchmarks.ladder import __main__ as ladder
from benchmarks.ladder import rungs
from benchmarks.ladder.fit import EXPONENT, fit, ladder_of, left_out_errors, rms
from benchmarks.rows import read_rows
from minimind.config import ModelSizes
from minimind.training.ladder import LADDER
from minimind.training.scaling import Law

SMALL = ModelSizes(hidden_size=16, layers=1, heads=2, kv_heads=1, head_size=8, intermediate_size=24)
KNOWN = Law(0.5, 40.0, 90.0, EXPONENT, EXPONENT)


def rows_of(law, error=0.0):
    return [
        {
            "parameters": parameters, "tokens": tokens, "unique_tokens": 10**9, "check": False,
            "bits_per_byte": law.bits_per_byte(parameters, tokens, 10**9) * (1 + (error if tokens > 5e5 else 0)),
        }
        for parameters in (400_000, 1_300_000, 2_500_000)
        for tokens in (400_000, 1_600_000)
    ]  # fmt: skip


def test_known_law_is_found_again():
    found = fit(rows_of(KNOWN), EXPONENT, EXPONENT)
    assert found.irreducible == pytest.approx(0.5, rel=1e-3)
    assert (found.parameter_term, found.token_term) == pytest.approx((40, 90), rel=1e-3)
    assert max(map(abs, left_out_errors(rows_of(KNOWN)))) < 1e-5


def test_error_that_no_term_explains_is_told():
    rows = rows_of(Law(0.0, 40.0, 90.0, EXPONENT, EXPONENT), error=-0.2)
    found = fit(rows, EXPONENT, EXPONENT)
    assert min(found.irreducible, found.parameter_term, found.token_term) >= 0
    assert rms(found, rows) > 0.01


def test_constants_are_those_of_the_committed_rows():
    assert ladder_of(read_rows(ladder.RESULTS)) == LADDER


def test_ladder_goes_on_where_it_stopped(tmp_path, monkeypatch):
    shards = tmp_path / "shards"
    shards.mkdir()
    write_shard(shards / "train-00000.arrow", make_documents(1, 40, 100))
    write_shard(shards / "holdout-00000.arrow", make_documents(2, 8, 60))
    write_token_bytes(shards / "token_bytes.arrow")
    monkeypatch.setitem(rungs.SIZES, "micro", SMALL)
    results = tmp_path / "ladder.json"

    def run(rungs):
        words = ["ladder", "--shards", str(shards), "--results", str(results), "--device", "cpu", "--rungs", rungs]
        monkeypatch.setattr(sys, "argv", words)
        ladder.main()
        return json.loads(results.read_text())["rows"]

    (first,) = run("micro:8192")
    assert (first["tokens"], first["steps"]) == (8192, 2)
    assert 0 < first["bits_per_byte"] < 20
    assert run("micro:8192")[0]["measured_at"] == first["measured_at"]
    results.write_text(results.read_text().replace(first["optimizer"], "as it was before"))
    (again,) = run("micro:8192")
    assert again["optimizer"] == first["optimizer"]
    assert "| shards | micro | 0.01M | 8,192 | 2 |" in Path(results.with_suffix(".md")).read_text()
    with pytest.raises(SystemExit, match="is no rung"):
        run("huge:1M")
