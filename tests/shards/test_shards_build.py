import os
import subprocess
import sys

import pyarrow as pa
import pytest

from minimind.config import ShardsConfig
from minimind.shards.build import ShardsInputs, build
from minimind.shards.reader import ShardReader


def test_counts_are_those_of_the_files(cleaning, shards_manifest):
    counts, folder = shards_manifest.counts, shards_manifest.path
    for split in ("train", "holdout"):
        reader = ShardReader(folder, split)
        assert counts[f"{split}_tokens"] == reader.tokens
        assert counts[f"{split}_documents"] == reader.documents == cleaning.counts[f"{split}_documents"]
    assert counts["files"] == len(list(folder.glob("train-*.arrow"))) + len(list(folder.glob("holdout-*.arrow")))
    assert counts["vocabulary_size"] == 500


def test_files_hold_one_uncompressed_record_batch_in_document_order(shards_manifest):
    paths = sorted(shards_manifest.path.glob("train-*.arrow"))
    ids = []
    for path in paths:
        with pa.ipc.open_file(path) as file:
            assert file.num_record_batches == 1
            batch = file.get_batch(0)
        assert batch.schema.names == ["document_id", "source", "text_bytes", "occurrences", "tokens"]
        assert batch.schema.field("tokens").type == pa.large_list(pa.uint16())
        sizes = [len(tokens) for tokens in batch.column("tokens").to_pylist()]
        assert sum(sizes) <= 4_000 or len(sizes) == 1
        ids += batch.column("document_id").to_pylist()
    assert ids == sorted(ids)
    assert [path.name for path in paths] == [f"train-{number:05d}.arrow" for number in range(len(paths))]


BUILD_AGAIN = """
import sys
from pathlib import Path
from minimind.config import ShardsConfig
from minimind.shards.build import ShardsInputs, build
from minimind.store import Store, load_manifest
cleaning, tokenizer, root = map(Path, sys.argv[1:])
inputs = ShardsInputs(load_manifest(cleaning), load_manifest(tokenizer))
build(ShardsConfig(tokens_per_shard=4_000, source_weights={}, old_documents_share=None), inputs, Store(root, "tests"))
"""


def test_same_inputs_give_the_same_bytes_for_any_number_of_threads(
    cleaning, tokenizer_manifest, shards_manifest, tmp_path
):
    for threads, parallel in [("1", "true"), ("5", "true"), ("2", "false")]:
        root = tmp_path / f"{threads}-{parallel}"
        environment = os.environ | {"RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": parallel}
        arguments = [cleaning.path, tokenizer_manifest.path, root]
        subprocess.run([sys.executable, "-c", BUILD_AGAIN, *arguments], env=environment, check=True)
        folder = root / "shards" / shards_manifest.fingerprint
        assert {name: (folder / name).read_bytes() for name in shards_manifest.files} == {
            name: shards_manifest.file(name).read_bytes() for name in shards_manifest.files
        }


def test_other_metadata_upstream_with_the_same_bytes_is_reused(cleaning, tokenizer_manifest, shards_manifest, store):
    renamed = cleaning.model_copy(update={"fingerprint": "0" * 16})
    renamed._path = cleaning.path
    again = build(
        ShardsConfig(tokens_per_shard=4_000, source_weights={}, old_documents_share=None),
        ShardsInputs(renamed, tokenizer_manifest),
        store,
    )
    assert again.reused
    assert again.path == shards_manifest.path


def test_progress_ends_at_the_bytes_there_are(cleaning, tokenizer_manifest, store):
    seen = []
    reporting = type(store)(store.root, store.domain, lambda *report: seen.append(report))
    build(
        ShardsConfig(tokens_per_shard=50_000, source_weights={}, old_documents_share=None),
        ShardsInputs(cleaning, tokenizer_manifest),
        reporting,
    )
    stage, done, total, text = seen[-1]
    assert (stage, done, text) == ("shards", total, "packing holdout")
    assert total >= cleaning.counts["train_bytes"] + cleaning.counts["holdout_bytes"]
    assert [done for _, done, _, _ in seen] == sorted(done for _, done, _, _ in seen)


def test_lost_bytes_are_noticed(cleaning, tokenizer_manifest, store, monkeypatch):
    from minimind.shards import tokenizing as module

    documents = module.tokenized_documents
    monkeypatch.setattr(
        module,
        "tokenized_documents",
        lambda *arguments: (
            document._replace(text_bytes=document.text_bytes + 1) for document in documents(*arguments)
        ),
    )
    with pytest.raises(AssertionError, match="lost bytes"):
        build(
            ShardsConfig(tokens_per_shard=50_000, source_weights={}, old_documents_share=None),
            ShardsInputs(cleaning, tokenizer_manifest),
            store,
        )
