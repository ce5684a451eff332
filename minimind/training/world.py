"""The processes of one training, one a device. Each takes its share of every batch, and all hold the same weights.

They meet in a file of the run folder and talk over the loopback interface; nothing listens on any other.
"""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from minimind.errors import UserError
from minimind.training.inputs import check_shards
from minimind.training.plan import Plan
from minimind.training.process import ExitCode, RunFolder, StopRequest, StopRequestedError

logger = logging.getLogger(__name__)

MEETING_PLACE = "MINIMIND_TRAINING_MEETING_PLACE"  # environment: the file
MEETING_MINUTES = 10  # until a process that does not come is given up


@dataclass(frozen=True)
class World:
    """One process among `count`, or the only one. Every method that talks has to be called by all of them."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def replicate(self, model: nn.Module) -> nn.Module:
        """The model, whose gradients become the mean over the processes where there are several."""
        return model if self.count == 1 else DistributedDataParallel(model, broadcast_buffers=False)

    def accumulating(self, replica: nn.Module, is_last: bool) -> AbstractContextManager[Any]:
        """Around a micro-batch: only the last one of a step sends gradients."""
        return replica.no_sync() if isinstance(replica, DistributedDataParallel) and not is_last else nullcontext()

    def sum(self, tensor: Tensor) -> Tensor:
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor

    def maximum(self, value: float) -> float:
        if self.count == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tensor.item()

    def wait(self) -> None:
        """Until all are here."""
        self.sum(torch.zeros(()))

    def agree(self, values: Mapping[str, str | int]) -> None:
        """Raises UserError where the processes were given different ones."""
        if self.count == 1:
            return
        everyone: list[Any] = [None] * self.count
        dist.all_gather_object(everyone, dict(values))
        for name in values:
            if len(found := {str(one[name]) for one in everyone}) > 1:
                raise UserError(
                    f"the {self.count} training processes differ in their {name}: {', '.join(sorted(found))}"
                )


ALONE = World()


class SharedStop(StopRequest):
    """Asked for by any process, and heard by all at the same check."""

    def __init__(self, own: StopRequest, world: World) -> None:
        super().__init__(own.supervisor)
        self.own, self.world = own, world

    def check(self) -> None:
        if self.world.maximum(float(self.own.is_wanted)) > 0:
            raise StopRequestedError


@contextmanager
def joined(plan: Plan, shards: Path, stop: StopRequest) -> Iterator[tuple[World, StopRequest]]:
    """This process's place among the plan's, and a stop that they share. Raises UserError for data of another plan."""
    check_shards(plan, shards)
    if plan.processes == 1:
        yield ALONE, stop
        return
    rank = int(os.environ["RANK"])
    if plan.device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if plan.device == "cuda" else "gloo",
        init_method=f"file://{os.environ[MEETING_PLACE]}",
        rank=rank,
        world_size=plan.processes,
        timeout=timedelta(minutes=MEETING_MINUTES),
    )
    world = World(rank, plan.processes)
    world.agree({"plan": plan.sha256})
    yield world, SharedStop(stop, world)
    world.wait()


def leave(code: int) -> None:
    """Ends a process that others were joined with, all that it wrote being on disk, and tears nothing down.

    Destroying gloo's group waits for a thread while it holds the interpreter's lock, for which that thread may wait to
    free the last tensor (torch 2.13: seen with 4 processes on 2 cores, which then stay for ever).
    """
    logging.shutdown()
    os._exit(code)


def run_workers(folder: RunFolder, processes: int, arguments: list[str]) -> int:
    """Starts the processes as torchrun does, and returns how they ended: an ExitCode, or 128 and a signal's number."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Neither torchrun nor the processes open a port to meet; a file is enough on one machine.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = "SIGTERM,SIGINT,SIGUSR1"
    places = [folder.path / f"meeting-{os.getpid()}-{kind}" for kind in ("torchrun", "processes")]
    os.environ[MEETING_PLACE] = str(places[1].resolve())
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=str(os.getpid()),
        rdzv_backend="c10d",
        rdzv_endpoint=str(places[0].resolve()),
        rdzv_configs={"store_type": "file"},
        max_restarts=0,
        local_addr="127.0.0.1",
    )
    command = ("-m", "minimind.training", str(folder.path), "--supervisor", str(os.getpid()), *arguments)
    try:
        elastic_launch(config, sys.executable)(*command)
    except ChildFailedError as error:
        return code_of([failure.exitcode for failure in error.failures.values()])
    except SignalException:
        return ExitCode.INTERRUPTED
    finally:
        for place in places:
            place.unlink(missing_ok=True)
    return ExitCode.DONE


def code_of(codes: list[int]) -> int:
    """The one that says most: a process whose neighbour is gone fails too, without a reason of its own."""
    known = [code for code in codes if code in set(ExitCode)]
    signals = [128 - code for code in codes if code < 0]
    return (known + signals + codes)[0]
