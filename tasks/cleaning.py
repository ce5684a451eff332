"""Raw documents -> clean documents, split into train and holdout."""

from collections.abc import Sequence
from dataclasses import replace

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed

from minimind.cleaning.build import CleaningInputs, build
from minimind.cleaning.database import cores, machine_memory_bytes
from minimind.cleaning.parts import Part, ReportShare, Resources, one_after_another, read_part
from minimind.store import Manifest
from tasks.stage import Run, stage_task

PARTS_AT_ONCE = min(cores(), 4)  # of which each has its share of the cores and of the memory


@stage_task
def cleaning(run: Run) -> Manifest:
    """Removes duplicates and junk, keeps what it removed with the reason, and sets a holdout aside."""
    return build(
        run.config.cleaning, CleaningInputs(run.built["corpus"], Resources(read_parts=side_by_side)), run.store
    )


@task(name="cleaning part", task_run_name="cleaning {part.folder.name}", cache_policy=NO_CACHE, persist_result=False)
def read_one_part(part: Part) -> None:
    """Reads the texts of one partition."""
    read_part(part)


def side_by_side(parts: Sequence[Part], report: ReportShare) -> None:
    """Maps the parts over the flow's task runner, which is to run PARTS_AT_ONCE at the same time."""
    if len(parts) < 2:
        return one_after_another(parts, report)
    threads, memory_bytes = cores() // PARTS_AT_ONCE, machine_memory_bytes() // 2 // PARTS_AT_ONCE
    shared = [replace(part, threads=threads, memory_bytes=memory_bytes) for part in parts]
    futures = list(read_one_part.map(shared))
    for done, _ in enumerate(as_completed(futures), start=1):
        report(done / len(parts), f"partition {done} of {len(parts)}")
    for future in futures:  # only now: what a failed part leaves must not be taken away from those that still run
        future.result()
