"""Lines of metrics.jsonl as the training process writes them, and what MLflow has got of them."""

import json

from mlflow import MlflowClient

from minimind.registry.forwarding import SERIES


def metrics_line(step: int, hour: int = 0) -> str:
    """The values depend on the step alone; a step that is computed again in another hour differs in its time."""
    values = {"step": step, "time": 1_700_000_000.25 + 3600 * hour + step, "tokens": 512 * step}
    values |= {"loss": 6.0 / (1 + step), "learning_rate": 1e-3, "gradient_norm": 0.5, "tokens_per_second": 1000.0}
    if step % 10 == 0:
        values |= {"holdout_loss": 6.5 / (1 + step), "holdout_bits_per_byte": 4.5 / (1 + step)}
    return json.dumps(values) + "\n"


def lines(first: int, last: int, hour: int = 0) -> str:
    return "".join(metrics_line(step, hour) for step in range(first, last + 1))


def arrived(client: MlflowClient, run_id: str, name: str = "loss") -> list[tuple[int, float, int]]:
    """(step, value, milliseconds) of all that MLflow has of a series, by step."""
    history = client.get_metric_history(run_id, SERIES + name)
    return sorted((metric.step, metric.value, metric.timestamp) for metric in history)


def expected(text: str, name: str = "loss") -> list[tuple[int, float, int]]:
    parsed = [json.loads(line) for line in text.splitlines()]
    return [(line["step"], line[name], round(line["time"] * 1000)) for line in parsed if name in line]
