"""What a corpus supports on this machine: for each time, the preset it is best spent on and what may come of it.

The rule is that of `preset: auto` (`minimind.training.proposal`), at speeds that were not measured but follow from the
tiny model's by their arithmetic: `minimind plan` measures. Bits per byte are those of the ladder's law, times what the
tiny model needed of them on this corpus.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from minimind.config import PRESETS, TrainingConfig, parse_budget
from minimind.explore.fit import Trial
from minimind.training.budget import model_of
from minimind.training.flops import flops_per_token
from minimind.training.ladder import LADDER
from minimind.training.scaling import MAX_EPOCHS, best_in_time

BUDGETS = ("10m", "30m", "1h", "2h", "4h", "8h")
ENOUGH = 0.02  # of bits per byte: what the longest budget may bring beyond the one that is advised


class Support(NamedTuple):
    budget: str  # as in the YAML
    seconds: float
    preset: str
    parameters: int
    tokens: int
    epochs: float
    bits_per_byte: float  # of the holdout, about
    used_up: bool  # MAX_EPOCHS epochs: more of it brings nothing


def supported(
    section: TrainingConfig, trial: Trial, parameters: int, tokens_per_second: float, vocabulary_size: int
) -> list[Support]:
    """A row a budget, ascending, up to the first that uses the corpus up. `trial` is of `parameters`, by `section`."""
    models = {name: model_of(section, sizes, vocabulary_size) for name, sizes in PRESETS.items()}
    sizes = {name: model.parameters for name, model in models.items()}
    costs = {name: flops_per_token(model) for name, model in models.items()}
    speeds = {name: tokens_per_second * costs[str(section.preset)] / cost for name, cost in costs.items()}
    found = trial.bits_per_byte / LADDER.law.bits_per_byte(parameters, trial.tokens, trial.unique_tokens)
    rows: list[Support] = []
    for budget in BUDGETS:
        rows.append(best_for(budget, trial.unique_tokens, sizes, speeds, found))
        if rows[-1].used_up:
            break
    return rows


def best_for(
    budget: str, unique_tokens: float, sizes: Mapping[str, int], speeds: Mapping[str, float], found: float
) -> Support:
    seconds, most = parse_budget(budget).amount, MAX_EPOCHS * unique_tokens
    tokens = {name: min(seconds * speed, most) for name, speed in speeds.items()}
    name, expected = best_in_time(LADDER.law, sizes, unique_tokens, tokens, tokens.__getitem__)
    used_up = tokens[name] >= most
    return Support(
        budget=f"{MAX_EPOCHS} epochs" if used_up else budget,
        seconds=tokens[name] / speeds[name],
        preset=name,
        parameters=sizes[name],
        tokens=round(tokens[name]),
        epochs=tokens[name] / unique_tokens,
        bits_per_byte=found * expected[name],
        used_up=used_up,
    )


def advised(rows: Sequence[Support]) -> Support:
    """The shortest that comes within ENOUGH of the longest."""
    limit = rows[-1].bits_per_byte * (1 + ENOUGH)
    return next(row for row in rows if row.bits_per_byte <= limit)
