"""Which ledger a cleaning starts from, and what is remembered of each cleaning.

A ledger is a Parquet table of every document ever assigned to train or holdout. `<store>/ledgers/<domain>.jsonl`
records which ledger each cleaning left, and `<store>/ledgers/<sha256>.parquet` keeps the ledgers themselves, so that
pruning a build loses none.

A cleaning starts, for each of its sources, from the ledger of the last record of another corpus that has the source.
Repeating a run therefore starts from the same ledger and changes nothing, and going back to an earlier corpus starts
from all that was decided since. What was read in place of a domain's sources decides nothing about them: a document's
id begins with its source, so that a ledger of other sources names none of its documents. Where sources that were
cleaned apart come together, their ledgers become one.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from minimind.config import SplitConfig
from minimind.digests import sha256_of_file, sha256_of_json
from minimind.durable import put_in_place, write_whole
from minimind.errors import LedgerError
from minimind.store import Manifest, Store

LEDGER = "ledger.parquet"
LEDGER_ROWS = pa.schema([("document_id", pa.string()), ("split", pa.string())])


class LedgerRecord(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    corpus: str  # digest of the raw documents
    cleaning: str  # fingerprint of the build that read them
    ledger: str  # sha256 of the ledger that it left
    sources: list[str] | None = None  # names of the corpus's; None in records of earlier versions: any


def split_parameters(section: SplitConfig) -> dict[str, Any]:
    """The named parameters of the SQL files about the split."""
    return section.model_dump()


def corpus_digest(document_files: Mapping[str, str]) -> str:
    """One digest for the contents of all document files, given as name -> sha256."""
    return sha256_of_json(dict(document_files))


def previous_ledger(store: Store, corpus: str, sources: Sequence[str]) -> str | None:
    """The sha256 of the ledger that earlier cleanings of other corpora left for these sources; None without one."""
    last: dict[str, str] = {}
    for record in read_records(store):
        if record.corpus != corpus:
            named = sources if record.sources is None else set(sources).intersection(record.sources)
            last |= dict.fromkeys(named, record.ledger)
    ledgers = sorted(set(last.values()))
    return united_ledger(store, ledgers) if len(ledgers) > 1 else next(iter(ledgers), None)


def united_ledger(store: Store, ledgers: Sequence[str]) -> str:
    """The sha256 of a ledger of all documents of these, kept beside them; the same bytes for the same ledgers.

    They do not disagree about a document; if they did, one that was ever held out would stay so.
    """
    rows = pa.concat_tables(pq.read_table(ledger_path(store, ledger), schema=LEDGER_ROWS) for ledger in ledgers)
    united = rows.group_by("document_id").aggregate([("split", "min")]).sort_by("document_id")
    partial = store.root / "ledgers" / f"{store.domain}.united"
    pq.write_table(united.rename_columns(LEDGER_ROWS.names), partial, compression="zstd")
    ledger = sha256_of_file(partial)
    put_in_place(partial, store.root / "ledgers" / f"{ledger}.parquet")
    return ledger


def ledger_path(store: Store, sha256: str) -> Path:
    """The kept ledger with that digest. Raises LedgerError if it is gone or changed."""
    path = store.root / "ledgers" / f"{sha256}.parquet"
    if not path.is_file() or sha256_of_file(path) != sha256:
        raise LedgerError(
            f"{path} is {'damaged' if path.is_file() else 'missing'}, but the split of {store.domain} goes on from it; "
            f"put the file back, or remove {records_path(store)} to split anew: documents that were held out "
            "may then be trained on, and earlier models can no longer be compared"
        )
    return path


def record_ledger(store: Store, corpus: str, sources: Sequence[str], manifest: Manifest) -> None:
    """Keeps the ledger of a published cleaning and appends its record, unless that is the last record already.

    The ledger is on disk before the record that names it, and the records are replaced as a whole: a run that is
    killed in between leaves the old state, and the next run, which reuses the build, records it.
    """
    ledger = manifest.files[LEDGER].sha256
    record = LedgerRecord(corpus=corpus, cleaning=manifest.fingerprint, ledger=ledger, sources=sorted(sources))
    records = read_records(store)
    kept = store.root / "ledgers" / f"{ledger}.parquet"
    if not kept.is_file() or sha256_of_file(kept) != ledger:
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(manifest.file(LEDGER), kept.with_suffix(".partial"))
        put_in_place(kept.with_suffix(".partial"), kept)
    if not records or records[-1] != record:
        lines = "".join(known.model_dump_json() + "\n" for known in [*records, record])
        write_whole(records_path(store), lines)


def read_records(store: Store) -> list[LedgerRecord]:
    """This domain's records, oldest first. Raises LedgerError for a line that is none."""
    path = records_path(store)
    if not path.is_file():
        return []
    try:
        return [LedgerRecord.model_validate_json(line) for line in path.read_text().splitlines()]
    except (ValidationError, UnicodeDecodeError) as error:
        raise LedgerError(
            f"{path} is damaged, but the split of {store.domain} goes on from it; put back a copy, or remove it to "
            "split anew: documents that were held out may then be trained on"
        ) from error


def records_path(store: Store) -> Path:
    return store.root / "ledgers" / f"{store.domain}.jsonl"
