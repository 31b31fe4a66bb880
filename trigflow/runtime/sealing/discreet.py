"""Failures told without what must not be read: secrets in URLs, marked values of an event.

A log's handlers print whole tracebacks, and those end with the text of every exception
in the chain. Where that text may hold a secret, the traceback is written here, once and
scrubbed, and given to the log as text.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath

from trigflow.core.errors import PayloadError
from trigflow.core.marked import NOTHING, Marked
from trigflow.core.payloads import decode_json_text
from trigflow.core.redact import HIDDEN, redacted_text, without
from trigflow.core.runs import Failure

LEAST = 4  # characters; what is shorter is no secret, but a part of words
LINE = 16  # characters of a line that is a secret's own
MOST_HAD = 10_000  # secrets that are remembered
Scrubber = Callable[[str], str]

# What is wrong in words that hold no value: of msgspec, then of cattrs.
_WITHOUT_VALUES = re.compile(
    r"Expected `[^`]*`(, got `[^`]*`| of length [<>=]+ [0-9]+| [<>=]+ [0-9.]+)?"
    r"|Object missing required field `[^`]*`"
    r"|invalid type, expected \w+|invalid value for type, expected \w+|required field missing"
)
UNTOLD = "does not fit its annotation; what stands there is not shown: the event has fields marked sensitive"


def knowing(secrets: Iterable[str]) -> Scrubber:
    """Return what takes known secrets out of a text, and what looks like one."""
    known = [form for secret in secrets if len(secret) >= LEAST for form in spellings(secret)]
    return lambda text: redacted_text(without(text, known))


def spellings(secret: str) -> Iterator[str]:
    """Return a secret as a message may quote it: plain, in JSON or `repr`, line by line (a private key)."""
    yield secret
    if not (secret.isascii() and secret.isprintable()) or "\\" in secret or '"' in secret or "'" in secret:
        yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
        yield from (repr(secret)[1:-1], repr(f"{secret}'\"")[1:-4])
    lines = secret.replace("\\n", "\n").splitlines()
    # BEGIN and END lines are the same in every key.
    yield from (line for line in lines if len(lines) > 1 and len(line) >= LINE and "-----" not in line)


class Had:
    """Secrets that were in hand, newest last: jobs under way may still use what was replaced or removed."""

    def __init__(self, most: int = MOST_HAD) -> None:
        self._values: OrderedDict[str, None] = OrderedDict()
        self._most = most

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._values))

    def __repr__(self) -> str:
        return f"Had({len(self._values)})"

    def note(self, values: Iterable[str]) -> None:
        """Remember some."""
        for value in values:
            self._values[value] = None
            self._values.move_to_end(value)
        while len(self._values) > self._most:
            self._values.popitem(last=False)


def problem_of(error: BaseException, scrub: Scrubber = redacted_text) -> str:
    """Describe a failure for people: class and text, scrubbed before it is shortened."""
    return str(Failure.of(error, scrub=scrub))


def trace_of(error: BaseException, scrub: Scrubber = redacted_text) -> str:
    """Return a whole traceback as text, scrubbed."""
    return scrub(_trace(error))


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()


def log_failure(
    logger: logging.Logger, text: str, /, *args: object, error: BaseException, scrub: Scrubber = redacted_text
) -> None:
    """Log an error with its traceback: as an exception where it holds no secret, else as scrubbed text."""
    told = trace_of(error, scrub)
    if told == _trace(error):
        logger.error(text, *args, exc_info=error)
    else:
        logger.error(f"{text}\n%s", *args, told)


def place_of(error: BaseException) -> str:
    """Describe a failure without its text: class, file and line."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}; its text is not shown: it may hold fields marked sensitive"


def discreet(error: PayloadError, scrub: Scrubber) -> PayloadError:
    """Return the same refusal of a payload without a value of the payload."""
    told = error.problem if _WITHOUT_VALUES.fullmatch(error.problem) else UNTOLD
    return PayloadError(scrub(error.path), told)


class Discretion:
    """What may be told of the failures of one run; costs nothing until something fails."""

    __slots__ = ("_marked", "_scrub", "_secrets", "_text")

    def __init__(
        self, marked: Marked = NOTHING, text: bytes = b"null", secrets: Callable[[], Iterable[str]] = tuple
    ) -> None:
        """Know the run's payload (JSON text), what is marked in it, and where known secrets are had."""
        self._marked, self._text, self._secrets = marked, text, secrets
        self._scrub: Scrubber | None = None

    def scrub(self, text: str) -> str:
        """Take out of a text what must not be read."""
        if self._scrub is None:
            self._scrub = self._made()
        return self._scrub(text)

    def _made(self) -> Scrubber:
        known = knowing(self._secrets())
        if not self._marked:
            return known
        marked = self._marked.scrub(decode_json_text(self._text))
        return lambda text: known(marked.text(text))

    def problem(self, error: BaseException) -> str:
        """Describe a failure for people."""
        return problem_of(error, self.scrub)

    def refusal(self, error: PayloadError) -> PayloadError:
        """Return what is told of a payload that does not fit."""
        return discreet(error, self.scrub) if self._marked else error


class _Rewriting(logging.Filter):
    """Rewrites records of HTTP clients: their URLs, and the header fields of answers."""

    def filter(self, record: logging.LogRecord) -> bool:
        told, found, _ = record.getMessage().partition("receive_response_headers.complete return_value=")
        record.msg, record.args = (f"{told}{found}{HIDDEN}" if found else redacted_text(told)), ()
        return True


_REWRITING = _Rewriting()
# A filter holds for the records of its own logger only, so each that speaks is named.
_HTTP_CLIENTS = (
    "httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks",
)  # fmt: skip


def hush_http_clients() -> None:
    """Keep secrets out of what httpx and httpcore log from now on; once is enough."""
    for name in _HTTP_CLIENTS:
        logging.getLogger(name).addFilter(_REWRITING)
