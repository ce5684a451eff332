"""A model as MLflow holds it: packed with the code that runs it, and found again by its name."""

import importlib.metadata
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from minimind.digests import LIBRARY, sha256_of_file, sha256_of_json
from minimind.errors import ModelNotFoundError
from minimind.registry.completion import DEFAULTS, Limits
from minimind.registry.tracking import MODEL_TAG, connect, initialise, quieten, refusals_said
from minimind.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import Model, ModelSignature

LIBRARIES = ("torch", "tokenizers", "safetensors", "numpy", "mlflow")
PACKED_CODE = (
    "__init__.py",
    "errors.py",
    "model",
    "registry/__init__.py",
    "registry/completion.py",
    "tokenizer/__init__.py",
    "tokenizer/bpe.py",
)
MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json")
EXPORTED_FILES = (*MODEL_FILES, "generation_config.json", "tokenizer_config.json")
GREATEST_VERSION = 2**31 - 1  # that MLflow's database holds
LOCAL_COPIES = "models"  # folder in the store, for what had to be downloaded


# --- packing ----------------------------------------------------------------------------------------------------------


def save_packaged_model(
    model_folder: Path, destination: Path, description: "Model", beside: Sequence[Path] = ()
) -> None:
    """Writes an MLflow pyfunc folder: code, safetensors, tokenizer, signature, requirements; nothing is pickled.

    `model_folder` has to be called `model`: it keeps its name, as `artifacts/model`. The files `beside` go there, too.
    """
    assert model_folder.name == "model"
    quieten()
    import mlflow.pyfunc
    import pandas as pd  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings(record=True):
        # recorded, hence not shown: MLflow urges to use type hints, which would drop the parameters
        code = _collect_code(Path(temporary))
        mlflow.pyfunc.save_model(
            path=str(destination),
            mlflow_model=description,
            python_model=str(Path(__file__).with_name("served_model.py")),
            artifacts={"model": str(model_folder)},
            code_paths=[str(code)],
            signature=signature(),
            input_example=(pd.DataFrame({"prompt": ["Once upon a time"]}), DEFAULTS),
            model_config=asdict(Limits()),
            pip_requirements=requirements(),
        )
    for file in beside:
        shutil.copyfile(file, destination / "artifacts" / "model" / file.name)


def signature() -> "ModelSignature":
    """In: a column `prompt`, and parameters of the draw with defaults. Out: the continuations.

    A prompt is declared as anything, and has to be a text: of a declared string MLflow would make "5" out of 5 and
    "None" out of null. Out come objects where log-probabilities are asked for; MLflow does not look.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType

    types = {bool: "boolean", int: "long", float: "double", list: "string"}
    parameters = [
        ParamSpec(name, types[type(value)], value, (-1,) if isinstance(value, list) else None)
        for name, value in DEFAULTS.items()
    ]
    return ModelSignature(
        inputs=Schema([ColSpec(AnyType(), "prompt")]),  # type: ignore[no-untyped-call]
        outputs=Schema([ColSpec("string")]),
        params=ParamSchema(parameters),
    )


def requirements() -> list[str]:
    """What the packed code imports, at the versions that run here; `+cpu` and the like are choices of a machine."""
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in LIBRARIES]


def _collect_code(folder: Path) -> Path:
    """A package `minimind` with no more than the served model needs, so that it runs where the project is not."""
    package = folder / "minimind"
    for name in PACKED_CODE:
        source, target = LIBRARY / name, package / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    return package


# --- finding ----------------------------------------------------------------------------------------------------------


def resolve_model(model: str, uri: str, store_root: Path) -> Path:
    """The local folder (config.json, model.safetensors, tokenizer.json) of `models:/NAME@ALIAS`, `models:/NAME/3` or a
    folder. Raises ModelNotFoundError, which says what there is instead, or ServerError."""
    if not model.startswith("models:/"):
        return model_folder(Path(model))
    with opened(uri, store_root) as client:
        return download(client, find_version(client, model), uri, store_root)


def model_folder(folder: Path) -> Path:
    """`folder`, or where an exported model lies inside a build of the training stage or an MLflow model."""
    for candidate in (folder, folder / "model", folder / "artifacts" / "model"):
        if all((candidate / name).is_file() for name in MODEL_FILES):
            return candidate
    missing = [name for name in MODEL_FILES if not (folder / name).is_file()]
    raise ModelNotFoundError(
        f"{folder} is no model folder: {', '.join(missing)} missing; "
        "give models:/NAME@champion, models:/NAME/3 or the folder of an exported model"
    )


def find_version(client: "MlflowClient", model: str) -> "ModelVersion":
    """The version that `models:/NAME@ALIAS` or `models:/NAME/VERSION` means."""
    from mlflow.exceptions import MlflowException

    name, at, alias = model.removeprefix("models:/").partition("@")
    name, slash, number = name.partition("/")
    if not name or bool(at) == bool(slash) or (slash and not number.isdigit()) or (at and not alias):
        raise ModelNotFoundError(f"{model!r} names no version; write models:/NAME@champion or models:/NAME/3")
    if slash and int(number) > GREATEST_VERSION:
        raise ModelNotFoundError(f"{model} does not exist: {what_exists(client, name)}")
    try:
        return client.get_model_version_by_alias(name, alias) if at else client.get_model_version(name, number)
    except MlflowException as error:
        if error.error_code not in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
            raise
        raise ModelNotFoundError(f"{model} does not exist: {what_exists(client, name)}") from error


@contextmanager
def opened(uri: str, store_root: Path) -> Iterator["MlflowClient"]:
    """A client of an MLflow that is there and answers; what it raises within becomes a UserError of one sentence.

    Raises ModelNotFoundError rather than to set up a database.
    """
    if uri.startswith("sqlite:") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise ModelNotFoundError(f"no model is registered in {uri} yet; `minimind run` makes one")
    initialise(uri, store_root)
    with refusals_said(uri):
        yield connect(uri)


def refuse_unknown(client: "MlflowClient", name: str) -> None:
    """Raises ModelNotFoundError unless a model of this name is registered."""
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code not in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
            raise
        raise ModelNotFoundError(f"no model is called {name!r}: {what_exists(client, name)}") from error


def what_exists(client: "MlflowClient", name: str) -> str:
    """In words: the versions and aliases of a name, or the names that there are."""
    versions = sorted(int(version.version) for version in client.search_model_versions(f"name = '{quoted(name)}'"))
    if versions:
        aliases = client.get_registered_model(name).aliases
        said = ", ".join(f"@{alias} (version {version})" for alias, version in sorted(aliases.items()))
        return f"{name} has the versions {', '.join(map(str, versions))} and the aliases {said or 'none'}"
    names = sorted(model.name for model in client.search_registered_models(max_results=20))
    return (
        f"the registered models are {', '.join(names)}"
        if names
        else "no model is registered yet; `minimind run` makes one"
    )


def quoted(name: str) -> str:
    """A name that MLflow's search language reads as one; names that it would not take are no names of models."""
    return "".join(sign for sign in name if sign not in "'\"\\")


def download(client: "MlflowClient", version: "ModelVersion", uri: str, store_root: Path) -> Path:
    """The version's exported folder: in place where MLflow's artifacts are files here, else a copy in the store.

    Raises ModelNotFoundError where files are missing, or are not those that were registered.
    """
    folder = _downloaded(client, version, uri, store_root)
    registered = version.tags.get(MODEL_TAG)
    if registered and digest_of_model(folder) != registered:
        is_copy = folder.is_relative_to(store_root / LOCAL_COPIES)
        mend = "remove that copy, and it is fetched again" if is_copy else "put them back, as from a backup"
        raise ModelNotFoundError(
            f"the files of version {version.version} of {version.name} are not those that were registered ({folder}); "
            f"{mend}"
        )
    return folder


def digest_of_model(folder: Path) -> str:
    """As `lineage.model_digest` has it of the training's manifest."""
    there = [name for name in EXPORTED_FILES if (folder / name).is_file()]
    return sha256_of_json({f"model/{name}": sha256_of_file(folder / name) for name in there})


def _downloaded(client: "MlflowClient", version: "ModelVersion", uri: str, store_root: Path) -> Path:
    from mlflow.artifacts import download_artifacts

    address = f"{client.get_model_version_download_uri(version.name, version.version)}/artifacts/model"
    local = Path(address.removeprefix("file://"))
    if local.is_absolute():
        return model_folder(local)
    kept = store_root / LOCAL_COPIES / f"{version.name}-{version.version}-{sha256_of_json(address)[:8]}"
    with Store(store_root, "").lock(f"download-{kept.name}"):
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".") as temporary:
                got = download_artifacts(artifact_uri=address, dst_path=temporary, tracking_uri=uri)
                Path(got).rename(kept)
    return model_folder(kept)
