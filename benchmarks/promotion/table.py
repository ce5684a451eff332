"""The page of the benchmark, from its results."""

from typing import Any


def render(results: dict[str, Any]) -> str:
    pairs, longer, triples = results["pairs"], results["longer"], results["other_triples"]
    spread = results["spread"]
    wrong = sum(row["promoted"] for row in pairs)
    alone = sum(row["better_by_documents_alone"] for row in pairs)
    right = sum(row["promoted"] for row in longer)
    sizes = results["sizes"]
    return f"""# Promotion

Made by `python -m benchmarks.promotion` from `promotion.json`. Does the gate promote luck? {len(pairs)} pairs of real
trainings of one recipe, {sizes["layers"]} layers, {sizes["hidden_size"]} wide, {results["tokens"]:,} tokens each,
{results["corpus"]} ({results["train_bytes"] / 1e6:.1f} MB), that differ in their seed alone; the second of each is held
against the first under `promote_when: better` with `min_improvement: 0`, so that only the noise stands in its way.
Scored on {results["holdout_documents"]} holdout documents ({results["holdout_bytes"] / 1e3:.0f} kB). {results["runs"]}
trainings and {len(longer)} longer ones took {results["cpu_seconds"]:.0f} CPU seconds; torch {results["torch"]}.

| | |
|---|---|
| spread between seeds, measured with {spread["seeds"]} | {spread["share"]:.2%} |
| spread of all {results["runs"]} trainings | {spread["of_all_runs"]:.2%} |
| pairs promoted, all of them wrongly | **{wrong} of {len(pairs)}** |
| pairs that an interval over documents alone would call better | {alone} of {len(pairs)} |
| share of pairs promoted, over {triples["triples"]} other sets of seeds | {triples["promoted_share"]:.1%} |
| such sets with which more than one pair would be promoted | {triples["more_than_one_promoted"]:.1%} |
| trainings with twice the tokens promoted over one of a pair, rightly | {right} of {len(longer)} |

Half of the pairs have a second model that is better by luck; 2.5% is what an interval of 95% lets through by design.

| champion | candidate | change | 95% interval, documents and seeds | documents alone | promoted |
|---|---|---|---|---|---|
{_rows(pairs)}

With twice the tokens:

| champion | candidate | change | 95% interval, documents and seeds | documents alone | promoted |
|---|---|---|---|---|---|
{_rows(longer)}
"""


def _rows(rows: list[dict[str, Any]]) -> str:
    return "\n".join(
        f"| {row['champion']:.4f} | {row['candidate']:.4f} | {row['change'][0]:+.2%} | "
        f"{row['change'][1]:+.2%} to {row['change'][2]:+.2%} | "
        f"{row['documents_alone'][1]:+.2%} to {row['documents_alone'][2]:+.2%} | {'yes' if row['promoted'] else 'no'} |"
        for row in rows
    )
