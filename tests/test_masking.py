from pathlib import Path

import pytest
import yaml

from minimind.config import load_config
from minimind.errors import ConfigError, SourceError
from minimind.masking import masked, masked_tree, with_variables
from minimind.registry.lineage import parameters, resolved_yaml
from minimind.report.views import provenance

SECRET_URL = "https://user:pa55word@host/laws.zip?version=2&token=s3cr3t#top"
SHOWN_URL = "https://***@host/laws.zip?version=2&token=***#top"


def test_secrets_of_urls_are_replaced_and_the_rest_stays() -> None:
    assert masked(SECRET_URL) == SHOWN_URL
    database = "postgresql://u:p@host/db and sqlite:///a/b@c.db"
    assert masked(database) == "postgresql://***@host/db and sqlite:///a/b@c.db"
    assert masked_tree({"files": [{"url": SECRET_URL, "size": 3}]}) == {"files": [{"url": SHOWN_URL, "size": 3}]}


def test_report_and_mlflow_show_a_config_without_its_secrets(tmp_path: Path) -> None:
    tree = yaml.safe_load(Path("configs/demo.yaml").read_text())
    tree["corpus"]["sources"] = [{"kind": "http", "name": "web", "files": [{"url": SECRET_URL}]}]
    (tmp_path / "secret.yaml").write_text(yaml.safe_dump(tree))
    config = load_config(tmp_path / "secret.yaml")
    for shown in (str(provenance(config, {})["config"]), resolved_yaml(config), str(parameters(config))):
        assert SHOWN_URL in shown
        assert "pa55word" not in shown
        assert "s3cr3t" not in shown


@pytest.mark.parametrize(
    "given", ["https://u:pa55word@h/a.txt", "https://pa55word@h/a.git", "https://h/?api_key=pa55word"]
)
def test_secret_in_an_override_or_source_is_refused_without_being_repeated(given: str) -> None:
    override = f"corpus.sources=[{{kind: http, name: web, files: [{{url: '{given}'}}]}}]"
    for overrides, sources in (([override], []), ([], [given])):
        with pytest.raises(ConfigError, match=r"write \$\{NAME\} in its place") as refused:
            load_config(Path("configs/demo.yaml"), overrides, sources)
        assert "pa55word" not in str(refused.value)


@pytest.mark.parametrize("url", ["https://u:${TOKEN}@h/a.txt", "https://h/a.txt?token=${TOKEN}&page=2"])
def test_variable_in_place_of_a_secret_is_taken(url: str) -> None:
    config = load_config(
        Path("configs/demo.yaml"), [f"corpus.sources=[{{kind: http, name: web, files: [{{url: '{url}'}}]}}]"]
    )
    assert url in str(config.corpus.sources)


def test_variables_are_written_as_a_url_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "a/b@c d")
    assert with_variables("https://u:${TOKEN}@h/a?b=1") == "https://u:a%2Fb%40c%20d@h/a?b=1"
    with pytest.raises(SourceError, match="environment variable MISSING, which is not set"):
        with_variables("https://h/a?token=${MISSING}")
