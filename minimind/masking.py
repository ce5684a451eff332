"""Secrets in URLs, kept out of messages, logs, manifests, reports and MLflow."""

import re
from typing import Any

USER = re.compile(r"://[^/\s@]+@")
PARAMETER = re.compile(
    r"(?i)([?&][^=&\s]*(?:token|key|secret|password|signature|sig|credential|auth)[^=&\s]*=)[^&#\s'\"]*"
)


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
