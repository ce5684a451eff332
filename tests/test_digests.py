"""What of its code a stage's fingerprint sees."""

from pathlib import Path

import pytest

from minimind import digests
from minimind.digests import code_digests
from minimind.store import STAGES


def test_fingerprint_ignores_comments_and_docstrings_and_sees_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "minimind"
    (library / "cleaning").mkdir(parents=True)
    (library / "__init__.py").write_text("")
    (library / "words.py").write_text("SIZE = 5\n")
    source = library / "cleaning" / "build.py"
    query = library / "cleaning" / "1_words.sql"
    monkeypatch.setattr(digests, "LIBRARY", library)

    def digest(code: str, sql: str = "select 1") -> dict[str, str]:
        source.write_text(code)
        query.write_text(sql)
        code_digests.cache_clear()
        return code_digests("cleaning")

    plain = digest("from minimind.words import SIZE\n\n\ndef f():\n    return SIZE\n")
    assert (
        digest('"""Doc."""\nfrom minimind.words import SIZE\n\ndef f():\n    """Doc."""\n    return SIZE  # why\n')
        == plain
    )
    assert digest("from minimind.words import SIZE\n\n\ndef f():\n    return SIZE + 1\n") != plain
    assert digest("from minimind.words import SIZE\n\n\ndef f():\n    return SIZE\n", "-- one row\nselect  1") == plain
    assert digest("from minimind.words import SIZE\n\n\ndef f():\n    return SIZE\n", "select 2") != plain
    (library / "words.py").write_text("SIZE = 6\n")
    assert digest("from minimind.words import SIZE\n\n\ndef f():\n    return SIZE\n") != plain
    code_digests.cache_clear()


def test_remembered_digests_are_those_of_the_files_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "minimind"
    (library / "cleaning").mkdir(parents=True)
    source = library / "cleaning" / "build.py"
    monkeypatch.setattr(digests, "LIBRARY", library)

    def digest(code: str) -> dict[str, str]:
        source.write_text(code)
        code_digests.cache_clear()
        return code_digests("cleaning")

    five, six = digest("SIZE = 5\n"), digest("SIZE = 6\n")
    [remembered] = library.glob("__pycache__/digests-*.json")
    assert five != six
    monkeypatch.setattr(digests, "_digest_of_tokens", lambda source, docstrings: pytest.fail("worked out again"))
    assert digest("SIZE = 6\n") == six
    monkeypatch.undo()
    monkeypatch.setattr(digests, "LIBRARY", library)
    for damaged in ("", "[1]", '{"minimind.cleaning.build": 1}'):
        remembered.write_text(damaged)
        assert digest("SIZE = 5\n") == five
    remembered.unlink()
    remembered.parent.rmdir()
    remembered.parent.write_text("no folder can be made here")
    assert digest("SIZE = 6\n") == six
    code_digests.cache_clear()


def test_sql_files_are_the_code_of_their_own_stage_alone() -> None:
    """Evaluation and registry import functions of cleaning, and run none of its queries."""
    code_digests.cache_clear()
    files = {stage: {name for name in code_digests(stage) if name.endswith(".sql")} for stage in STAGES}
    folder = digests.LIBRARY / "cleaning"
    assert files.pop("cleaning") == {f"cleaning/{path.relative_to(folder)}" for path in folder.rglob("*.sql")} != set()
    assert "minimind.cleaning.text_functions" in code_digests("evaluation")
    assert not any(files.values())
