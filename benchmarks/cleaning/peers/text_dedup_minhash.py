"""text-dedup's MinHash deduplication, its own command with the clusters written down. Runs under the peers' Python.

    python text_dedup_minhash.py INPUT_FOLDER OUTPUT_FOLDER PROCESSES

240 permutations, 5-grams, threshold 0.7, which gives 24 bands of 10. The release does not verify its candidates.
"""

import json
import sys
from pathlib import Path

from text_dedup import minhash


def main(source: str, target: str, processes: int) -> None:
    arguments = {
        "--path": "json",
        "--data_dir": source,
        "--split": "train",
        "--cache_dir": f"{target}/cache",
        "--output": f"{target}/kept",
        "--column": "text",
        "--num_perm": "240",
        "--ngram": "5",
        "--threshold": "0.7",
        "--num_proc": str(processes),
    }
    minhash.main([part for pair in arguments.items() for part in pair], standalone_mode=False)
    clusters = {place: minhash.uf.find(place) for place in list(minhash.uf.parent)}
    Path(target, "clusters.json").write_text(json.dumps(sorted(clusters.items())))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
