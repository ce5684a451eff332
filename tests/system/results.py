"""The table of faults and what came of them, as docs/reliability.md has it."""

import json
import os
from dataclasses import asdict, dataclass

from tests.flows.domain import PROJECT

DATA = PROJECT / "docs" / "benchmarks" / "reliability.json"
PAGE = PROJECT / "docs" / "reliability.md"
WRITE_VARIABLE = "MINIMIND_WRITE_RELIABILITY"  # set by `make test-system`; else the pages stay as they are


@dataclass(frozen=True)
class Result:
    fault: str
    moment: str
    outcome: str  # of the run that it met
    outcome_seconds: float  # from the fault
    recovered_seconds: float | None  # from the fault until a run had finished with the right bytes; None: that one did
    lost: str


class Results:
    def __init__(self) -> None:
        self.found: list[Result] = []

    def add(self, result: Result) -> None:
        print(result)
        self.found.append(result)

    def write(self) -> None:
        """Replaces the rows of the faults that were tried; those of a run of a few tests leave the others alone."""
        if not self.found or not os.environ.get(WRITE_VARIABLE):
            return
        earlier = json.loads(DATA.read_text())["faults"] if DATA.exists() else []
        rows = {(row["fault"], row["moment"]): row for row in earlier}
        rows |= {(result.fault, result.moment): asdict(result) for result in self.found}
        write_part("faults", list(rows.values()), table(list(rows.values())))


def write_part(name: str, data: object, markdown: str) -> None:
    """Puts figures into the JSON, and what is made of them between the page's marks."""
    known = json.loads(DATA.read_text()) if DATA.exists() else {}
    DATA.parent.mkdir(parents=True, exist_ok=True)
    DATA.write_text(json.dumps(known | {name: data}, indent=1) + "\n")
    page = PAGE.read_text()
    begin, end = f"<!-- {name}: made by the suite -->\n", f"<!-- end of {name} -->"
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    assert found, f"{PAGE} has no mark {begin!r} with {end!r} behind it"
    PAGE.write_text(f"{before}{begin}\n{markdown}\n{end}{after}")


def table(rows: list[dict[str, object]]) -> str:
    lines = ["| fault | in the middle of | the run | after | all done after | lost |", "|---|---|---|---|---|---|"]
    for row in rows:
        recovered = row["recovered_seconds"]
        again = f"{recovered:.0f} s" if isinstance(recovered, float) else "the same run"
        seconds = f"{row['outcome_seconds']:.0f} s"
        lines.append(f"| {row['fault']} | {row['moment']} | {row['outcome']} | {seconds} | {again} | {row['lost']} |")
    return "\n".join(lines) + "\n"
