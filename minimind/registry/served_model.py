"""What MLflow runs when it loads a registered model. Needs `minimind.model` and `minimind.tokenizer.bpe` beside it.

MLflow executes a copy of this file and asks it for the model, hence the call in the last line. `predict` carries no
type hints: with them MLflow would replace the signature, and drop the parameters.
"""

import math
from pathlib import Path
from typing import Any

import torch
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from minimind.model.generate import stream
from minimind.model.hugging_face import load_model
from minimind.tokenizer.bpe import END_OF_TEXT_ID, load_tokenizer

MAX_NEW_TOKENS = 4096  # of one prompt; a request cannot occupy the server for longer


class ServedModel(PythonModel):
    """Continues prompts. One text per row, without the prompt; a row's text does not depend on the other rows."""

    def load_context(self, context: PythonModelContext) -> None:
        folder = Path(context.artifacts["model"])
        self.model = load_model(folder, "cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = load_tokenizer(folder)

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        options = checked(params or {})
        prompts = list(model_input["prompt"])
        if not all(isinstance(prompt, str) for prompt in prompts):
            raise MlflowException.invalid_parameter_value("prompt: every row has to hold a text; found an empty one")
        return [self.continuation(prompt, options) for prompt in prompts]

    def continuation(self, prompt: str, options: dict[str, Any]) -> str:
        ids = [END_OF_TEXT_ID, *self.tokenizer.encode(prompt).ids]
        return str(self.tokenizer.decode(list(stream(self.model, ids, **options))))


def checked(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters, if all are within bounds; else an answer 400 with one sentence a problem."""
    max_new_tokens, temperature = int(params["max_new_tokens"]), float(params["temperature"])
    top_p, seed = float(params["top_p"]), int(params["seed"])
    problems = []
    if not 1 <= max_new_tokens <= MAX_NEW_TOKENS:
        problems.append(f"max_new_tokens is {max_new_tokens}; expected 1 to {MAX_NEW_TOKENS}")
    if not (temperature >= 0 and math.isfinite(temperature)):
        problems.append(f"temperature is {temperature:g}; expected 0 (the likeliest token) or more")
    if not 0 < top_p <= 1:
        problems.append(f"top_p is {top_p:g}; expected more than 0, at most 1")
    if not 0 <= seed < 2**63:
        problems.append(f"seed is {seed}; expected 0 or more")
    if problems:
        raise MlflowException.invalid_parameter_value("; ".join(problems))
    return {"max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}


set_model(ServedModel())
