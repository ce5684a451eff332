"""Tokens per second with a key and value cache, one by one and in batches, against computing everything anew.

    python -m benchmarks.generation

builds the preset with random weights (what a step costs does not depend on them), continues prompts of random tokens
without stop tokens, greedily, and writes docs/benchmarks/generation.json and the table beside it, a row replacing an
earlier one of the same setting (`--table` writes only that). The ways take turns; of each the fastest round counts.
"""

import argparse
import importlib.metadata
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.measured import busy_seconds
from benchmarks.rows import Row, merge, surroundings, write_page
from minimind.config import PRESETS
from minimind.model.generate import generate
from minimind.model.transformer import ModelConfig, Transformer

RESULTS = Path(__file__).parents[1] / "docs" / "benchmarks" / "generation.json"
RECOMPUTED, RECOMPUTED_BATCH = "everything anew", "everything anew, 8 at once"
WAYS = {RECOMPUTED: 1, RECOMPUTED_BATCH: 8, "cache, one by one": 1, "cache, 8 at once": 8, "cache, 32 at once": 32}

Prompts = list[list[int]]


def main() -> None:
    given = arguments().parse_args()
    if not given.table:
        merge(given.results, measure(given) | environment(), key_of)
    print(write_page(given.results, render))


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny", choices=sorted(PRESETS))
    parser.add_argument("--vocabulary", type=int, default=6400)
    parser.add_argument("--prompt-tokens", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=2, help="of each way, in turns; the fastest counts (2)")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="only write the table anew")
    return parser


def measure(given: argparse.Namespace) -> Row:
    model = random_model(given)
    random = torch.Generator().manual_seed(1)
    most = max(WAYS.values())
    prompts = torch.randint(3, given.vocabulary, (most, given.prompt_tokens), generator=random).tolist()
    timed: dict[str, list[Row]] = {way: [] for way in WAYS}
    tokens: dict[str, Prompts] = {}
    for draw in (recompute, with_cache):  # the first call of a process costs more
        draw(model, prompts, 4)
    for _ in range(given.rounds):
        for way, at_once in WAYS.items():
            draw = recompute if way in (RECOMPUTED, RECOMPUTED_BATCH) else with_cache
            tokens[way], cost = timed_call(lambda d=draw, n=at_once: d(model, prompts[:n], given.new_tokens))
            timed[way].append(cost)
    expected = tokens[RECOMPUTED_BATCH]
    ways = {
        way: {
            **min(timed[way], key=lambda cost: float(cost["seconds"])),
            "prompts": at_once,
            "same_texts": sum(mine == theirs for mine, theirs in zip(tokens[way], expected, strict=False)),
            "compared": min(at_once, len(expected)),
        }
        for way, at_once in WAYS.items()
    }
    return {
        "preset": given.preset,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "device": given.device,
        "vocabulary": given.vocabulary,
        "prompt_tokens": given.prompt_tokens,
        "new_tokens": given.new_tokens,
        "rounds": given.rounds,
        "ways": ways,
    }


def random_model(given: argparse.Namespace) -> Transformer:
    sizes = PRESETS[given.preset].model_dump()
    positions = given.prompt_tokens + given.new_tokens
    model = Transformer(ModelConfig(vocabulary_size=given.vocabulary, max_positions=positions, **sizes))
    model.initialize(torch.Generator().manual_seed(0))
    return model.to(given.device).eval()


@torch.inference_mode()
def recompute(model: Transformer, prompts: Prompts, new_tokens: int) -> Prompts:
    """Greedy continuations of prompts of one length; each token costs a pass over all tokens before it."""
    tokens = torch.tensor(prompts, device=model.device)
    for _ in range(new_tokens):
        newest = model.logits(model.hidden_states(tokens)[:, -1]).argmax(dim=-1, keepdim=True)
        tokens = torch.cat([tokens, newest], dim=1)
    return [row[len(prompts[0]) :] for row in tokens.tolist()]


def with_cache(model: Transformer, prompts: Prompts, new_tokens: int) -> Prompts:
    made = generate(
        model, prompts, max_new_tokens=new_tokens, temperature=0.0, top_p=1.0, seeds=[0] * len(prompts), stop_tokens=(),
        rows=len(prompts),
    )  # fmt: skip
    return [generation.tokens for generation in made]


def timed_call(call: Callable[[], Prompts]) -> tuple[Prompts, Row]:
    """What it returns, and its cost; `other_cores`: what other processes used meanwhile, on average."""
    busy, wall, cpu = busy_seconds(), time.perf_counter(), time.process_time()
    returned = call()
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    tokens = sum(map(len, returned))
    return returned, {
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "other_cores": round(max(busy_seconds() - busy - cpu_seconds, 0) / seconds, 2),
        "tokens_per_second": round(tokens / seconds, 1),
        "tokens_per_cpu_second": round(tokens / cpu_seconds, 1),
    }


def environment() -> Row:
    return surroundings() | {
        "versions": {"torch": importlib.metadata.version("torch")},
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
    }


def key_of(row: Row) -> tuple[str, str, int]:
    return row["preset"], row["device"], row["new_tokens"]


# --- the page ---------------------------------------------------------------------------------------------------------

HEAD = """# Generation

Made by `python -m benchmarks.generation` from `generation.json`, which has versions, machine and commit of every row.
Greedy continuations of random prompts by random weights, without stop tokens; the fastest of the rounds counts. *Same
texts*: of the prompts that two ways share, those whose tokens equal the ones that come from computing everything anew
for 8 at once (a product of other size differs in the last bits, which may turn a close choice). *Other load* is how
many cores other processes used meanwhile."""


def render(rows: list[Row]) -> str:
    return "\n\n".join([HEAD, *map(table, rows)]) + "\n"


def table(row: Row) -> str:
    recomputed = row["ways"][RECOMPUTED]
    lines = [
        f"## {row['preset']}, {row['new_tokens']} new tokens after {row['prompt_tokens']}, {row['device']}",
        "",
        f"{row['parameters'] / 1e6:.2f}M parameters, vocabulary {row['vocabulary']:,}, {row['rounds']} rounds, "
        f"{row['gpu'] or row['machine']['processor']}, {row['threads']} threads, torch {row['versions']['torch']}, "
        f"commit {str(row['commit'])[:12]}",
        "",
        "| way | tokens/s | against everything anew | tokens per CPU second | seconds | same texts | other load |",
        "|---|---|---|---|---|---|---|",
    ]
    for way, cost in row["ways"].items():
        ratio = cost["tokens_per_second"] / recomputed["tokens_per_second"]
        cells = [
            way,
            f"{cost['tokens_per_second']:,.0f}",
            f"{ratio:.1f}",
            f"{cost['tokens_per_cpu_second']:,.0f}",
            f"{cost['seconds']:.2f}",
            f"{cost['same_texts']} of {cost['compared']}",
            cost["other_cores"],
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
