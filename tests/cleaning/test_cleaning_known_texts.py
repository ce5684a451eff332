"""What is remembered of texts saves reading them again, and never shows in a result."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from cleaned import config
from similar_texts import fillers, formula_texts, random_words, varied

from minimind import store as store_module
from minimind.cleaning import build as build_module
from minimind.cleaning import database, parts
from minimind.cleaning.checks import check_section
from minimind.cleaning.parts import Resources
from minimind.errors import MemoryLimitError, UserError
from minimind.parts import InTurn
from minimind.store import Store


def similar_pair():
    """Two texts with J of about 0.85."""
    first = random_words(1_000, 200)
    return first, varied(first.split(), seed=1, changes=3)


def counted_texts(monkeypatch):
    """A list that grows by the number of texts of every part that is read."""
    read = []
    make = parts.seal

    def seal(building, target):
        read.append(parts_rows(building))
        make(building, target)

    monkeypatch.setattr(parts, "seal", seal)
    return read


def parts_rows(folder):
    return pq.read_metadata(folder / "texts.parquet").num_rows


def test_only_new_texts_are_read(clean, monkeypatch):
    read = counted_texts(monkeypatch)
    clean(fillers(30))
    clean(fillers(33))
    assert read == [30, 3]


def test_same_raw_text_is_read_once(clean, monkeypatch):
    read = counted_texts(monkeypatch)
    texts = fillers(20)
    clean(texts | {f"copies/{number}": next(iter(texts.values())) for number in range(50)})
    assert read == [20]


@pytest.fixture
def formulas(tmp_path):
    """Texts with a formula that is asked about, and a cleaning that looks for it."""
    formula, texts = formula_texts()
    (tmp_path / "asked.txt").write_text(formula)
    return texts, config(max_overlap=0.5, evaluation_files=[str(tmp_path / "asked.txt")])


def test_known_texts_change_no_byte(clean, store, tmp_path, formulas):
    first, second = similar_pair()
    texts, section = formulas
    later = fillers(40) | texts | {"near/a": first, "near/b": second}
    clean(fillers(25) | {"near/a": first, "law/1": texts["law/1"]}, section)
    grown = clean(later, section)
    assert grown.reasons["law/short"] == "overlap_with_evaluation"
    ledger = store.root / "ledgers"
    fresh = Store(tmp_path / "fresh", store.domain)
    shutil.copytree(ledger, fresh.root / "ledgers")
    records = (fresh.root / "ledgers" / f"{store.domain}.jsonl").read_text().splitlines()
    (fresh.root / "ledgers" / f"{store.domain}.jsonl").write_text(records[0] + "\n")
    assert clean(later, section, store=fresh).digests == grown.digests


def test_damaged_part_is_read_anew(clean, store, monkeypatch, caplog):
    before = clean(fillers(20)).digests
    [part] = (store.root / "texts" / store.domain).glob("*/part-*")
    file = part / "signatures.parquet"
    file.write_bytes(file.read_bytes()[:-9] + bytes(9))
    shutil.rmtree(store.root / "cleaning")
    read = counted_texts(monkeypatch)
    assert clean(fillers(20)).digests == before
    assert read == [20]
    assert "damaged" in caplog.text


def test_other_values_of_the_part_pass_read_all_texts_anew_and_leave_nothing_behind(clean, store, monkeypatch):
    clean(fillers(20))
    read = counted_texts(monkeypatch)
    clean(fillers(20), config(max_jaccard=0.9))
    assert read == []
    clean(fillers(20), config(shingle_words=3))
    assert read == [20]
    assert len(list((store.root / "texts" / store.domain).iterdir())) == 1


@pytest.mark.parametrize("library", ["numpy", "python"])
def test_another_version_of_what_shapes_texts_reads_all_anew(clean, monkeypatch, library):
    read = counted_texts(monkeypatch)
    clean(fillers(20))
    version = store_module.version_of
    monkeypatch.setattr(store_module, "version_of", lambda name: "0.1" if name == library else version(name))
    assert not clean(fillers(20)).manifest.reused
    assert read == [20, 20]


@pytest.mark.slow
def test_same_bytes_for_any_partition_size(clean, store, tmp_path, formulas):
    first, second = similar_pair()
    more, section = formulas
    texts = fillers(30) | more | {"near/a": first, "near/b": second, "copy/a": first}
    whole = clean(texts, section)
    assert whole.reasons["law/short"] == "overlap_with_evaluation"
    for partition_bytes in (1, 500, 5_000):
        cut = Store(tmp_path / str(partition_bytes), store.domain)
        resources = Resources(threads=1, memory_bytes=200_000_000, partition_bytes=partition_bytes)
        assert clean(texts, section, store=cut, resources=resources).digests == whole.digests
        assert len(list((cut.root / "texts").glob("*/*/part-*"))) > 1


@pytest.mark.parametrize("run_bytes", [50, 5_000])
def test_same_bytes_where_not_all_texts_fit_into_memory(clean, store, tmp_path, monkeypatch, run_bytes):
    first, second = similar_pair()
    notice = "This notice stands in every letter of the firm."
    letters = {f"letter/{n}": f"{random_words(n, 40)}\n{notice}\nwrite to clerk{n}@example.org" for n in range(8)}
    texts = fillers(20) | letters | {"near/a": first, "near/b": second, "copy/a": first}
    section = config(personal_data={"email": "replace"}, repeated_lines={"action": "remove"})
    monkeypatch.setattr(database, "PUBLISHED_BYTES", 1_500)
    whole = clean(texts, section)
    kept = whole.kept.values()
    assert any("<email>" in text for text in kept)
    assert not any(notice in text for text in kept)
    assert whole.reasons
    monkeypatch.setattr(build_module, "RUNS_IN_MEMORY", 200_000_000 // run_bytes)
    little = Resources(threads=1, memory_bytes=200_000_000)
    again = clean(texts, section, store=Store(tmp_path / "little", store.domain), resources=little)
    assert again.digests == whole.digests
    assert max(group_sizes(again.manifest.file("train.parquet"))) <= 1_500
    assert len(group_sizes(again.manifest.file("train.parquet"))) > 4


def group_sizes(path: Path) -> list[int]:
    """Bytes of text in each row group."""
    file = pq.ParquetFile(path)
    groups = (file.read_row_group(number, ["text"])["text"] for number in range(file.num_row_groups))
    return [sum(len(text.encode()) for text in texts.to_pylist()) for texts in groups]


@pytest.mark.parametrize("damage", ["changed", "missing", "digests", "stray"])
def test_damage_to_one_part_of_several_costs_that_part(clean, store, damage):
    resources = Resources(threads=1, partition_bytes=3_000)
    before = clean(fillers(30), resources=resources).digests
    parts = sorted((store.root / "texts" / store.domain).glob("*/part-*"))
    assert len(parts) > 2
    match damage:
        case "changed":
            (parts[0] / "texts.parquet").write_bytes(b"no Parquet")
        case "missing":
            shutil.rmtree(parts[0])
        case "digests":
            (parts[1] / "digests.json").write_text("[]")
        case _:
            (parts[0].parent / "pairs-00009").write_text("a file")
            (parts[0].parent.parent / ".DS_Store").write_text("a file")
    shutil.rmtree(store.root / "cleaning")
    assert clean(fillers(30), resources=resources).digests == before
    shutil.rmtree(store.root / "cleaning")
    assert clean(fillers(30), resources=resources).digests == before


class TwoAtOnce(InTurn):
    at_once = 2


@pytest.mark.parametrize("given", ["resources", "environment"])
def test_parts_of_one_machine_share_what_it_may_use(clean, monkeypatch, given):
    opened = []
    connect = parts.connect

    def recorded(working, threads, memory_bytes):
        opened.append((threads, memory_bytes))
        return connect(working, threads, memory_bytes)

    monkeypatch.setattr(parts, "connect", recorded)
    monkeypatch.setenv("MINIMIND_MEMORY", "1.5 GB")
    memory_bytes = 1_000_000_000 if given == "resources" else None
    clean(fillers(20), resources=Resources(4, memory_bytes, partition_bytes=3_000, workers=TwoAtOnce()))
    assert len(opened) > 1
    assert set(opened) == {(2, (memory_bytes or 1_500_000_000) // 2)}


class TwoElsewhere(TwoAtOnce):
    elsewhere = True


@pytest.mark.parametrize(
    ("workers", "surplus", "partitions"), [(TwoAtOnce(), 0, 1), (TwoElsewhere(), 0, 2), (TwoElsewhere(), 1, 1)]
)
def test_corpus_of_one_partition_is_cut_where_parts_have_processes_of_their_own(
    clean, store, tmp_path, monkeypatch, workers, surplus, partitions
):
    whole = clean(fillers(20))
    size = sum(len(text.encode()) for text in fillers(20).values())
    monkeypatch.setattr(build_module, "LEAST_PARTITION_BYTES", size // 2 + surplus)
    cut = Store(tmp_path / "cut", store.domain)
    assert clean(fillers(20), store=cut, resources=Resources(workers=workers)).digests == whole.digests
    assert len(list((cut.root / "texts").glob("*/*/part-*"))) == partitions


@pytest.mark.parametrize("asked", ["lots", "4", "-4GB", "499MB", "1e9GB"])
def test_amount_of_memory_that_is_none_is_refused_before_anything_is_read(monkeypatch, asked):
    monkeypatch.setenv("MINIMIND_MEMORY", asked)
    with pytest.raises(UserError, match=rf"MINIMIND_MEMORY is '{asked}'; write 500MB or more"):
        check_section(config())


def test_memory_that_does_not_do_is_said(tmp_path):
    with (
        pytest.raises(MemoryLimitError, match=r"more memory than the 30 MB .*raise MINIMIND_MEMORY"),
        database.connect(tmp_path, 1, 30_000_000) as connection,
    ):
        connection.execute("select list(range) from range(100_000_000)")
