"""The error tree. What a person can mend is a UserError; everything else is a defect and keeps its traceback."""


class MinimindError(Exception):
    """Root of all errors raised on purpose."""


class UserError(MinimindError):
    """Something the user can change. Shown as its message alone, with exit code 2.

    The message says what was found, what was expected and what to change.
    """


class PassingError(MinimindError):
    """A network or a server did not answer: the same may work in a minute.

    A run that no person waits for tries a stage again for this error, and for no other (`tasks/retries.py`).
    """


class ConfigError(UserError):
    """The YAML or an override is wrong; carries every problem at once."""

    def __init__(self, where: str, problems: list[str]) -> None:
        self.where = where
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{count} in {where}:\n" + "\n".join(f"  - {problem}" for problem in problems))


class SourceError(UserError):
    """A source cannot be read: missing file, wrong checksum, HTTP error, unsafe archive, unreadable lines."""


class SourceUnreachableError(SourceError, PassingError):
    """A source's server did not answer, however often it was asked."""


class CorpusTooSmallError(UserError):
    """The corpus is empty, or too small for what the YAML asks of it."""


class NotComparableError(UserError):
    """No document is left on which models could be compared."""


class LedgerError(UserError):
    """The split ledger that a cleaning goes on from is missing or damaged."""


class DeviceError(UserError):
    """The device or precision that the YAML demands is not there."""


class DivergenceError(UserError):
    """Gradients exploded, or were no numbers any more, step after step; the learning rate was too high."""


class CheckpointError(UserError):
    """A checkpoint belongs to other data or another config."""


class OutOfMemoryError(UserError):
    """The model and its micro-batch do not fit into the device's memory."""


class MemoryLimitError(UserError):
    """A cleaning needs more memory than it may use."""


class DiskFullError(UserError):
    """No space left where the store lies."""


class StoreDamagedError(UserError):
    """A file of the store is not the one that was written."""


class StoreInUseError(UserError):
    """A run uses the store, which is to be pruned."""


class ServerError(UserError):
    """A Prefect or MLflow server cannot be reached, or refuses."""


class ServerUnreachableError(ServerError, PassingError):
    """A Prefect or MLflow server does not answer."""


class WorkersLostError(UserError):
    """Processes that worked on parts of a stage died over and over."""


class BackupError(UserError):
    """A backup cannot be written where it should be, or an archive is none, or damaged."""


class ModelNotFoundError(UserError):
    """No such model, version, alias or folder."""


class RequestError(UserError):
    """A served model is asked for what it does not do; says everything that is wrong."""


class TrainingError(MinimindError):
    """The training process ended without a model; carries the end of its log."""


class TrainingInterruptedError(MinimindError):
    """Training was told to stop, wrote a checkpoint, and can be continued by the next run."""
