"""What the commands ask of a Prefect server, over HTTP: to import Prefect's own client takes longer than all of it."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from minimind.errors import ServerError
from minimind.masking import masked

WORK_POOL = "local"
GPU_SLOT = "gpu0"
ENDED = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]
UNDER_WAY = ["RUNNING", "PENDING", "CANCELLING"]


@dataclass(frozen=True)
class PrefectApi:
    """A server's API. Its methods raise httpx.HTTPError for no answer and for a refusal, unless they say otherwise."""

    url: str
    auth_string: str = ""  # user:password, where the server asks for them

    @classmethod
    def of(cls, url: str, environment: Mapping[str, str]) -> "PrefectApi":
        return cls(url.rstrip("/"), environment.get("PREFECT_API_AUTH_STRING", ""))

    def client(self, timeout: float = 10) -> AbstractContextManager[httpx.Client]:
        user, _, password = self.auth_string.partition(":")
        auth = (user, password) if self.auth_string else None
        return httpx.Client(base_url=self.url, timeout=timeout, trust_env=False, auth=auth)

    @contextmanager
    def client_of_command(self) -> Iterator[httpx.Client]:
        """For what has to be done. Raises ServerError where the server does not answer, or refuses."""
        try:
            with self.client(timeout=30) as client:
                yield client
        except httpx.HTTPStatusError as error:
            said = f"{error.response.status_code}: {error.response.text[:500]}"
            raise ServerError(f"Prefect at {masked(self.url)} refuses {error.request.url.path} ({said})") from error
        except httpx.TransportError as error:
            raise ServerError(
                f"Prefect at {masked(self.url)} does not answer ({error}); start it, or correct the URL"
            ) from error

    def post(self, path: str, body: object) -> Any:
        with self.client() as client:
            answer = client.post(path, json=body).raise_for_status()
            return answer.json() if answer.content else None

    def runs(self, states: list[str], sort: str, limit: int = 200, **filters: object) -> list[dict[str, Any]]:
        """Flow runs in one of the states, by Prefect's name of an order."""
        wanted = {"flow_runs": {"state": {"type": {"any_": states}}} | filters}
        return list(self.post("/flow_runs/filter", wanted | {"sort": sort, "limit": limit}))

    def runs_under_way(self) -> list[dict[str, Any]]:
        return self.runs(UNDER_WAY, "START_TIME_ASC")

    def last_run(self, deployment_id: str) -> dict[str, Any] | None:
        """The newest that has ended, but for those that the deployment's limit refused: cancelled, and never run."""
        of_it = {"any_": [deployment_id]}
        ended = self.runs([state for state in ENDED if state != "CANCELLED"], "END_TIME_DESC", 1, deployment_id=of_it)
        cancelled = self.runs(["CANCELLED"], "END_TIME_DESC", deployment_id=of_it)
        ended += [run for run in cancelled if run["run_count"]]
        return max(ended, key=lambda run: datetime.fromisoformat(run["end_time"]), default=None)

    def stages_of(self, run_ids: list[str]) -> dict[str, str]:
        """Flow run -> the name of the task that it is in."""
        if not run_ids:
            return {}
        wanted = {"task_runs": {"state": {"type": {"any_": ["RUNNING"]}}}, "flow_runs": {"id": {"any_": run_ids}}}
        tasks = self.post("/task_runs/filter", wanted | {"sort": "EXPECTED_START_TIME_ASC"})
        return {task["flow_run_id"]: task["name"] for task in tasks}

    def deployments(self) -> list[dict[str, Any]]:
        return list(self.post("/deployments/filter", {"sort": "NAME_ASC"}))

    def limits(self) -> list[dict[str, Any]]:
        """Global concurrency limits: name, limit, active_slots."""
        return list(self.post("/v2/concurrency_limits/filter", {}))

    def has_worker(self, name: str) -> bool:
        """Whether this worker of our pool is alive, as far as the server knows: it was heard of within 90 seconds."""
        try:
            rows = self.post(f"/work_pools/{WORK_POOL}/workers/filter", {})
        except (httpx.HTTPError, ValueError):
            return False
        return any(row["name"] == name and row["status"] == "ONLINE" for row in rows)

    def forget_worker(self, name: str) -> None:
        """Has the server know of this worker only what it says from now on.

        Raises ServerError where the server does not answer, or refuses.
        """
        with self.client_of_command() as client:
            answer = client.delete(f"/work_pools/{WORK_POOL}/workers/{name}")
            if answer.status_code != httpx.codes.NOT_FOUND:
                answer.raise_for_status()

    def ensure_limit(self, name: str, slots: int) -> None:
        """Makes a global concurrency limit where there is none; one that somebody has changed stays as it is.

        Raises ServerError where the server does not answer, or refuses.
        """
        with self.client_of_command() as client:
            found = client.get(f"/v2/concurrency_limits/{name}")
            if found.status_code == httpx.codes.NOT_FOUND:
                found = client.post("/v2/concurrency_limits/", json={"name": name, "limit": slots})
            found.raise_for_status()
