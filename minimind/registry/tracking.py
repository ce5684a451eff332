"""MLflow: where it is, whether it answers, and the one run that each retraining has there."""

import logging
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from minimind.errors import DiskFullError, ServerError, ServerUnreachableError, UserError
from minimind.masking import masked
from minimind.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

Found = TypeVar("Found")

# Read by MLflow when it is imported, so it is imported nowhere in this package before `quieten` was called.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",  # else a uv.lock in the current folder is packed into every model
}
QUICK_REQUESTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}  # seconds
DATABASES = ("postgresql", "mysql", "mssql")
NO_ANSWER = (
    "Connection refused", "Connection aborted", "Connection reset", "timed out", "name resolution",
    "Name or service not known", "Max retries exceeded", "TEMPORARILY_UNAVAILABLE",
)  # fmt: skip
FINGERPRINT_TAG = "minimind.training_fingerprint"
DOMAIN_TAG = "minimind.domain"
MODEL_TAG = "minimind.model_sha256"  # of a version: of the files that answer
DATABASE_LOCK = "mlflow-database"


# --- the address ------------------------------------------------------------------------------------------------------


def tracking_uri(store_root: Path, environ: Mapping[str, str]) -> str:
    """MLFLOW_TRACKING_URI where it is set, else the SQLite database in the store; SQLite paths are made absolute."""
    given = environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not given:
        return f"sqlite:///{store_root.resolve() / 'mlflow.db'}"
    if given.startswith("sqlite:///") and given != "sqlite:///:memory:":
        return f"sqlite:///{Path(given.removeprefix('sqlite:///')).resolve()}"
    return given


def quieten() -> None:
    """Sets what MLflow reads when it is imported: no telemetry, no chatter. What is set already stays."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # prints tracebacks of what is said in words


def connect(uri: str) -> "MlflowClient":
    quieten()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def if_there(ask: Callable[[], Found]) -> Found | None:
    """What MLflow answers; None where it says that there is no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def run_of(client: "MlflowClient", version: "ModelVersion") -> "Run | None":
    """The run that made a version; None where it was purged."""
    run_id = version.run_id
    return if_there(lambda: client.get_run(run_id)) if run_id else None


def figures_of(client: "MlflowClient", version: "ModelVersion") -> dict[str, float]:
    """The figures of a version's own evaluation and training, as its run has them; none where the run is gone."""
    run = run_of(client, version)
    return dict(run.data.metrics) if run else {}


def outages() -> tuple[type[Exception], ...]:
    """What a call of MLflow may raise when the server is away or refuses."""
    quieten()
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, RequestException, SQLAlchemyError)


# --- the check at the start -------------------------------------------------------------------------------------------


def initialise(uri: str, store_root: Path) -> None:
    """Makes sure that MLflow answers at `uri`; a SQLite database that is not there yet is made, whole or not at all.

    To be called once per run, before anything is built. Raises ServerError within seconds.
    """
    quieten()
    scheme = uri.partition(":")[0].partition("+")[0]
    with Store(store_root, "").lock(DATABASE_LOCK):  # processes that set up one fresh database together break it
        if scheme == "sqlite":
            with refusals_said(uri):
                _prepare_sqlite(uri)
        elif scheme in DATABASES:
            _check_database(uri)
        elif scheme not in ("http", "https"):
            raise ServerError(
                f"MLFLOW_TRACKING_URI is {masked(uri)!r}; expected http(s)://HOST:PORT, sqlite:///PATH or "
                "postgresql://...; set it to one of these, or unset it to keep everything in the store"
            )
        with quick_requests(), refusals_said(uri):
            connect(uri).search_experiments(max_results=1)


def _prepare_sqlite(uri: str) -> None:
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or path.name in ("", ":memory:"):
        raise ServerError(
            f"MLFLOW_TRACKING_URI is {uri!r}, a database in memory that no other process sees; "
            "set it to sqlite:///PATH, or unset it to use the database in the store"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _create_sqlite(path)
        with closing(sqlite3.connect(path, timeout=20, isolation_level=None)) as connection:
            connection.execute("begin immediate")  # fails where the file is no database or may not be written
            connection.execute("rollback")
    except (OSError, sqlite3.Error) as error:
        raise as_user_error(uri, error) from error


def _create_sqlite(path: Path) -> None:
    """Sets the tables up in a file beside `path` and renames it: a kill in between leaves no half database."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    building = path.with_name(f".building-{path.name}")
    building.unlink(missing_ok=True)
    SqlAlchemyStore(f"sqlite:///{building}", str(path.parent / "mlflow-artifacts")).engine.dispose()  # type: ignore[no-untyped-call]
    building.rename(path)


def _check_database(uri: str) -> None:
    """MLflow itself retries a database that does not answer for more than a minute."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    seconds = "timeout" if uri.startswith("mssql") else "connect_timeout"
    try:
        engine = create_engine(uri, connect_args={seconds: 5})
        with engine.connect():
            pass
        engine.dispose()
    except (SQLAlchemyError, ModuleNotFoundError, ValueError) as error:
        raise as_user_error(uri, error) from error


@contextmanager
def quick_requests() -> Iterator[None]:
    """Within, an HTTP request gives up after 5 seconds, and is not repeated for minutes as MLflow's default has it."""
    earlier = {name: os.environ.get(name) for name in QUICK_REQUESTS}
    os.environ.update(QUICK_REQUESTS)
    try:
        yield
    finally:
        for name, value in earlier.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def refusals_said(uri: str) -> Iterator[None]:
    """Turns what MLflow's client raises into a ServerError (or DiskFullError) with one sentence."""
    try:
        yield
    except outages() as error:
        raise as_user_error(uri, error) from error


def as_user_error(uri: str, error: Exception) -> UserError:
    if "disk is full" in str(error) or "No space left" in str(error):
        return DiskFullError(f"the disk that holds {masked(uri)} is full; free some space and run again")
    if uri.startswith("sqlite:"):
        return ServerError(
            f"the MLflow database {uri.removeprefix('sqlite:///')} cannot be used: {problem_in_words(error)}; "
            "mend it or move it away, or set MLFLOW_TRACKING_URI to another one"
        )
    kind = ServerUnreachableError if any(words in str(error) for words in NO_ANSWER) else ServerError
    return kind(
        f"MLflow at {masked(uri)} does not answer as it should: {problem_in_words(error)}; start it (`make up`), "
        "set MLFLOW_TRACKING_URI to a server that runs, or unset it to use the database in the store"
    )


def problem_in_words(error: Exception) -> str:
    text = " ".join(str(error).split())
    known = {
        "Connection refused": "nothing listens there (connection refused)",
        "timed out": "no answer in time (timed out)",
        "Name or service not known": "the host's name is unknown",
        "name resolution": "the host's name is unknown",
        "out-of-date database schema": "its tables are of another MLflow version (`mlflow db upgrade` moves them)",
        "Can't locate revision": "its tables are of a newer MLflow version; upgrade this installation",
    }
    found = next((words for part, words in known.items() if part in text), None)
    return found or masked(text if len(text) <= 300 else text[:297] + "...")


# --- experiments and runs ---------------------------------------------------------------------------------------------


def find_experiment(client: "MlflowClient", name: str, uri: str, store: Store) -> str:
    """The id of the experiment, made where it is missing. With a bare database its artifacts lie in the store."""
    quieten()
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        folder = None if uri.startswith("http") else str(store.root.resolve() / "mlflow-artifacts" / _as_folder(name))
        try:
            return str(client.create_experiment(name, artifact_location=folder))
        except MlflowException:
            experiment = client.get_experiment_by_name(name)  # another run was faster
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        raise ServerError(
            f"the MLflow experiment {name!r} was deleted; bring it back "
            f"(`mlflow experiments restore -x {experiment.experiment_id}`) or name another in registry.experiment"
        )
    return str(experiment.experiment_id)


def _as_folder(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)


def find_run(client: "MlflowClient", experiment_id: str, domain: str, training_fingerprint: str) -> str | None:
    """The id of a domain's run of a retraining; the oldest, should there be several.

    Two domains may share a training and an experiment. A run says of one what it was made from and who decided.
    """
    runs = client.search_runs(
        [experiment_id],
        filter_string=f"tags.`{FINGERPRINT_TAG}` = '{training_fingerprint}' and tags.`{DOMAIN_TAG}` = '{domain}'",
        max_results=1,
        order_by=["attributes.start_time ASC"],
    )
    return str(runs[0].info.run_id) if runs else None


def find_or_create_run(
    client: "MlflowClient", store: Store, experiment: str, uri: str, training_fingerprint: str
) -> str:
    """The id of the one run of a retraining."""
    with store.lock(f"mlflow-run-{training_fingerprint}"):
        experiment_id = find_experiment(client, experiment, uri, store)
        found = find_run(client, experiment_id, store.domain, training_fingerprint)
        if found:
            return found
        run = client.create_run(
            experiment_id,
            tags={FINGERPRINT_TAG: training_fingerprint, DOMAIN_TAG: store.domain},
            run_name=f"{store.domain}-{training_fingerprint[:8]}",
        )
        return str(run.info.run_id)


def log_report(uri: str, run_id: str, report: Path) -> str | None:
    """Attaches the page to the run as report.html; an earlier one is replaced.

    The address of the run's artifacts in MLflow's pages; None where MLflow is a bare database.
    """
    with refusals_said(uri):
        client = connect(uri)
        client.log_text(run_id, report.read_text(), "report.html")
        return artifacts_address(client, uri, run_id)


def artifacts_address(client: "MlflowClient", uri: str, run_id: str) -> str | None:
    """Of a run's artifacts in MLflow's pages; None where MLflow is a bare database."""
    if not uri.startswith("http"):
        return None
    experiment_id = client.get_run(run_id).info.experiment_id
    return f"{masked(uri).rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}/artifacts"
