from collections.abc import Callable

import pytest
import yaml
from domain import Domain, small_config, write_corpus


@pytest.fixture(scope="session")
def make_domain(
    tmp_path_factory: pytest.TempPathFactory, sentences: Callable[[int, int], str]
) -> Callable[..., Domain]:
    def make(name: str = "small", documents: int = 120) -> Domain:
        folder = tmp_path_factory.mktemp(name)
        corpus = folder / "texts.jsonl"
        write_corpus(corpus, sentences, documents)
        config = folder / f"{name}.yaml"
        config.write_text(yaml.safe_dump(small_config(name, corpus)))
        return Domain(config, corpus, folder / "store")

    return make
