from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small import make_documents, write_shard, write_token_bytes


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small products are not worth a second thread, and on a busy machine it makes them wait."""
    torch.set_num_threads(1)


@pytest.fixture
def shards_folder(tmp_path) -> Callable[..., Path]:
    """Makes a folder of shards from one list of documents per train file, and one of the holdout."""

    def make(*files: list[np.ndarray], holdout: list[np.ndarray] | None = None) -> Path:
        folder = tmp_path / "shards"
        folder.mkdir()
        for number, documents in enumerate(files):
            write_shard(folder / f"train-{number:05}.arrow", documents)
        write_shard(folder / "holdout-00000.arrow", holdout or make_documents(9, 5, 40))
        write_token_bytes(folder / "token_bytes.arrow")
        return folder

    return make
