import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import mlflow.pyfunc
import pandas as pd
import pytest
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import scoring_server
from mlflow_process import mlflow_process
from starlette.testclient import TestClient

from minimind.errors import ModelNotFoundError, RequestError
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
    assert json.loads(signature["inputs"]) == [{"type": "any", "name": "prompt", "required": True}]
    parameters = {entry["name"]: (entry["type"], entry["default"]) for entry in json.loads(signature["params"])}
    assert parameters == {
        "max_new_tokens": ("long", 128),
        "temperature": ("double", 0.8),
        "top_p": ("double", 0.95),
        "seed": ("long", 0),
        "stop": ("string", []),
        "log_probabilities": ("boolean", False),
    }


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

    wrong = httpx.post(served, json=by_name | {"params": {"max_tokens": 4}}, timeout=30)
    assert (wrong.status_code, wrong.json()["message"].partition(";")[0]) == (400, "max_tokens is no parameter")


# --- the scoring server without a process of its own ------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(packed: Path) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))  # MLflow puts the packed code there
        patch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "")  # it sets that
        patch.setattr(mlflow.pyfunc, "_enforce_params_schema", mlflow.pyfunc._enforce_params_schema)
        yield TestClient(scoring_server.init(mlflow.pyfunc.load_model(str(packed), model_config={"max_prompts": 3})))


def answers(client: TestClient, prompts: list[str], **params: Any) -> list[Any]:
    answer = client.post("/invocations", json={"inputs": [{"prompt": text} for text in prompts], "params": params})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["predictions"])


def test_every_form_of_a_batch_gets_the_same_completions(client: TestClient, model_folders: dict[str, Path]) -> None:
    wanted = [continuation(model_folders["40"], prompt, **PARAMETERS) for prompt in ("bade ", "fu", "")]
    bodies: list[dict[str, Any]] = [
        {"inputs": ["bade ", "fu", ""]},
        {"inputs": {"prompt": ["bade ", "fu", ""]}},
        {"inputs": [{"prompt": "bade "}, {"prompt": "fu"}, {"prompt": ""}]},
        {"instances": [{"prompt": "bade "}, {"prompt": "fu"}, {"prompt": ""}]},
        {"dataframe_split": {"columns": ["prompt"], "data": [["bade "], ["fu"], [""]]}},
        {"dataframe_records": [{"prompt": "bade "}, {"prompt": "fu"}, {"prompt": ""}]},
    ]
    for body in bodies:
        answer = client.post("/invocations", json=body | {"params": PARAMETERS})
        assert (answer.status_code, answer.json()) == (200, {"predictions": wanted}), body
    assert answers(client, [], **PARAMETERS) == []


def test_parquet_is_continued_with_the_defaults(client: TestClient, tmp_path: Path) -> None:
    pd.DataFrame({"prompt": ["bade ", "fu"]}).to_parquet(tmp_path / "prompts")
    headers = {"Content-Type": "application/vnd.apache.parquet"}
    answer = client.post("/invocations", content=(tmp_path / "prompts").read_bytes(), headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"predictions": answers(client, ["bade ", "fu"])})


def test_a_text_ends_before_a_stop_text(client: TestClient) -> None:
    whole = answers(client, ["bade"], max_new_tokens=40)[0]
    stops = [whole[20:23], whole[30:32]]
    cut = whole[: min(whole.index(stop) for stop in stops)]
    assert 0 < len(cut) <= 20
    (answer,) = answers(client, ["bade"], max_new_tokens=40, stop=stops, log_probabilities=True)
    assert (answer["text"], answer["finish_reason"]) == (cut, "stop")
    assert "".join(answer["tokens"]).startswith(cut)
    assert not "".join(answer["tokens"][:-1]).startswith(cut)
    assert answers(client, ["bade"], max_new_tokens=40, stop=["never there"]) == [whole]


def test_log_probabilities_come_on_request_and_are_the_models(
    client: TestClient, model_folders: dict[str, Path]
) -> None:
    prompts = ["bade ", "fu"]
    texts = answers(client, prompts, **PARAMETERS)
    given = answers(client, prompts, **PARAMETERS, log_probabilities=True)
    assert [answer["text"] for answer in given] == texts
    tokenizer, model = load_tokenizer(model_folders["40"]), load_model(model_folders["40"])
    for prompt, answer in zip(prompts, given, strict=True):
        assert answer["finish_reason"] == ("length" if len(answer["token_ids"]) == 12 else "stop")
        assert answer["tokens"] == [tokenizer.decode([token]) for token in answer["token_ids"]]
        before = [0, *tokenizer.encode(prompt).ids]
        with torch.inference_mode():
            scores = torch.log_softmax(model(torch.tensor([before + answer["token_ids"]])).double(), dim=-1)[0]
        expected = [scores[len(before) - 1 + place, token].item() for place, token in enumerate(answer["token_ids"])]
        assert answer["log_probabilities"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("inputs", "params", "said"),
    [
        (["a"], {"temperature": -1.0}, "temperature is -1.0; expected 0 (the likeliest token) or more"),
        (["a"], {"temperature": "hot"}, "temperature is 'hot'; expected 0 (the likeliest token) or more"),
        (
            ["a"],
            {"top_p": 0, "seed": -2},
            "top_p is 0; expected more than 0, at most 1; seed is -2; expected a whole number from 0 to 2^63 - 1",
        ),
        (["a"], {"top_p": 1.01}, "top_p is 1.01; expected more than 0, at most 1"),
        (["a"], {"max_new_tokens": -1}, "max_new_tokens is -1; expected a whole number from 1 to 4096"),
        (["a"], {"max_new_tokens": True}, "max_new_tokens is True; expected a whole number from 1 to 4096"),
        (["a"], {"seed": None}, "seed is None; expected a whole number from 0 to 2^63 - 1"),
        (["a"], {"stop": "x"}, "stop is 'x'; expected a list of texts, none of them empty"),
        (["a"], {"stop": [""]}, "stop is ['']; expected a list of texts, none of them empty"),
        (["a"], {"log_probabilities": 5}, "log_probabilities is 5; expected true or false"),
        (
            ["a"],
            {"top_k": 5},
            "top_k is no parameter; there are max_new_tokens, temperature, top_p, seed, stop, log_probabilities",
        ),
        (["a"], [1], "params is a list; expected names with values"),
        (["a", 5], {}, "prompt 2 is 5; expected a text"),
        ([{"prompt": "a"}, {"prompt": None}], {}, "prompt 2 is missing; expected a text"),
        ({"prompt": ["a", ["b"]]}, {}, "prompt 2 is ['b']; expected a text"),
        (["\ud800"], {}, "prompt 1 holds half a character, which is no Unicode; expected a text"),
        (list("abcd"), {}, "4 prompts are more than the 3 of one request; send them in several"),
        (
            ["a", "b c d " * 30],
            {},
            r"prompt 2 has \d+ tokens with the one that begins a document, the model's context holds 64; shorten it",
        ),
    ],
)
def test_wrong_request_is_answered_400_with_a_sentence(client: TestClient, inputs: Any, params: Any, said: str) -> None:
    answer = client.post(
        "/invocations",
        content=json.dumps({"inputs": inputs, "params": params}),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["message"] == said or re.fullmatch(said, answer.json()["message"])


@pytest.mark.parametrize(
    ("body", "said"),
    [({"inputs": [{"text": "a"}]}, "missing inputs ['prompt']"), ({"nothing": 1}, "exactly one of the input fields")],
)
def test_request_without_prompts_is_answered_400_by_mlflow(client: TestClient, body: dict[str, Any], said: str) -> None:
    answer = client.post("/invocations", json=body)
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["message"]


def test_a_prompt_may_fill_the_context(client: TestClient, model_folders: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(model_folders["40"])
    filling = tokenizer.decode(tokenizer.encode("bade fu " * 80).ids[:63])
    assert len(tokenizer.encode(filling).ids) == 63
    assert answers(client, [filling], **PARAMETERS) == [continuation(model_folders["40"], filling, **PARAMETERS)]


@pytest.mark.usefixtures("client")
def test_loaded_model_continues_a_frame_and_refuses_as_the_server_does(
    packed: Path, model_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    model = mlflow.pyfunc.load_model(str(packed), model_config={"rows": 2})
    prompts = ["bade ", "fu", "bade fu"]
    made = model.predict(pd.DataFrame({"prompt": prompts}), params=PARAMETERS)
    assert made == [continuation(model_folders["40"], prompt, **PARAMETERS) for prompt in prompts]
    with pytest.raises(MlflowException, match="top_k is no parameter"):
        model.predict(pd.DataFrame({"prompt": prompts}), params={"top_k": 5})
    with pytest.raises(RequestError, match="max_prompts is 0 in the model's configuration; expected 1 or more"):
        mlflow.pyfunc.load_model(str(packed), model_config={"max_prompts": 0})


def test_model_folder_is_found_inside_a_build_and_a_package(packed: Path, model_folders: dict[str, Path]) -> None:
    assert model_folder(packed) == packed / "artifacts" / "model"
    assert model_folder(model_folders["0"]) == model_folders["0"]
    with pytest.raises(ModelNotFoundError, match=r"model\.safetensors"):
        model_folder(packed.parent)
