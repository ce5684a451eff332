"""Secrets in URLs, kept out of messages, logs, manifests, reports, MLflow and Prefect."""

import os
import re
from typing import Any
from urllib.parse import quote

from minimind.errors import SourceError

USER = re.compile(r"://[^/\s@]+@")
SECRET_NAME = r"[?&][^=&\s]*(?:token|key|secret|password|signature|sig|credential|auth)[^=&\s]*="
PARAMETER = re.compile(rf"(?i)({SECRET_NAME})[^&#\s'\"]*")
VARIABLE = re.compile(r"\$\{(\w+)\}")
# A login or parameter written out; `${NAME}` in its place is none, and the user of an SSH address is no secret.
SECRET = rf"(?i)(?<!ssh)://(?![^/\s@]*\$\{{)[^/\s@]+@|{SECRET_NAME}(?!\$\{{)[^&#\s'\"]+"


def masked(text: str) -> str:
    """The text with user, password and secret-looking parameters of every URL in it replaced by `***`."""
    return PARAMETER.sub(r"\1***", USER.sub("://***@", text))


def masked_tree(tree: Any) -> Any:
    """A tree of dicts and lists with every text in it masked."""
    if isinstance(tree, dict):
        return {key: masked_tree(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [masked_tree(value) for value in tree]
    return masked(tree) if isinstance(tree, str) else tree


def with_variables(url: str) -> str:
    """The URL with each `${NAME}` replaced by that variable of the environment, as a URL writes it.

    To be called where the URL is used and nowhere before, so that nothing but the request holds the value. Raises
    SourceError for one that is not set.
    """

    def value(found: re.Match[str]) -> str:
        if found[1] not in os.environ:
            raise SourceError(
                f"{masked(url)} asks for the environment variable {found[1]}, which is not set; set it where the run "
                "is started (for scheduled runs: where `minimind up` is)"
            )
        return quote(os.environ[found[1]], safe="")

    return VARIABLE.sub(value, url)
