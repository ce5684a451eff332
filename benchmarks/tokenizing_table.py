"""The Markdown page made from the rows of the tokenizing benchmark."""

from benchmarks.rows import Row


def key_of(row: Row) -> tuple[str, str, int, int]:
    return row["part"], row["corpus"], row["vocabulary"], row.get("sample_bytes", 0)


HEAD = """# Tokenizing

Made by `python -m benchmarks.tokenizing` from `tokenizing.json`, which has versions, machine and commit of every row.
Encoders take turns in one process; the round with the fewest CPU seconds counts. *other load* is how many cores other
processes used meanwhile: above zero, CPU seconds compare better than seconds. `every` in the JSON is 6 where only every
sixth document of a corpus was read (`--every 6`)."""


def render(rows: list[Row]) -> str:
    parts = [HEAD]
    tables = {"encode": encode_table, "stage": stage_table, "sample": sample_table}
    for part, table in tables.items():
        if found := [row for row in rows if row["part"] == part]:
            parts.append(table(found))
    seen = {
        f"{row['machine']['processor']}, {row['threads']} cores, Python {row['machine']['python']}, "
        + ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        + f", commit {str(row['commit'])[:12]}"
        for row in rows
    }
    return "\n\n".join([*parts, *sorted(seen)]) + "\n"


def encode_table(rows: list[Row]) -> str:
    lines = [
        "## Encoding",
        "",
        "| corpus | vocabulary | MB | ids equal | `encode_batch` MB/s | `encode_batch_fast` MB/s | ours MB/s "
        "| ours by `encode_batch`, wall | by CPU seconds | other load |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        costs, ours = row["encoders"], row["encoders"].get("tiktoken", row["encoders"].get("tokenizers"))
        speeds = [f"{row['bytes'] / 1e6 / cost['seconds']:.2f}" for cost in costs.values()]
        ratios = [f"{costs['encode_batch'][key] / ours[key]:.1f}" for key in ("seconds", "cpu_seconds")]
        equal = f"yes, {row['documents']:,} documents" if row["ids_equal"] else "NO"
        loads = max(cost["other_cores"] for cost in costs.values())
        cells = [row["corpus"], f"{row['vocabulary']:,}", f"{row['bytes'] / 1e6:.1f}", equal, *speeds, *ratios, loads]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def stage_table(rows: list[Row]) -> str:
    lines = [
        "## The shards stage, from cleaned Parquet to published shards",
        "",
        "| corpus | vocabulary | MB | same files | with `tokenizers` s (CPU s) | with tiktoken s (CPU s) | ratio, wall "
        "| by CPU seconds | other load |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        slow, fast = row["encoders"]["tokenizers"], row["encoders"]["tiktoken"]
        seconds = [f"{cost['seconds']:.1f} ({cost['cpu_seconds']:.1f})" for cost in (slow, fast)]
        ratios = [f"{slow[key] / fast[key]:.1f}" for key in ("seconds", "cpu_seconds")]
        equal = "yes" if row["files_equal"] else "NO"
        loads = max(slow["other_cores"], fast["other_cores"])
        cells = [row["corpus"], f"{row['vocabulary']:,}", f"{row['bytes'] / 1e6:.1f}", equal, *seconds, *ratios, loads]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def sample_table(rows: list[Row]) -> str:
    lines = [
        "## A vocabulary from a sample",
        "",
        "| corpus | vocabulary | sample MB | documents | bytes per token on the holdout | to the largest sample "
        "| training CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        same = [other for other in rows if key_of(other)[1:3] == key_of(row)[1:3]]
        whole = max(same, key=lambda other: other["sample_bytes"])
        loss = f"{100 * (row['bytes_per_token'] / whole['bytes_per_token'] - 1):+.2f}%"
        megabytes = f"{row['sample_bytes'] / 1e6:.1f}"
        cells = [row["corpus"], f"{row['vocabulary']:,}", megabytes, f"{row['sample_documents']:,}"]
        cells += [f"{row['bytes_per_token']:.4f}", loss, f"{row['training']['cpu_seconds']:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
