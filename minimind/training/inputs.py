"""Whether the files that a training process was given are those of its plan."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from minimind.errors import UserError
from minimind.shards.reader import ShardReader
from minimind.training.plan import Plan


def check_shards(plan: Plan, folder: Path) -> None:
    """Raises UserError for a file that is not the plan's, and for a token id that its model does not know."""
    check_files(folder, plan.shards)
    for split in ("train", "holdout"):
        reader = ShardReader(folder, split)
        largest = max(int(reader.flat(file).max()) for file in range(reader.files))
        if largest >= plan.model.vocabulary_size:
            raise UserError(
                f"the {split} shards in {folder} have the token id {largest:,}, and the model's vocabulary "
                f"{plan.model.vocabulary_size:,} tokens; make the shards with the model's tokenizer"
            )


def check_files(folder: Path, files: Mapping[str, str]) -> None:
    """`files` is name -> sha256. Raises UserError for another one: processes must not differ in data or weights."""
    for name, sha256 in files.items():
        try:
            with (folder / name).open("rb") as handle:
                found = hashlib.file_digest(handle, "sha256").hexdigest()
        except FileNotFoundError:
            raise UserError(f"{folder / name} is missing, and the plan was made for it") from None
        if found != sha256:
            raise UserError(f"{folder / name} is not the file that the plan was made for (its sha256 is {found[:12]}…)")
