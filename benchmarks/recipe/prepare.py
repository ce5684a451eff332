"""Token shards of a folder of texts, for the machine that trains on them.

    python -m benchmarks.recipe.prepare --corpora $MINIMIND_CORPORA --name legal-en --vocabulary 6400 --out shards

reads `<corpora>/<name>/*.jsonl.gz` (lines with id and text). The texts are not cleaned: a holdout document, one of
fifty by the hash of its id, may have near-copies in training. That is the same for every recipe; for figures that
stand by themselves, use the shards of a store. Needs tokenizers, tiktoken and psutil, training does not.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from benchmarks.tokenizing import TRAINING_BYTES, Corpus, published_cleaning, published_tokenizer
from minimind.config import ShardsConfig
from minimind.shards.build import ShardsInputs, build
from minimind.store import Store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--vocabulary", type=int, required=True)
    parser.add_argument("--every", type=int, default=1, help="read only every so-manieth document (1)")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as working:
        corpus = Corpus(given.name, given.corpora, Path(working), given.every)
        store = Store(Path(working) / "store", given.name)
        tokenizer = published_tokenizer(corpus.tokenizer(given.vocabulary, TRAINING_BYTES), store)
        inputs = ShardsInputs(published_cleaning(corpus, store), tokenizer)
        shards = build(
            ShardsConfig(tokens_per_shard=50_000_000, source_weights={}, old_documents_share=None), inputs, store
        )
        given.out.mkdir(parents=True)
        for path in [*shards.path.glob("*.arrow"), tokenizer.file("tokenizer.json")]:
            shutil.copyfile(path, given.out / path.name)
    print({name: int(value) for name, value in shards.counts.items()})


if __name__ == "__main__":
    main()
