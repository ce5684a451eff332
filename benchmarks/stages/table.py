"""The page of docs/benchmarks/stages.json."""

from collections.abc import Iterable, Sequence

from benchmarks.rows import Row

HEAD = """# What the data stages cost

Made by `python -m benchmarks.stages` from `stages.json`, which also has digests, versions, machine and commit of every
row. *GB* is a gigabyte (10^9 bytes) of raw text in the corpus. *other load* is how many cores other processes used
meanwhile: above zero, CPU seconds compare better than seconds.
"""
COST = """## Each stage, built for the first time

Each stage in a process of its own, with everything before it in the store; its start is not counted. Memory is resident
memory of all its processes at the highest, pages that several share divided among them. Disk is what the stage
publishes; *cleaning* also keeps what it knows of each text (*texts*), so that the next one reads only what is new. The
tokenizer learns from `tokenizer.sample_bytes` (50 MB), whatever the corpus: per GB, its seconds say nothing.
"""
RUNNERS = """## The same run over each task runner

`minimind run --until shards` of {corpus} ({gigabytes:.3f} GB, {partitions}) into an empty store, its own Prefect
server included. *machine's CPU* is what all processes of the machine used meanwhile: workers of a cluster that runs
already are no children of the run. On {cores} cores there is nothing to win: the rows say what each runner adds, and
that the bytes are the same.
"""


def render(rows: Sequence[Row]) -> str:
    cost = [row for row in rows if row["part"] == "cost"]
    runners = [row for row in rows if row["part"] == "runners"]
    parts = [HEAD]
    parts += [COST, cost_table(cost), machines(cost)] if cost else []
    parts += [runners_head(runners), runners_table(runners), machines(runners)] if runners else []
    return "\n\n".join(part.strip() for part in parts) + "\n"


def cost_table(rows: Sequence[Row]) -> str:
    lines = [
        "| corpus | stage | MB of text | seconds | CPU seconds | CPU s per GB | peak MB | disk MB | disk per GB | "
        "texts MB | other load |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        gigabytes = row["text_bytes"] / 1e9
        texts = f"{row['texts_bytes'] / 1e6:,.1f}" if row["texts_bytes"] else ""
        per_gb = f"{row['cpu_seconds'] / gigabytes:,.0f}" if row["stage"] != "tokenizer" else "–"
        lines.append(
            f"| {row['corpus']} | {row['stage']} | {gigabytes * 1e3:,.1f} | {row['seconds']:,.1f} | "
            f"{row['cpu_seconds']:,.1f} | {per_gb} | {row['peak_pss_mb']:,} | {row['disk_bytes'] / 1e6:,.1f} | "
            f"{row['disk_bytes'] / row['text_bytes']:.2f} GB | {texts} | {row['other_cores']:.1f} |"
        )
    return "\n".join(lines)


def runners_head(rows: Sequence[Row]) -> str:
    first = rows[0]
    return RUNNERS.format(
        corpus=first["corpus"],
        gigabytes=first["text_bytes"] / 1e9,
        partitions=f"{first['cleaning_parts']} partitions to clean, {first['shards_parts']} parts to encode",
        cores=first["machine"]["cores"],
    )


def runners_table(rows: Sequence[Row]) -> str:
    reference = rows[0]["digests"]
    lines = [
        "| runner | seconds | cleaning s | shards s | CPU seconds | machine's CPU | peak MB | same bytes | killed |",
        "|---|---:|---:|---:|---:|---:|---:|---|---|",
    ]
    for row in rows:
        killed = f"a worker, in {row['killed']['during']}" if row["killed"] else ""
        files = sum(len(digests) for digests in row["digests"].values())
        same = f"all {files} files" if row["digests"] == reference else "**no**"
        lines.append(
            f"| {row['runner']} | {row['seconds']:,.1f} | {row['stage_seconds']['cleaning']:,.1f} | "
            f"{row['stage_seconds']['shards']:,.1f} | {row['cpu_seconds']:,.1f} | {row['busy_seconds']:,.1f} | "
            f"{row['peak_pss_mb']:,} | {same} | {killed} |"
        )
    return "\n".join(lines)


def machines(rows: Iterable[Row]) -> str:
    said = {
        f"{row['machine']['processor']}, {row['machine']['cores']} cores, Python {row['machine']['python']}, "
        + ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        + f", commit {(row['commit'] or 'unknown')[:12]}, {row['measured_at'][:10]}": None
        for row in rows
    }
    return "Measured on: " + "; ".join(said) + "."
