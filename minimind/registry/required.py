"""The champion's figures for `registry.required_tasks`, measured on the files that this run's were measured on.

A file of tasks is edited, and its accuracy is then another thing; a task is new, and the champion has no figure of it.
So every run says what its figures were measured on, and where that is something else by now the champion answers anew.
"""

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from minimind.config import EvaluationConfig
from minimind.evaluation.harness import run_harness
from minimind.evaluation.scoring import choose_device
from minimind.evaluation.tasks import read_task, run_task
from minimind.model.hugging_face import load_model
from minimind.registry.lineage import MEASURED_ON_TAG, measured_on
from minimind.store import Manifest
from minimind.tokenizer.bpe import load_tokenizer

Figures = Mapping[str, float]


def champions_figures(
    names: Iterable[str], evaluation: Manifest, stored: Figures, tags: Mapping[str, str], folder: Path, device: str,
    section: EvaluationConfig,
) -> dict[str, float]:  # fmt: skip
    """`stored`, the champion's own, with those anew that were measured on something else by the `tags` of its run.

    Only for the figures of these `names`; `evaluation` is the new version's, `folder` the champion's model.
    """
    now, then = measured_on(evaluation), json.loads(tags.get(MEASURED_ON_TAG, "{}"))
    changed = {
        beginning
        for beginning, digest in now.items()
        if then.get(beginning) != digest and any(name.startswith(beginning) for name in names)
    }
    figures = {name: value for name, value in stored.items() if not name.startswith(tuple(changed))}
    for beginning in sorted(changed):
        figures |= answered_anew(beginning, folder, device, section)
    return figures


def answered_anew(beginning: str, folder: Path, device: str, section: EvaluationConfig) -> dict[str, float]:
    device = choose_device(device)
    if beginning == "harness/":
        with tempfile.TemporaryDirectory() as temporary:
            found = run_harness(folder, section.harness_tasks, device, Path(temporary) / "harness.json")
    else:
        model, tokenizer = load_model(folder, device), load_tokenizer(folder)
        asked = [task for task in section.tasks if beginning == f"tasks/{task.name}/"]
        found = {task.name: run_task(model, tokenizer, read_task(task)) for task in asked}
    kind = beginning.partition("/")[0]
    return {f"{kind}/{name}/{figure}": value for name, row in found.items() for figure, value in row.items()}
