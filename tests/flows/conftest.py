from collections.abc import Callable, Iterator

import pytest
import yaml
from domain import Domain, PrefectServer, small_config, write_corpus

from flows.own_server import own_prefect_server


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


@pytest.fixture(scope="session")
def retrained(make_domain: Callable[..., Domain]) -> Domain:
    """A domain whose runs the tests share."""
    return make_domain("retrained")


@pytest.fixture(scope="package")
def prefect(retrained: Domain) -> Iterator[PrefectServer]:
    """The server that a run of `retrained` would start for itself; held here, each of its runs finds it up.

    It ends with this folder's tests: idle, it takes a tenth of a core from all others.
    """
    from prefect.logging.handlers import APILogHandler

    with own_prefect_server(retrained.store) as url:
        server = PrefectServer(retrained.store, url)
        yield server
        with server.spoken_to():
            APILogHandler().flush()
