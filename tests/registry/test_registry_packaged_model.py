import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow.models import Model
from mlflow_process import mlflow_process

from minimind.errors import ModelNotFoundError
from minimind.model.generate import stream
from minimind.model.hugging_face import load_model
from minimind.registry.packaged_model import model_folder, save_packaged_model
from minimind.tokenizer.bpe import load_tokenizer

PARAMETERS = {"max_new_tokens": 12, "temperature": 0.7, "top_p": 0.9, "seed": 5}


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory, model_folders: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "model"
    save_packaged_model(model_folders["40"], folder, Model())
    return folder


def continuation(folder: Path, prompt: str, **options: Any) -> str:
    tokenizer = load_tokenizer(folder)
    return str(tokenizer.decode(list(stream(load_model(folder), [0, *tokenizer.encode(prompt).ids], **options))))


def test_packed_model_holds_no_pickle_and_small_pinned_requirements(packed: Path) -> None:
    names = {path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file()}
    assert {"artifacts/model/model.safetensors", "artifacts/model/tokenizer.json", "served_model.py"} <= names
    assert not [name for name in names if re.search(r"\.(pkl|pickle|pt|bin)$|__pycache__", name)]
    requirements = (packed / "requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in requirements] == [
        "torch",
        "tokenizers",
        "safetensors",
        "numpy",
        "mlflow",
    ]
    assert all(re.fullmatch(r"[a-z]+==[\d.]+", line) for line in requirements)


def test_files_beside_the_model_travel_with_it(tmp_path: Path, model_folders: dict[str, Path]) -> None:
    """Such as the 13-grams of its training text."""
    grams = tmp_path / "training_13_grams.parquet"
    grams.write_bytes(b"grams")
    save_packaged_model(model_folders["40"], tmp_path / "packed", Model(), [grams])
    folder = model_folder(tmp_path / "packed")
    assert (folder / grams.name).read_bytes() == b"grams"
    assert (folder / "model.safetensors").read_bytes() == (model_folders["40"] / "model.safetensors").read_bytes()


def test_signature_names_prompt_and_parameters(packed: Path) -> None:
    signature = Model.load(str(packed)).signature.to_dict()
    assert json.loads(signature["inputs"]) == [{"type": "string", "name": "prompt", "required": True}]
    parameters = {entry["name"]: entry["default"] for entry in json.loads(signature["params"])}
    assert parameters == {"max_new_tokens": 128, "temperature": 0.8, "top_p": 0.95, "seed": 0}


def test_packed_code_runs_where_the_project_is_not_installed(packed: Path, tmp_path: Path) -> None:
    """An import of anything of `minimind` that was not packed fails here."""
    code = """
import sys
from pathlib import Path
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
sys.path = [path for path in sys.path if not (Path(path) / "minimind").exists()]
try:
    import minimind
except ImportError:
    import mlflow.pyfunc, pandas
    model = mlflow.pyfunc.load_model(sys.argv[1])
    print(model.predict(pandas.DataFrame({"prompt": ["bade"]}), params={"max_new_tokens": 3}))
    assert "minimind.store" not in sys.modules
else:
    sys.exit("still there: " + minimind.__file__)
"""
    command = [sys.executable, "-W", "ignore", "-c", code, str(packed)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def served(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`mlflow models serve` on a free port, with pickle forbidden."""
    arguments = ["models", "serve", "-m", str(packed), "--env-manager", "local", "--workers", "1"]
    with mlflow_process(arguments, tmp_path_factory.mktemp("serve") / "log") as server:
        yield f"{server.url}/invocations"


def test_served_model_answers_in_both_formats_with_parameters(served: str, model_folders: dict[str, Path]) -> None:
    prompts = ["bade ", "fu"]
    wanted = [continuation(model_folders["40"], prompt, **PARAMETERS) for prompt in prompts]
    split = {"dataframe_split": {"columns": ["prompt"], "data": [["bade "], ["fu"]]}, "params": PARAMETERS}
    by_name = {"inputs": {"prompt": prompts}, "params": PARAMETERS}
    for body in (split, by_name):
        answer = httpx.post(served, json=body, timeout=30)
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"predictions": wanted}
    other = httpx.post(served, json=split | {"params": PARAMETERS | {"seed": 6}}, timeout=30)
    assert other.json() != {"predictions": wanted}
    greedy = {"max_new_tokens": 4, "temperature": 0.0, "top_p": 0.95, "seed": 0}
    assert httpx.post(
        served, json=by_name | {"params": {"max_new_tokens": 4, "temperature": 0.0}}, timeout=30
    ).json() == {"predictions": [continuation(model_folders["40"], prompt, **greedy) for prompt in ("bade ", "fu")]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"inputs": {"text": ["a"]}}, "prompt"),
        ({"dataframe_split": {"columns": ["prompt"], "data": [["a"], [None]]}}, "every row has to hold a text"),
        ({"inputs": {"prompt": ["a"]}, "params": {"temperature": -1.0}}, "temperature is -1; expected 0"),
        ({"inputs": {"prompt": ["a"]}, "params": {"top_p": 0.0, "seed": -2}}, "top_p is 0; expected more than 0"),
        ({"inputs": {"prompt": ["a"]}, "params": {"max_new_tokens": "many"}}, "max_new_tokens"),
        ({"nothing": 1}, "inputs"),
    ],
)
def test_wrong_input_is_answered_with_a_sentence(served: str, body: dict[str, Any], said: str) -> None:
    answer = httpx.post(served, json=body, timeout=30)
    assert 400 <= answer.status_code < 500, answer.text
    assert said in answer.text


def test_model_folder_is_found_inside_a_build_and_a_package(packed: Path, model_folders: dict[str, Path]) -> None:
    assert model_folder(packed) == packed / "artifacts" / "model"
    assert model_folder(model_folders["0"]) == model_folders["0"]
    with pytest.raises(ModelNotFoundError, match=r"model\.safetensors"):
        model_folder(packed.parent)
