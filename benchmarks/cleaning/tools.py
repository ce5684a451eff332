"""The tools that are compared: how each is started, and what can be read from the files that it leaves."""

import json
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.cleaning import ours
from benchmarks.cleaning.enlarged import read
from minimind.machine import git_commit

PEERS = Path(__file__).parent / "peers"
NAMES = ("ours", "datatrove", "text_dedup")
THRESHOLDS = {"ours": 0.8, "datatrove": 0.7, "text_dedup": 0.7}  # from which a tool means to remove; 14x8: about 0.72
SETTINGS = {
    "ours": "corpus and cleaning stages, 5-word shingles, removed at J >= 0.8, every candidate verified",
    "datatrove": "14 buckets x 8 hashes, 5-grams, four stages, LocalPipelineExecutor, a task and a worker a core",
    "text_dedup": "240 permutations (24 bands x 10), 5-grams, threshold 0.7, the release's own minhash, unverified",
}
PACKAGES = {
    "ours": ("duckdb", "pyarrow"),
    "datatrove": ("datatrove", "spacy", "numpy", "xxhash"),
    "text_dedup": ("text-dedup", "datasets", "pyarrow", "numpy"),
}


@dataclass(frozen=True)
class Found:
    """What a tool did with the documents."""

    kept: set[str]
    removed: set[str]  # as an exact or a near copy of another
    links: list[tuple[str, str]] = field(default_factory=list)  # pairs that it puts into one cluster


def our_command(source: Path, target: Path, resources: Mapping[str, int], *options: str) -> list[str]:
    """Leaves its store and `steps.json` in `target`."""
    return [
        sys.executable, "-m", "benchmarks.cleaning.ours", str(source), str(target / "store"),
        "--resources", json.dumps(resources), "--steps", str(target / "steps.json"), *options,
    ]  # fmt: skip


def peer_command(tool: str, source: Path, target: Path, cores: int, peers_python: Path | None) -> list[str]:
    return [str(peers_python), str(PEERS / f"{tool}_minhash.py"), str(source), str(target), str(cores)]


def packages(tool: str, peers_python: Path | None) -> dict[str, str]:
    """The versions of what shapes a tool's speed and its results."""
    python = sys.executable if tool == "ours" else str(peers_python)
    asked = (
        "import importlib.metadata, json, platform; "
        f"said = {{name: importlib.metadata.version(name) for name in {PACKAGES[tool]!r}}}; "
        "print(json.dumps({'python': platform.python_version()} | said))"
    )
    try:
        answer = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise SystemExit(
            f"{python} does not run or lacks one of {', '.join(PACKAGES[tool])}; make an environment with "
            "`python -m benchmarks.peers FOLDER` and name its python with --peers-python, or leave the tool out with "
            "--tools"
        ) from None
    versions: dict[str, str] = json.loads(answer.stdout)
    return versions


def version(tool: str, versions: Mapping[str, str]) -> str:
    """Of a peer, that of its package; of ours, the commit."""
    return git_commit() or "unknown" if tool == "ours" else versions[tool.replace("_", "-")]


# --- what they leave --------------------------------------------------------------------------------------------------


def found_by(tool: str, source: Path, target: Path) -> Found:
    readers: Mapping[str, Callable[[Path, Path], Found]] = {
        "ours": found_by_ours,
        "datatrove": found_by_datatrove,
        "text_dedup": found_by_text_dedup,
    }
    return readers[tool](source, target)


def found_by_ours(source: Path, target: Path) -> Found:
    folder = Path(json.loads((target / "steps.json").read_text())["files"])

    def column(name: str, field_name: str) -> list[str | None]:
        values = pq.read_table(folder / f"{name}.parquet", columns=[field_name])[field_name].to_pylist()
        return [value and value.removeprefix(f"{ours.SOURCE}/") for value in values]

    kept = {*column("train", "document_id"), *column("holdout", "document_id")}
    steps = pq.read_table(folder / "removed.parquet", columns=["step"])["step"].to_pylist()
    removed = [
        (document, survivor)
        for document, survivor, step in zip(
            column("removed", "document_id"), column("removed", "kept_document_id"), steps, strict=True
        )
        if step in ("exact_duplicates", "near_duplicates")
    ]
    links = [pair for pair in removed if pair[1]]
    links += zip(column("pairs", "document_id_a"), column("pairs", "document_id_b"), strict=True)
    return Found(kept, {document for document, _ in removed}, links)


def found_by_datatrove(source: Path, target: Path) -> Found:
    """Pairs of (file, place) as stage 2 has them; kept ids as stage 4 writes them."""
    ids = [[document.id for document in read(path)] for path in sorted(source.glob("part-*.jsonl"))]
    links = [
        (ids[file_a][place_a], ids[file_b][place_b])
        for path in sorted((target / "buckets").glob("*.dups"))
        for file_a, place_a, file_b, place_b in struct.iter_unpack("<4I", path.read_bytes())
    ]
    kept = {document.id for path in (target / "kept").glob("*.gz") for document in read(path)}
    return Found(kept, {document for file in ids for document in file} - kept, links)


def found_by_text_dedup(source: Path, target: Path) -> Found:
    """Clusters as its union-find has them; documents of fewer than 5 words are filtered, which is no removal."""
    ids = [document.id for path in sorted(source.glob("part-*.jsonl")) for document in read(path)]
    clusters = json.loads((target / "clusters.json").read_text())
    kept: set[str] = set()
    for path in sorted((target / "kept").glob("*.arrow")):
        with pa.memory_map(str(path)) as mapped:
            kept.update(pa.ipc.open_stream(mapped).read_all()["id"].to_pylist())
    removed = {ids[place] for place, root in clusters if place != root} - kept
    return Found(kept, removed, [(ids[place], ids[root]) for place, root in clusters if place != root])


def clusters_of(links: Iterable[Sequence[str]]) -> dict[str, str]:
    """The name of its connected component for every document that stands in a link."""
    parents: dict[str, str] = {}

    def root_of(document: str) -> str:
        parents.setdefault(document, document)
        while parents[document] != document:
            parents[document] = parents[parents[document]]
            document = parents[document]
        return document

    for a, b in links:
        parents[root_of(a)] = root_of(b)
    return {document: root_of(document) for document in list(parents)}


# --- how right they are -----------------------------------------------------------------------------------------------


def scores(found: Found, truth: Sequence[tuple[str, str, float]], threshold: float) -> dict[str, float | int | None]:
    """Against all true pairs (a, b, J) with J >= 0.7; None where there is nothing to be right about.

    A pair is found if both documents are in one cluster of the tool. A pair is left if both are kept. A document is
    removed rightly if a kept document has J >= `threshold` with it.
    """
    clusters = clusters_of(found.links)
    result: dict[str, float | int | None] = {"kept": len(found.kept), "removed": len(found.removed)}
    for least in (0.8, 0.7):
        pairs = [(a, b) for a, b, jaccard in truth if jaccard >= least]
        together = sum(a in clusters and clusters[a] == clusters.get(b) for a, b in pairs)
        left = sum(a in found.kept and b in found.kept for a, b in pairs)
        result |= {
            f"pairs_{least}": len(pairs),
            f"recall_{least}": share(together, len(pairs)),
            f"pairs_left_{least}": left,
        }
    rightly = {
        removed
        for a, b, jaccard in truth
        if jaccard >= threshold
        for removed, other in ((a, b), (b, a))
        if removed in found.removed and other in found.kept
    }
    return result | {"threshold": threshold, "removed_rightly": share(len(rightly), len(found.removed))}


def share(part: int, whole: int) -> float | None:
    return round(part / whole, 5) if whole else None
