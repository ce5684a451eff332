"""EleutherAI's lm-eval on the exported model, in a process of its own that asks nothing of a network.

lm-eval is no part of the installation: `pip install 'minimind-flows[harness]'`. Data sets of its own tasks have to be
in the Hugging Face cache already; a task of a local YAML file over a local file needs nothing. A YAML file may name
Python functions, which lm-eval runs: use your own files only.
"""

import contextlib
import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minimind.digests import sha256_of_file
from minimind.errors import UserError

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
BATCH_SIZE = 8
BESIDE = (".yaml", ".yml", "_yaml", ".py")  # ends of names; lm-eval's own tasks include files such as `_default_yaml`


def harness_inputs(tasks: Sequence[str]) -> dict[str, str]:
    """Name -> sha256 of the tasks' YAML files, of the data that these name, and of YAML and Python beside them.

    The last because a task may include other YAML files, and name functions of modules beside it; what these import
    or include from elsewhere is not seen.

    Raises UserError for a file that is not there, and where tasks are asked for and lm-eval is not installed.
    """
    if tasks and importlib.util.find_spec("lm_eval") is None:
        raise UserError(
            f"evaluation.harness_tasks names {tasks[0]}, and lm-eval is not installed; "
            "pip install 'minimind-flows[harness]', or set harness_tasks to []"
        )
    files = [path for task in tasks if (path := _yaml_file(task)) is not None]
    beside = {path for file in files for path in file.parent.iterdir() if path.name.endswith(BESIDE) and path.is_file()}
    named = {path for file in files for path in [file, *_data_files(file)]}
    return {f"harness {path}": sha256_of_file(path) for path in sorted(beside | named)}


def run_harness(model_folder: Path, tasks: Sequence[str], device: str, results: Path) -> dict[str, dict[str, float]]:
    """Task -> figure -> value, such as `acc` and `acc_stderr`; `results` gets all that lm-eval says, samples included.

    Raises UserError with what lm-eval said last where it does not come to an end.
    """
    command = [sys.executable, "-m", "minimind.evaluation.harness", str(model_folder), str(results), device, *tasks]
    done = subprocess.run(command, env={**os.environ, **OFFLINE}, capture_output=True, text=True)
    if done.returncode != 0:
        last = " ".join((done.stderr.strip().splitlines() or ["nothing"])[-1].split())
        raise UserError(
            f"lm-eval did not finish {', '.join(tasks)}: {last}; correct evaluation.harness_tasks. "
            "Data sets that are not in the Hugging Face cache are not fetched"
        )
    scored = json.loads(results.read_text())["results"]
    return {task: _figures(values) for task, values in sorted(scored.items())}


def _figures(values: dict[str, Any]) -> dict[str, float]:
    """`acc,none` becomes `acc`; what is no number is left out."""
    figures = {}
    for name, value in values.items():
        metric, _, kind = name.partition(",")
        if isinstance(value, int | float) and math.isfinite(value) and metric != "sample_len":
            figures[metric if kind in ("", "none") else f"{metric}/{kind}"] = float(value)
    return figures


def _yaml_file(task: str) -> Path | None:
    """The file, if the task is given as one."""
    if not task.endswith((".yaml", ".yml")):
        return None
    path = Path(task).expanduser()
    if not path.is_file():
        raise UserError(f"{task} is no file; correct evaluation.harness_tasks")
    return path


def _data_files(file: Path) -> list[Path]:
    """The local files under `dataset_kwargs.data_files`, as far as they can be read off."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Takes `!function` for the text behind it."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: getattr(node, "value", None))
    try:
        tree = yaml.load(file.read_text(), Loader=Loader)
        files = (tree.get("dataset_kwargs") or {}).get("data_files") or []
    except (yaml.YAMLError, AttributeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is no task of lm-eval: {' '.join(str(error).split())}") from None
    named = files.values() if isinstance(files, dict) else [files] if isinstance(files, str) else files
    flat = [name for names in named for name in ([names] if isinstance(names, str) else names)]
    return [path for name in flat if (path := Path(name)).is_file()]


# --- in the process of its own ----------------------------------------------------------------------------------------


def main(model_folder: str, results: str, device: str, tasks: Sequence[str]) -> None:
    """Runs lm-eval and writes what it says. A document begins with the end of text, hence so does each context."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    from minimind.tokenizer.bpe import END_OF_TEXT, END_OF_TEXT_ID, load_tokenizer

    tokenizer = load_tokenizer(Path(model_folder))
    start = [(END_OF_TEXT, END_OF_TEXT_ID)]
    tokenizer.post_processor = TemplateProcessing(single=f"{END_OF_TEXT} $A", special_tokens=start)
    named = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "pad_token": END_OF_TEXT}
    model: Any = AutoModelForCausalLM.from_pretrained(model_folder, local_files_only=True, trust_remote_code=False)
    make_wrapped: Any = PreTrainedTokenizerFast
    harness = HFLM(
        pretrained=model.to(device),
        tokenizer=make_wrapped(tokenizer_object=tokenizer, **named),
        add_bos_token=True,
        batch_size=BATCH_SIZE,
        device=device,
    )
    found = lm_eval.simple_evaluate(model=harness, tasks=list(tasks), task_manager=TaskManager(), bootstrap_iters=0)
    kept = {"results": found["results"], "samples": found.get("samples", {}), "versions": found.get("versions", {})}
    Path(results).write_text(json.dumps(kept, default=str))


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
