import numpy as np
import pytest

from minimind.config import ShardsConfig
from minimind.errors import CorpusTooSmallError
from minimind.shards.build import ShardsInputs, build
from minimind.shards.mixing import occurrences
from minimind.shards.reader import ShardReader


@pytest.fixture
def weighted(cleaning, tokenizer_manifest, store):
    def make(**weights):
        section = ShardsConfig(tokens_per_shard=4_000, source_weights=weights, old_documents_share=None)
        return build(section, ShardsInputs(cleaning, tokenizer_manifest), store)

    return make


def test_whole_weights_are_the_number_of_occurrences():
    for weight in (0, 1, 2, 7):
        assert {occurrences(f"law/{number}", weight) for number in range(50)} == {weight}


def test_the_rest_of_a_weight_is_a_share_of_the_documents():
    times = np.array([occurrences(f"law/{number}", 2.3) for number in range(10_000)])
    assert set(times) == {2, 3}
    assert times.mean() == pytest.approx(2.3, abs=0.02)


def test_a_higher_weight_never_drops_a_document():
    for number in range(200):
        times = [occurrences(f"law/{number}", weight / 10) for weight in range(40)]
        assert times == sorted(times)


def test_what_is_drawn_is_the_same_on_every_machine():
    assert [number for number in range(40) if occurrences(f"law/{number}", 0.2)] == [4, 5, 8, 19, 24, 25, 32, 39]


def test_train_documents_carry_their_occurrences_and_ids_stay_unique(cleaning, weighted):
    reader = ShardReader(weighted(tax=2.5).path, "train")
    assert len(set(reader.document_ids)) == reader.documents == cleaning.counts["train_documents"]
    for document_id, source, times in zip(reader.document_ids, reader.sources, reader.occurrences, strict=True):
        assert times == (occurrences(document_id, 2.5) if source == "tax" else 1)
    assert {2, 3} <= set(reader.occurrences.tolist())


def test_weight_0_leaves_a_source_out_of_training_and_not_out_of_the_holdout(weighted):
    plain, without = weighted(), weighted(tax=0)
    assert set(ShardReader(without.path, "train").sources) == {"law"}
    assert set(ShardReader(without.path, "holdout").sources) == {"law", "tax"}
    assert without.matching("holdout") == plain.matching("holdout")


def test_the_holdout_is_never_weighted(weighted):
    holdout = ShardReader(weighted(tax=3, law=0.5).path, "holdout")
    assert set(holdout.occurrences.tolist()) == {1}


def test_manifest_counts_tokens_by_source_before_and_after(weighted):
    plain, heavy = weighted(), weighted(tax=2, law=0.5)
    before = {row["source"]: row for row in plain.details["sources"]}
    after = {row["source"]: row for row in heavy.details["sources"]}
    assert [row["weight"] for row in heavy.details["sources"]] == [0.5, 2]
    for source in ("law", "tax"):
        assert before[source]["epoch_tokens"] == before[source]["tokens"] == after[source]["tokens"]
    assert after["tax"]["epoch_tokens"] == 2 * before["tax"]["tokens"]
    assert 0 < after["law"]["epoch_documents"] < before["law"]["documents"] == after["law"]["documents"]
    reader = ShardReader(heavy.path, "train")
    assert heavy.counts["train_tokens"] == reader.tokens == sum(row["epoch_tokens"] for row in after.values())
    assert plain.counts["train_tokens"] == sum(row["tokens"] for row in before.values())


def test_an_empty_map_and_weights_of_1_give_the_same_files(weighted):
    assert weighted(tax=1, law=1).files == weighted().files


def test_weights_that_leave_no_document_are_refused(weighted):
    with pytest.raises(CorpusTooSmallError, match=r"leave none of the 83 training documents; raise a weight"):
        weighted(tax=0, law=1e-9)
