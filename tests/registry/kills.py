"""A kill at a chosen call of MLflow."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from mlflow import MlflowClient


class Killed(BaseException):
    """Stands for SIGKILL: nothing that runs in the process catches it."""


@contextmanager
def killed(moment: str) -> Iterator[None]:
    """Within, the process dies at `before CALL` or `after CALL` of the client."""
    when, call = moment.split()
    original = getattr(MlflowClient, call)

    def deadly(*arguments: Any, **options: Any) -> Any:
        if when == "after":
            original(*arguments, **options)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, call, deadly)
        with pytest.raises(Killed):
            yield
