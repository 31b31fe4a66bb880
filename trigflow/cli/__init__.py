"""The command line: `trigflow` and `python -m trigflow`.

Commands import what they need when they run: `trigflow --help` loads no server,
no HTTP client and no app.

exit codes    0 ok                          1 something failed
              2 wrong usage or set-up       3 `plan --exit-code`: something would be done
              130 interrupted
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from trigflow import __version__
from trigflow.cli import db, deliveries, demo, project, registrations, runs, sending, serving
from trigflow.cli.screen import warn
from trigflow.core.errors import SetupError, StoreUnusable, TrigflowError

FAILED, WRONG, INTERRUPTED = 1, 2, 130

commands = App(
    name="trigflow",
    help="Third-party events start plain decorated Python functions, durably, inside your own process.",
    version=__version__,
    help_format="plaintext",
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
    registrations.endpoints,
    registrations.plan,
    registrations.apply,
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
    try:
        code = commands(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except CycloptsError as error:
        warn(f"{error} (see `trigflow --help`)")
        return WRONG
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `trigflow runs list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except TrigflowError as error:
        return _refused(error)
    except ExceptionGroup as group:
        return _refused(_only(group))
    return code if isinstance(code, int) else 0


def _refused(error: TrigflowError) -> int:
    warn(str(error))
    return WRONG if isinstance(error, SetupError | StoreUnusable) else FAILED


def _only(group: ExceptionGroup[Exception]) -> TrigflowError:
    """Return our error that a task group has wrapped; what is not ours is raised again."""
    first, *more = group.exceptions
    if more or not isinstance(first, TrigflowError):
        raise group
    return first
