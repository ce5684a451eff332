"""What MLflow runs when it loads a registered model. Needs `minimind.registry.completion` and what that imports.

MLflow executes a copy of this file and asks it for the model, hence the call in the last line. `predict` carries no
type hints: with them MLflow would replace the signature, and drop the parameters.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from minimind.errors import RequestError
from minimind.model.hugging_face import load_model
from minimind.registry.completion import DEFAULTS, Limits, complete
from minimind.tokenizer.bpe import load_tokenizer


class RefusedRequestError(MlflowException):
    """Answered as 400 with one sentence, and not, as the scoring server would, with the whole request before it."""

    @property
    def message(self) -> str:
        return self._message

    @message.setter
    def message(self, message: str) -> None:
        self._message: str = getattr(self, "_message", message)


class ServedModel(PythonModel):
    """Continues prompts. A text a row, without the prompt; a row with more about it where log-probabilities are asked
    for. A row's text does not depend on the other rows, but for rounding."""

    def load_context(self, context: PythonModelContext) -> None:
        folder = Path(context.artifacts["model"])
        self.limits = Limits(**(context.model_config or {}))
        self.model = load_model(folder, "cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = load_tokenizer(folder)
        pass_parameters_on()

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        try:
            if not isinstance(params or {}, dict):
                raise RequestError(f"params is a {type(params).__name__}; expected names with values")
            made = complete(self.model, self.tokenizer, prompts_of(model_input), params or {}, self.limits)
        except RequestError as error:
            raise RefusedRequestError.invalid_parameter_value(str(error)) from None
        if (params or {}).get("log_probabilities"):
            return [asdict(completion) for completion in made]
        return [completion.text for completion in made]


def prompts_of(model_input: Any) -> Sequence[Any]:
    """The column `prompt`; MLflow makes one row of `{"prompt": ["a", "b"]}`."""
    prompts = list(model_input["prompt"])
    return prompts[0] if len(prompts) == 1 and isinstance(prompts[0], list) else prompts


def pass_parameters_on() -> None:
    """Has MLflow hand parameters of models with this signature to `predict` as they came.

    It would drop those that the signature lacks, with a word in the server's log alone, so that a misspelt parameter
    went unnoticed. Other models' parameters are treated as before. A private function of MLflow: where a later version
    has none of that name, it does as it pleases.
    """
    enforce: Callable[..., Any] | None = getattr(mlflow.pyfunc, "_enforce_params_schema", None)
    if enforce is None or enforce.__name__ == "enforce_unless_ours":
        return

    def enforce_unless_ours(params: Any, schema: Any) -> Any:
        names = {param.name for param in schema.params} if schema else set()
        return params if names == set(DEFAULTS) else enforce(params, schema)

    mlflow.pyfunc._enforce_params_schema = enforce_unless_ours  # type: ignore[attr-defined]


set_model(ServedModel())
