"""The Markdown page made from the rows of the throughput benchmark."""

from typing import Any

from benchmarks.recipe.table import grouped
from benchmarks.rows import Row

SETTING = ("corpus", "preset", "device", "torch", "compiling", "threads")

HEAD = """# Throughput

Made by `python -m benchmarks.throughput` from `throughput.json`, which has every round, machine, commit and date.
*tokens/s* counts useful tokens, padding left out: median of the rounds, in brackets the slowest and the fastest. The
recipes take turns, each in a process of its own. *with compilation*: of the first ten minutes, if the first step takes
what it took here. *MFU* is tokens/s x (6 N + 6 L H D T) over the peak: N weights in matrices (the tied embedding once),
L layers, H heads of size D, T tokens of a sequence, of which a causal token sees half. *of measured*: the peak is
the square product of matrices on the same device in the same precision, measured in each process before it trains;
*of the data sheet*: the maker's figure, where the card is known. Memory is the highest: of tensors / held by torch on a
GPU, of the whole process on a CPU. *loader* is the share of a step in which training waited for its batch."""


def render(rows: list[Row]) -> str:
    return "\n\n".join([HEAD, *(setting_table(key, found) for key, found in grouped(rows, SETTING).items())]) + "\n"


def setting_table(setting: tuple[Any, ...], rows: list[Row]) -> str:
    corpus, preset, device, torch_version, compiling, threads = setting
    first = rows[0]
    lines = [
        f"## {preset} on {device}, {corpus}",
        "",
        f"torch {torch_version}, {first['machine']['processor']}, {first['machine']['cores']} cores, "
        f"threads {threads}, {'compiled' if compiling else 'eager'}, {first['parameters'] / 1e6:.2f}M parameters, "
        f"commit {', '.join(sorted({str(row['commit'])[:12] for row in rows}))}, {first['measured_at'][:10]}.",
        "",
        "| recipe | tokens/s | against reference | tokens/CPU s | with compilation | first step, s: cold / again "
        "| MFU of measured | of the data sheet | peak, TFLOP/s | memory, GB | loader | batch tokens, micro-batch |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    reference = next((row["tokens_per_second"] for row in rows if row["recipe"] == "reference"), None)
    ordered = sorted(rows, key=lambda row: -row["tokens_per_second"])
    return "\n".join(lines + [recipe_line(row, reference) for row in ordered])


def recipe_line(row: Row, reference: float | None) -> str:
    against = f"{row['tokens_per_second'] / reference:.2f}" if reference else ""
    data_sheet = f"{row['mfu_of_data_sheet']:.1%}" if row["mfu_of_data_sheet"] else ""
    held = [row[name] / 1e9 for name in ("allocated_bytes", "reserved_bytes", "process_bytes") if name in row]
    return (
        f"| {row['recipe']}{'' if row['compiled'] else ' (eager)'} | {row['tokens_per_second']:,.0f} "
        f"({row['least_tokens_per_second']:,.0f} to {row['most_tokens_per_second']:,.0f}) | {against} "
        f"| {row['tokens_per_cpu_second']:,.0f} | {row['tokens_per_second_with_compilation']:,.0f} "
        f"| {row['first_step_seconds']:.1f} / {row['again_first_step_seconds']:.1f} | {row['mfu_of_measured']:.1%} "
        f"| {data_sheet} | {row['measured_flops'] / 1e12:.3g} | {' / '.join(f'{size:.2f}' for size in held)} "
        f"| {row['loader_share']:.2%} | {row['batch_tokens']:,}, {row['micro_batch_sequences']} |"
    )
