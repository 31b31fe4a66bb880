"""The command line: `trigflow` and `python -m trigflow`.

Commands import what they need when they run: `trigflow --help` loads no server,
no HTTP client and no app.

exit codes    0 ok                          1 something failed
              2 wrong usage or set-up       130 interrupted
of `plan`     0 nothing to do               1 anything failed, wrong usage and set-up, too
              2 something would be done
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from trigflow import __version__
from trigflow.cli import (
    connecting,
    db,
    deliveries,
    demo,
    doctor,
    keys,
    orphans,
    project,
    recovering,
    registrations,
    runs,
    sending,
    serving,
    subscriptions,
)
from trigflow.cli.screen import warn
from trigflow.core.errors import SetupError, StoreUnusable, TrigflowError

_UNHEARD = logging.NullHandler()
FAILED, WRONG, INTERRUPTED = 1, 2, 130
WITHOUT_WRONG = ("plan",)  # commands whose 2 means something else: their mistakes are all 1

commands = App(
    name="trigflow",
    help="Third-party events start plain decorated Python functions, durably, inside your own process.",
    version=__version__,
    help_format="markdown",
    result_action="return_value",
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
)
for command in (
    project.init,
    demo.demo,
    serving.dev,
    serving.serve,
    serving.work,
    project.check,
    project.jobs,
    connecting.connect,
    connecting.commands,
    keys.commands,
    registrations.endpoints,
    registrations.plan,
    registrations.apply,
    subscriptions.commands,
    orphans.orphans,
    recovering.recover,
    doctor.doctor,
    deliveries.commands,
    runs.commands,
    deliveries.replay,
    sending.deliver,
    db.commands,
    project.settings,
    project.version,
):
    commands.command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code; mistakes are one line on standard error."""
    told = sys.argv[1:] if arguments is None else arguments
    # What goes wrong is told by the command itself; servers have a log, and say where it goes.
    logging.getLogger("trigflow").addHandler(_UNHEARD)
    wrong = FAILED if told[:1] and told[0] in WITHOUT_WRONG else WRONG
    try:
        code = commands(told)
        sys.stdout.flush()
    except CycloptsError as error:
        hint = "; write a time as 10m, 2h or 3d" if "into timedelta" in str(error) else ""
        warn(f"{str(error).rstrip('.')}{hint} (see `trigflow --help`)")
        return wrong
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `trigflow runs list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except TrigflowError as error:
        return _refused(error, wrong)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is not None:
            return INTERRUPTED
        return _refused(_only(group), wrong)
    return code if isinstance(code, int) else 0


def _refused(error: TrigflowError, wrong: int) -> int:
    warn(str(error))
    return wrong if isinstance(error, SetupError | StoreUnusable) else FAILED


def _only(group: BaseExceptionGroup[BaseException]) -> TrigflowError:
    """Return our error that a task group has wrapped; what is not ours is raised again."""
    first, *more = group.exceptions
    if more or not isinstance(first, TrigflowError):
        raise group
    return first
