"""What all benchmarks keep their rows by."""

import json
from operator import itemgetter
from pathlib import Path

import pytest

from benchmarks.rows import Row, merge, read_rows, write_page

KEY = itemgetter("corpus", "seed")


def row_of(corpus: str, seed: int, score: float) -> Row:
    return {"corpus": corpus, "seed": seed, "score": score}


def test_row_takes_the_place_of_one_of_the_same_key(tmp_path: Path) -> None:
    results = tmp_path / "not-there-yet" / "results.json"
    for row in (row_of("Gesetze §", 1, 2.5), row_of("law", 1, 2.0), row_of("Gesetze §", 1, 1.5)):
        merge(results, row, KEY)
    assert read_rows(results) == [row_of("Gesetze §", 1, 1.5), row_of("law", 1, 2.0)]
    assert len(results.read_text().splitlines()) == 4  # a row a line, for curves are long and changes are looked at


def test_kill_while_rows_are_written_leaves_those_there_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "results.json"
    merge(results, row_of("law", 1, 2.0), KEY)
    write_text = Path.write_text

    def killed(path: Path, text: str) -> None:
        write_text(path, text[: len(text) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            merge(results, row_of("law", 2, 2.1), KEY)
    assert read_rows(results) == [row_of("law", 1, 2.0)]
    merge(results, row_of("law", 2, 2.1), KEY)
    assert [row["seed"] for row in read_rows(results)] == [1, 2]


def test_page_lies_beside_its_rows_and_is_not_made_of_none(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    with pytest.raises(SystemExit, match=r"results\.json has no rows; run the benchmark without --table first"):
        write_page(results, json.dumps)
    merge(results, row_of("law", 1, 2.0), KEY)
    assert write_page(results, json.dumps) == (tmp_path / "results.md").read_text() == json.dumps(read_rows(results))
