"""What a failed run says of itself."""

import logging

import httpx
import pytest

from flows.failures import as_state
from minimind.errors import SourceError


@pytest.mark.parametrize(
    ("error", "said", "has_traceback"),
    [
        (SourceError("nothing is there; put it back"), "cleaning: nothing is there; put it back", False),
        (
            httpx.ConnectError("[Errno 111] Connection refused"),
            "cleaning: Prefect's server went away ([Errno 111] Connection refused).\nRun it again: finished stages are "
            "kept.",
            False,
        ),
        (KeyError("a"), "cleaning: KeyError: 'a'\nThis is no mistake in the config", True),
    ],
    ids=["mistake", "server", "defect"],
)
def test_failure_is_a_sentence_and_only_a_defect_has_its_traceback_in_the_log(
    error: Exception, said: str, has_traceback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="minimind.flows"):
        state = as_state(error, "cleaning")
    assert str(state.message).startswith(said)
    assert any(record.exc_info for record in caplog.records) == has_traceback
