import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minimind.config import ShardsConfig
from minimind.shards.build import ShardsInputs, build
from minimind.shards.reader import ShardReader
from minimind.shards.replay import training_documents
from minimind.tokenizer.encoding import read_rows

TOTAL = 83  # training documents of `cleaning`


def write_ledger(path, train, holdout=()):
    rows = dict.fromkeys(train, "train") | dict.fromkeys(holdout, "holdout")
    pq.write_table(pa.table({"document_id": list(rows), "split": list(rows.values())}), path)
    return path


@pytest.fixture
def documents(cleaning):
    return [document_id for document_id, _, _, _ in read_rows(cleaning.file("train.parquet"))]


@pytest.fixture
def replayed(cleaning, tokenizer_manifest, store, tmp_path):
    def make(share, old, **weights):
        section = ShardsConfig(tokens_per_shard=4_000, source_weights=weights, old_documents_share=share)
        ledger = None if old is None else write_ledger(tmp_path / "ledger.parquet", old)
        return build(section, ShardsInputs(cleaning, tokenizer_manifest, ledger), store)

    return make


def shares(manifest, old):
    """Of old documents, in the bytes of an epoch; and how often each document occurs."""
    reader = ShardReader(manifest.path, "train")
    epoch = reader.text_bytes * reader.occurrences
    times = dict(zip(reader.document_ids, reader.occurrences.tolist(), strict=True))
    known = [document_id in old for document_id in reader.document_ids]
    return epoch[known].sum() / epoch.sum(), times


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_old_documents_have_their_share_of_an_epoch_and_new_ones_stand_once(replayed, documents, cleaning, share):
    old = set(documents[::2])
    found, times = shares(replayed(share, old), old)
    largest = max(size for document_id, _, size, _ in read_rows(cleaning.file("train.parquet")) if document_id in old)
    epoch = sum(size for document_id, _, size, _ in read_rows(cleaning.file("train.parquet")) if document_id not in old)
    assert share <= found < share + largest / (epoch / (1 - share))  # one document more than is needed, at most
    assert {times[document_id] for document_id in documents if document_id not in old} == {1}


def test_share_of_nothing_leaves_new_documents_alone(replayed, documents):
    old = set(documents[::2])
    found, times = shares(replayed(0.0, old), old)
    assert found == 0
    assert set(times) == set(documents) - old


def test_weights_of_sources_still_hold_for_new_documents(replayed, documents):
    old = set(documents[::2])
    _, times = shares(replayed(0.5, old, tax=2), old)
    assert {times[document_id] for document_id in documents if document_id not in old} == {1, 2}


def test_ages_are_counted_and_add_up_to_the_epoch(replayed, documents):
    manifest = replayed(0.5, documents[::2])
    ages = {row["age"]: row for row in manifest.details["ages"]}
    assert (ages["old"]["documents"], ages["new"]["documents"]) == (42, TOTAL - 42)
    assert ages["new"]["weight"] == 1
    assert sum(row["epoch_tokens"] for row in ages.values()) == manifest.counts["train_tokens"]


@pytest.mark.parametrize("old", [(), None], ids=["unknown documents", "no model to start from"])
def test_without_old_documents_an_epoch_is_the_plain_one(replayed, documents, old, caplog):
    plain, other = replayed(None, None), replayed(0.5, old)
    assert other.files == plain.files
    assert other.reused == (old is None)
    assert ("none of the training documents is old" in caplog.text) == (old is not None)


def test_month_without_a_new_document_is_said_and_trained_on_as_it_is(replayed, documents, caplog):
    assert replayed(0.5, documents).files == replayed(None, None).files
    assert "every one of the training documents is old" in caplog.text


def test_other_ledger_or_share_is_another_build_and_the_same_one_is_not(replayed, documents):
    first = replayed(0.5, documents[::2])
    assert replayed(0.5, documents[::2]).reused
    assert replayed(0.5, documents[::3]).fingerprint != first.fingerprint
    assert replayed(0.6, documents[::2]).fingerprint != first.fingerprint


def test_holdout_documents_of_a_ledger_are_no_old_training_documents(tmp_path):
    assert training_documents(write_ledger(tmp_path / "ledger.parquet", ["a"], ["b"])) == {"a"}
