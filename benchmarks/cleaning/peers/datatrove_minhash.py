"""datatrove's MinHash deduplication in its four stages, as its own example has it. Runs under the peers' Python.

    python datatrove_minhash.py INPUT_FOLDER OUTPUT_FOLDER WORKERS

Nothing is changed but paths and workers: 14 buckets of 8 hashes, 5-grams, English tokenizer, default normalisation.
One task a file.
"""

import sys
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter


def main(source: str, target: str, workers: int) -> None:
    config = MinhashConfig()
    tasks = len(list(Path(source).glob("*.jsonl")))
    reader = JsonlReader(source, glob_pattern="*.jsonl")
    signatures = LocalPipelineExecutor(
        [reader, MinhashDedupSignature(f"{target}/signatures", config=config)],
        tasks=tasks,
        workers=workers,
        logging_dir=f"{target}/logs/signatures",
    )
    buckets = LocalPipelineExecutor(
        [MinhashDedupBuckets(f"{target}/signatures", f"{target}/buckets", config=config)],
        tasks=config.num_buckets,
        workers=workers,
        logging_dir=f"{target}/logs/buckets",
        depends=signatures,
    )
    clusters = LocalPipelineExecutor(
        [MinhashDedupCluster(f"{target}/buckets", f"{target}/remove", config=config)],
        tasks=1,
        workers=workers,
        logging_dir=f"{target}/logs/clusters",
        depends=buckets,
    )
    LocalPipelineExecutor(
        [reader, MinhashDedupFilter(f"{target}/remove"), JsonlWriter(f"{target}/kept")],
        tasks=tasks,
        workers=workers,
        logging_dir=f"{target}/logs/filter",
        depends=clusters,
    ).run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
