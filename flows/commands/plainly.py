"""How a command ends that cannot do what it was asked."""

import errno
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

from minimind.errors import TrainingInterruptedError, UserError

NOT_PERMITTED = (errno.EACCES, errno.EPERM, errno.EROFS)


def told_plainly(command: Callable[..., None]) -> Callable[..., None]:
    """Shows a UserError as its message alone; an interrupted run ends with 130, as shells expect."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except UserError as error:
            print(f"minimind: {error}", file=sys.stderr)
            raise typer.Exit(2) from None
        except OSError as error:
            if error.errno not in NOT_PERMITTED or error.filename is None:
                raise
            said = f"{error.filename}: {error.strerror}; mend its permissions, or choose another --store"
            print(f"minimind: {said}", file=sys.stderr)
            raise typer.Exit(2) from None
        except (KeyboardInterrupt, TrainingInterruptedError):
            print("minimind: stopped; the same command goes on from here", file=sys.stderr)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from None

    return wrapped
