"""Tries again what a passing failure of network or server has stopped, with longer and longer waits."""

import logging
import random
from collections.abc import Callable
from typing import TypeVar

import httpx

from minimind.corpus.answers import RetryableError
from minimind.corpus.parallel import Transfers
from minimind.errors import SourceError, SourceUnreachableError
from minimind.masking import masked

logger = logging.getLogger(__name__)

RETRY_DELAYS = (1.0, 2.0, 4.0, 8.0)  # seconds between tries, give or take half
BROUGHT_ON_BYTES = 4 << 20
MAX_WAIT_SECONDS = 120.0  # of a Retry-After
TIMEOUT_SECONDS = 30.0  # without a byte
Result = TypeVar("Result")


def with_retries(
    shown: str, once: Callable[[], Result], transfers: Transfers, arrived: Callable[[], int] = lambda: 0
) -> Result:
    """What `once` gives at the first try that meets no passing failure; raises SourceError when none is left.

    A try that brought the file on (`arrived`, in bytes) does not count, so that a large one outlasts many failures.
    """
    tries, most = 0, arrived()
    while True:
        asked = 0.0
        try:
            return once()
        except RetryableError as error:
            problem, asked = str(error), error.wait_seconds
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            problem = in_words(error)
            if isinstance(error, httpx.UnsupportedProtocol) or not isinstance(error, httpx.TransportError):
                raise SourceError(f"{shown} cannot be read: {problem}; check the URL") from None
        if asked > MAX_WAIT_SECONDS:
            raise SourceUnreachableError(
                f"{shown} cannot be read: {problem} and wants to be left alone for {asked:,.0f} s; run again then"
            )
        if arrived() - most >= BROUGHT_ON_BYTES:
            tries, most = 0, arrived()
        if tries == len(RETRY_DELAYS):
            break
        seconds = max(RETRY_DELAYS[tries] * random.uniform(0.5, 1.5), asked)
        logger.warning("%s: %s; trying again in %.1f s", shown, problem, seconds)
        transfers.sleep(seconds)
        tries += 1
    raise SourceUnreachableError(
        f"{shown} cannot be read: {problem} ({len(RETRY_DELAYS) + 1} tries); "
        "check the network and the server, and run again: what has arrived is kept"
    )


def in_words(error: Exception) -> str:
    if isinstance(error, httpx.ReadTimeout):
        return f"it sent nothing for {TIMEOUT_SECONDS:g} s"
    return masked(str(error)) or type(error).__name__
