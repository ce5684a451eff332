"""`minimind promote` and `minimind rollback`: a person decides which version is in use."""

import json
from pathlib import Path

from flows.settings import store_root, tracking_uri
from minimind.store import Store


def promote(name: str, version: str, option: Path | None, as_json: bool) -> None:
    from minimind.registry import promotion

    root = store_root(option)
    before = promotion.promote(name, version, tracking_uri(root), Store(root, name))
    if as_json:
        print(json.dumps({"name": name, "champion": version, "before": before}))
    else:
        print(f"version {version} of {name} is champion" + (f"; version {before} was until now" if before else ""))


def rollback(name: str, option: Path | None, as_json: bool) -> None:
    from minimind.registry import promotion

    root = store_root(option)
    champion, before = promotion.rollback(name, tracking_uri(root), Store(root, name))
    if as_json:
        print(json.dumps({"name": name, "champion": champion, "before": before}))
    else:
        print(f"version {champion} of {name} is champion again; no run promotes version {before} any more")
