"""Who is told when something goes wrong, and what a vanished run becomes: automations of a Prefect server.

They look only at runs with the tag of our deployments. Prefect calls a killed flow crashed if its worker lives; of one
that went down with its worker it hears nothing more, so a run without a heartbeat is called crashed here, and told as
such. docs/scheduling.md has the table.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flows.prefect_yaml import TAG
from minimind.errors import UserError

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import AutomationCore

PREFIX = "minimind: "
BLOCK = "minimind-notify"
HEARTBEAT_WITHIN = timedelta(seconds=90)  # a run sends one every PREFECT_FLOWS_HEARTBEAT_FREQUENCY, which is 30 s here
STARTED_WITHIN = timedelta(minutes=10)  # of the moment for which a run was planned, and of being taken by a worker
EVENT = "prefect.flow-run."
OURS = {"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"}
ENDED = ("Completed", "Failed", "Crashed", "Cancelled", "Cancelling")

NO_ADDRESS = (
    "no address and no notification block of this server; write https://..., "
    "mailto://user:password@host?to=someone@host, or TYPE/NAME of a block, such as slack-webhook/team"
)
RUN = "\n\n{{ flow_run|ui_url }}"
NAME = "{{ deployment.name or flow_run.name }}"
FAILED = "{{ flow_run.state.message }}"
CRASHED = (
    "{{ flow_run.labels['minimind.stage'] or 'before the first stage' }}: {{ flow_run.state.message }}\n"
    "The run's process was killed, ran out of memory, or its machine went down; the worker's log and the kernel's say "
    "which. Start the deployment again: finished stages are kept, and a training goes on from its checkpoint."
)
LATE = (
    "before the first stage: planned for {{ flow_run.expected_start_time }}, and no worker has taken it.\n"
    "`minimind status` says whether the worker is up, and `minimind up` starts it; a paused work pool is resumed in "
    "Prefect's pages."
)
REFUSED = (
    "registry: version {{ event.payload.version }} of {{ event.resource['prefect.resource.name'] }} was not promoted: "
    "{{ event.payload.decision.reasons|join('; ') }}\n"
    "The champion stays in use. The run's report has the figures; `minimind promote "
    "{{ event.resource['prefect.resource.name'] }} {{ event.payload.version }}` makes it champion all the same."
)


@dataclass(frozen=True)
class Registered:
    """The names of automations, by what was done."""

    made: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        named = (("made", self.made), ("changed", self.changed), ("removed", self.removed))
        return [f"{word:<9} automations {', '.join(names)}" for word, names in named if names]


def register(notify: str | None) -> Registered:
    """Makes or changes our automations on the server of PREFECT_API_URL; doing it again changes nothing.

    `notify` is an address (http, https, or one of apprise's, such as mailto://user:password@host?to=someone@host), or
    TYPE/NAME of a notification block of that server. Without it, those that tell stay as they are,
    and only those that call vanished runs crashed are seen to. One that a person has switched off stays off. Raises
    UserError.
    """
    from prefect.client.orchestration import get_client

    with settings_of_the_environment(), get_client(sync_client=True) as client:
        wanted = [*(told_to(block_of(client, notify)) if notify else []), *of_vanished_runs()]
        there = {row.name: row for row in client.read_automations() if row.name.startswith(PREFIX)}
        done = Registered()
        for automation in wanted:
            if before := there.get(automation.name):
                automation.enabled = before.enabled
                client.update_automation(before.id, automation)
                done.changed.append(automation.name.removeprefix(PREFIX))
            else:
                client.create_automation(automation)
                done.made.append(automation.name.removeprefix(PREFIX))
        for name in there.keys() - {automation.name for automation in wanted} if notify else ():
            client.delete_automation(there[name].id)
            done.removed.append(name.removeprefix(PREFIX))
    return done


@contextmanager
def settings_of_the_environment() -> Iterator[None]:
    """Prefect reads the environment when it is imported, which may have been before the server's address was set."""
    from prefect.context import use_profile
    from prefect.settings import Profile

    with use_profile(Profile(name="minimind"), include_current_context=False):
        yield


def block_of(client: "SyncPrefectClient", notify: str) -> "UUID":
    """The id of the block that sends: the one named, or one made of the address, which is kept there as a secret."""
    from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
    from prefect.exceptions import ObjectNotFound

    check_address(notify)
    scheme = urlsplit(notify).scheme
    if scheme in ("http", "https"):
        webhook = CustomWebhookNotificationBlock(
            name="minimind", url="{{address}}", json_data={"text": "{{subject}}\n{{body}}"}, secrets={"address": notify}
        )
        return webhook.save(BLOCK, overwrite=True)
    if scheme:
        # of the blocks that every server has, the one that hands any address to apprise as it is
        return SlackWebhook(url=notify).save(BLOCK, overwrite=True)
    kind, _, name = notify.partition("/")
    try:
        return client.read_block_document_by_name(name, kind).id
    except ObjectNotFound:
        raise UserError(f"--notify {notify!r} is {NO_ADDRESS}") from None


def check_address(notify: str) -> None:
    """Raises UserError for what can be no address and no name of a block; which blocks there are, the server knows."""
    from apprise import Apprise

    try:
        parts = urlsplit(notify)
        host = parts.hostname or ""
    except ValueError:
        raise UserError(f"--notify is {NO_ADDRESS}") from None
    if parts.scheme in ("http", "https"):
        if not re.fullmatch(r"[\w.:-]+", host):
            raise UserError(f"--notify begins with {parts.scheme}:// and names no host; write https://HOST/...")
    elif parts.scheme:
        if not Apprise().add(notify):
            page = f"see its page on {parts.scheme}"
            raise UserError(f"--notify begins with {parts.scheme}://, and apprise cannot read the rest; {page}")
    elif "/" not in notify:
        raise UserError(f"--notify {notify!r} is {NO_ADDRESS}")


# --- what they are ----------------------------------------------------------------------------------------------------


def told_to(block: "UUID") -> "list[AutomationCore]":
    """Those that tell somebody, through the block."""
    return [
        told(block, "failed runs", on("Failed", "TimedOut"), f"{NAME} failed", FAILED + RUN),
        told(block, "crashed runs", on("Crashed"), f"{NAME} crashed", CRASHED + RUN),
        told(
            block,
            "late runs",
            without(("Pending", "Running", "Scheduled", "AwaitingConcurrencySlot", *ENDED), "Late", STARTED_WITHIN),
            f"{NAME} is late",
            LATE + RUN,
        ),
        told(
            block,
            "refused models",
            on_event("minimind.model.refused", resource="minimind.model.*"),
            f"{NAME} keeps its champion",
            REFUSED + RUN,
        ),
    ]


def of_vanished_runs() -> "list[AutomationCore]":
    return [
        called_crashed(
            "vanished runs",
            without(("*",), "heartbeat", HEARTBEAT_WITHIN),
            f"no heartbeat for {HEARTBEAT_WITHIN.seconds} s: the run is gone, and the worker with it",
        ),
        called_crashed(
            "runs that do not start",
            without(("Running", "Scheduled", "AwaitingConcurrencySlot", *ENDED), "Pending", STARTED_WITHIN),
            f"a worker took it, and it did not start within {STARTED_WITHIN.seconds // 60} minutes",
        ),
    ]


def told(block: "UUID", name: str, trigger: Any, subject: str, body: str) -> "AutomationCore":
    from prefect.events.actions import SendNotification
    from prefect.events.schemas.automations import AutomationCore

    action = SendNotification(block_document_id=block, subject=f"minimind: {subject}", body=body)
    return AutomationCore(name=f"{PREFIX}{name}", description="Made by minimind", trigger=trigger, actions=[action])


def called_crashed(name: str, trigger: Any, message: str) -> "AutomationCore":
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore

    action = ChangeFlowRunState(state=StateType.CRASHED, message=message)
    return AutomationCore(name=f"{PREFIX}{name}", description="Made by minimind", trigger=trigger, actions=[action])


def on(*states: str) -> Any:
    """A run of ours enters one of the states."""
    return on_event(*(f"{EVENT}{state}" for state in states), resource=f"{EVENT}*")


def on_event(*events: str, resource: str) -> Any:
    from prefect.events.schemas.automations import EventTrigger, Posture

    return EventTrigger(
        expect=set(events), match={"prefect.resource.id": resource}, match_related=OURS, posture=Posture.Reactive
    )


def without(expected: tuple[str, ...], after: str, within: timedelta) -> Any:
    """A run of ours shows none of the expected events within that time after another one."""
    from prefect.events.schemas.automations import EventTrigger, Posture

    return EventTrigger(
        after={f"{EVENT}{after}"},
        expect={f"{EVENT}{name}" for name in expected},
        for_each={"prefect.resource.id"},
        match={"prefect.resource.id": f"{EVENT}*"},
        match_related=OURS,
        posture=Posture.Proactive,
        within=within,
    )
