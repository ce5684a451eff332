"""The small domain, cleaned once by the command itself."""

import json

import pytest
import yaml
from audited import DEMO, PERMISSIVE, Domain, documents

from minimind.config import load_config


@pytest.fixture(scope="session")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Domain:
    folder = tmp_path_factory.mktemp("laws")
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in documents()))
    config = load_config(DEMO, PERMISSIVE, [str(folder / "texts.jsonl")])
    (folder / "laws.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    uncleaned = Domain(folder / "laws.yaml", folder / "store", "")
    code, out, _ = uncleaned.run("clean", str(uncleaned.config))
    assert code == 0
    return Domain(uncleaned.config, uncleaned.root, out)
