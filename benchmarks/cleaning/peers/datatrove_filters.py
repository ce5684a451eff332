"""datatrove's quality filters as they come, on every document each. Runs under the peers' Python.

    python datatrove_filters.py INPUT_FOLDER OUTPUT_FOLDER WORKERS

One task a file. A decision a line: id, the reason of each filter ("" where the document is kept), and at the end of
each file the CPU seconds of each filter. datatrove keeps the words of the last texts, so that the first filter that
asks for them pays for all.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.readers import ParquetReader

TARGET = Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else Path()


def decide(data, rank=0, world_size=1):
    filters = {
        "fineweb": FineWebQualityFilter(),
        "gopher_quality": GopherQualityFilter(),
        "gopher_repetition": GopherRepetitionFilter(),
        "c4": C4QualityFilter(),
    }
    seconds = Counter()
    with (TARGET / f"decisions-{rank}.jsonl").open("w") as lines:
        for document in data:
            row = {"id": document.id}
            for name, judge in filters.items():
                copy = Document(text=document.text, id=document.id)  # C4's rewrites the text
                started = time.process_time()
                verdict = judge.filter(copy)
                seconds[name] += time.process_time() - started
                row[name] = verdict[1] if isinstance(verdict, tuple) else "" if verdict else "removed"
            lines.write(json.dumps(row) + "\n")
            yield document
        lines.write(json.dumps({"cpu_seconds": seconds}) + "\n")


if __name__ == "__main__":
    TARGET.mkdir(parents=True, exist_ok=True)
    LocalPipelineExecutor(
        [ParquetReader(sys.argv[1], glob_pattern="*.parquet"), decide],
        tasks=len(list(Path(sys.argv[1]).glob("*.parquet"))),
        workers=int(sys.argv[3]),
        logging_dir=str(TARGET / "logs"),
    ).run()
