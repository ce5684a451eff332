from pathlib import Path

from minimind.config import load_config
from minimind.masking import masked, masked_tree
from minimind.registry.lineage import parameters, resolved_yaml
from minimind.report.views import provenance

SECRET_URL = "https://user:pa55word@host/laws.zip?version=2&token=s3cr3t#top"
SHOWN_URL = "https://***@host/laws.zip?version=2&token=***#top"


def test_secrets_of_urls_are_replaced_and_the_rest_stays() -> None:
    assert masked(SECRET_URL) == SHOWN_URL
    database = "postgresql://u:p@host/db and sqlite:///a/b@c.db"
    assert masked(database) == "postgresql://***@host/db and sqlite:///a/b@c.db"
    assert masked_tree({"files": [{"url": SECRET_URL, "size": 3}]}) == {"files": [{"url": SHOWN_URL, "size": 3}]}


def test_report_and_mlflow_show_a_config_without_its_secrets() -> None:
    source = f"[{{kind: http, name: web, files: [{{url: '{SECRET_URL}'}}]}}]"
    config = load_config(Path("configs/demo.yaml"), [f"corpus.sources={source}"])
    for shown in (str(provenance(config, {})["config"]), resolved_yaml(config), str(parameters(config))):
        assert SHOWN_URL in shown
        assert "pa55word" not in shown
        assert "s3cr3t" not in shown
