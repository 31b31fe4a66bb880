"""A job: a decorated function, its triggers and its options.

`trigger` marks the function and returns it unchanged; nothing is collected and
nothing happens at import. `Job` is made when an app is built, and whatever is
wrong with a function is found there.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import cached_property
from typing import Any, Literal, NoReturn, TypeGuard, TypeVar, get_type_hints

import attrs
import msgspec

from trigflow.core.dynamic import Dynamic
from trigflow.core.errors import PayloadError, SetupError
from trigflow.core.filters import Filter, Matcher, all_of, compile_filter
from trigflow.core.marked import NOTHING, Marked
from trigflow.core.payloads import Structure, decode_json_text, structure_into
from trigflow.core.retry import NEVER, Retry
from trigflow.core.runs import Run
from trigflow.core.silence import check_expected
from trigflow.core.triggers import Trigger

F = TypeVar("F", bound=Callable[..., Any])
Listens = Trigger[object] | Callable[[], Trigger[object]] | Dynamic[..., object]
Hook = Callable[[Run], Awaitable[None] | None]
MARK = "__trigflow__"


class Options(msgspec.Struct, frozen=True):
    """What a job may say beside its triggers.

    id: the job's name in the store; default `module:qualname`. Renaming a
        function without it makes another job.
    retry: when an attempt that raised is repeated; default never.
    timeout: of one attempt.
    priority: higher starts first among runs that are due.
    delay: between event and start.
    filter: ANDed with each trigger's own; its root is the payload.
    where: a predicate on the structured payload, asked at the start of the run.
    on_success, on_failure: called when the run has ended for good.
    enabled: a disabled job starts no runs; its webhooks stay.
    expect_every: the time in which something must come for its webhooks, those of subscribers
        too; later they count as silent, which is told. Without it that is learned from what came.
    version: free text, kept with each run.
    """

    id: str | None = None
    name: str | None = None
    retry: Retry = NEVER
    timeout: timedelta | None = None
    priority: int = 0
    delay: timedelta = timedelta(0)
    filter: Filter | None = None
    where: Callable[[Any], bool] | None = None
    on_success: Hook | None = None
    on_failure: Hook | None = None
    enabled: bool = True
    version: str = ""
    expect_every: timedelta | None = None


class Mark(msgspec.Struct, frozen=True):
    """What `trigger` leaves on a function."""

    triggers: tuple[Listens, ...]
    options: Options


def trigger(
    first: Listens,
    /,
    *more: Listens,
    id: str | None = None,  # noqa: A002 - the field's word
    name: str | None = None,
    retry: Retry = NEVER,
    timeout: timedelta | None = None,
    priority: int = 0,
    delay: timedelta = timedelta(0),
    filter: Filter | None = None,  # noqa: A002 - the field's word
    where: Callable[[Any], bool] | None = None,
    on_success: Hook | None = None,
    on_failure: Hook | None = None,
    enabled: bool = True,
    version: str = "",
    expect_every: timedelta | None = None,
) -> Callable[[F], F]:
    """Mark a function as a job that listens to these triggers; `Options` tells what each option means."""
    if expect_every is not None:
        check_expected(expect_every)
    options = Options(
        id, name, retry, timeout, priority, delay, filter, where, on_success, on_failure, enabled, version,
        expect_every,
    )  # fmt: skip

    def mark(function: F) -> F:
        if not callable(function):
            raise SetupError(f"@trigger expects a function, got {function!r}")
        if MARK in getattr(function, "__dict__", {}):
            raise SetupError(
                f"{_name(function)} has two @trigger decorators; give one several triggers: @trigger(a, b)"
            )
        setattr(function, MARK, Mark((first, *more), options))
        return function

    return mark


def mark_of(function: object) -> Mark | None:
    """Return what `trigger` left on a function, if it did."""
    mark = getattr(function, MARK, None)
    return mark if isinstance(mark, Mark) else None


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))


Role = Literal["payload", "given", "client"]


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a job's function, and what is passed for it."""

    name: str
    role: Role
    annotation: Any
    keyword: bool = False


class Listening(msgspec.Struct, frozen=True, eq=False):
    """One trigger of a job with everything that decides a match compiled.

    dynamic: if people subscribe to it at run time; the trigger has no params then.
    """

    trigger: Trigger[object]
    matcher: Matcher
    dynamic: Dynamic[..., object] | None = None


@attrs.frozen(eq=False)
class Job:
    """A function that an app runs."""

    id: str
    function: Callable[..., Any]
    options: Options
    listens: tuple[Listening, ...]
    parameters: tuple[Parameter, ...]

    @property
    def name(self) -> str:
        """What people call it."""
        return self.options.name or _name(self.function)

    def marked(self, event: str) -> Marked:
        """Return the marked fields of an event that it listens to."""
        return self._marked.get(event, NOTHING)

    @cached_property
    def _marked(self) -> Mapping[str, Marked]:
        found: dict[str, Marked] = {}
        for listens in self.listens:
            specification = listens.trigger.specification
            found[specification.name] = found.get(specification.name, NOTHING) | specification.marked
        return found

    @cached_property
    def is_async(self) -> bool:
        """Tell whether the function runs on the loop; others run in a thread."""
        return inspect.iscoroutinefunction(self.function)

    @cached_property
    def payload_annotation(self) -> Any:
        """What the payload is structured into."""
        return next((p.annotation for p in self.parameters if p.role == "payload"), Any)


def build_job(function: Callable[..., Any], mark: Mark, *, given: Mapping[type, bool | None]) -> Job:
    """Make a job of a marked function.

    given: what can be asked for by annotation; True where only sync functions
        may, False where only async ones may, None where both may.
    Raises SetupError that names the function, the parameter and the remedy.
    """
    identity = mark.options.id or f"{function.__module__}:{_name(function)}"
    triggers = tuple((_resolve(listens, identity), listens) for listens in mark.triggers)
    clients = {client for one, _ in triggers if (client := getattr(one.source, "client", None)) is not None}
    parameters = _parameters(function, identity, given, clients)
    own = compile_filter(mark.options.filter, where=f"job {identity}, filter")
    listens = tuple(_compile(one, own, identity, written) for one, written in triggers)
    job = Job(identity, function, mark.options, listens, parameters)
    _check_examples(job)
    return job


def _resolve(listens: Listens, job: str) -> Trigger[object]:
    if isinstance(listens, Dynamic):
        return listens.trigger
    found = listens if _is_trigger(listens) else _call(listens, job)
    if not _is_trigger(found):
        raise SetupError(
            f"job {job}: {listens!r} is not a trigger; write an event such as github.issues(...)"
        )
    try:
        found.source.key_of(found.params)
    except SetupError as error:
        raise SetupError(f"job {job}: {found.name}: {error}") from error
    return found


def _is_trigger(found: object) -> TypeGuard[Trigger[object]]:
    return isinstance(found, Trigger)


def _call(listens: object, job: str) -> object:
    if not callable(listens):
        return listens
    try:
        return listens()
    except TypeError as error:
        raise SetupError(
            f"job {job}: {error}; call it with its params, such as github.issues(...)"
        ) from error


def _compile(found: Trigger[object], own: Matcher, job: str, written: Listens) -> Listening:
    place = f"job {job}, trigger {found.name}, filter"
    spec = compile_filter(found.specification.filter, where=place)
    matcher = all_of(spec, compile_filter(found.filter, where=place), own)
    return Listening(found, matcher, written if isinstance(written, Dynamic) else None)


def _parameters(
    function: Callable[..., Any], job: str, given: Mapping[type, bool | None], clients: set[type]
) -> tuple[Parameter, ...]:
    hints = _hints(function, job)
    found: list[Parameter] = []
    for position, parameter in enumerate(inspect.signature(function).parameters.values()):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            _refuse(job, parameter.name, "stars can't be filled", "name what the job needs")
        annotation = hints.get(parameter.name, inspect.Parameter.empty)
        keyword = parameter.kind is parameter.KEYWORD_ONLY
        role = _role(annotation, given, clients)
        if role == "payload" and position > 0:
            if parameter.default is not parameter.empty:
                continue
            _refuse_annotation(job, parameter.name, annotation, given, clients)
        if role == "given":
            _check_kind(function, job, parameter.name, annotation, given)
        found.append(Parameter(parameter.name, role, annotation, keyword))
    return tuple(found)


def _hints(function: Callable[..., Any], job: str) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except NameError as error:
        raise SetupError(
            f"job {job}: an annotation names {error.name!r}, which does not exist at run time; "
            "if it is imported under TYPE_CHECKING, import it for real: parameters are filled by annotation"
        ) from error
    except TypeError as error:
        raise SetupError(f"job {job}: its annotations can't be read: {error}") from error


def _role(annotation: Any, given: Mapping[type, bool | None], clients: set[type]) -> Role:
    if not isinstance(annotation, type):
        return "payload" if getattr(annotation, "__origin__", None) not in given else "given"
    if annotation in given:
        return "given"
    return "client" if annotation in clients else "payload"


def _check_kind(
    function: Callable[..., Any], job: str, name: str, annotation: Any, given: Mapping[type, bool | None]
) -> None:
    only_sync = given[getattr(annotation, "__origin__", annotation)]
    if only_sync is None or only_sync is not inspect.iscoroutinefunction(function):
        return
    if only_sync:
        _refuse(job, name, "SyncIO is for plain functions", "annotate it with IO")
    _refuse(
        job,
        name,
        "IO must be awaited, and this is a plain function",
        "annotate it with SyncIO, or make the job async",
    )


def _refuse_annotation(
    job: str, name: str, annotation: Any, given: Mapping[type, bool | None], clients: set[type]
) -> NoReturn:
    can = ", ".join(sorted(kind.__name__ for kind in {*given, *clients}))
    if annotation is inspect.Parameter.empty:
        _refuse(job, name, "it has no annotation, so nothing can be passed", f"annotate it with one of {can}")
    _refuse(
        job,
        name,
        f"nothing of type {getattr(annotation, '__name__', annotation)} can be passed",
        f"annotate it with one of {can}; a client needs a trigger of its integration",
    )


def _refuse(job: str, parameter: str, problem: str, remedy: str) -> NoReturn:
    raise SetupError(f"job {job}, parameter {parameter!r}: {problem}; {remedy}")


def _check_examples(job: Job) -> None:
    """Structure the examples that each trigger lets through; one that fits is enough."""
    try:
        structure = structure_into(job.payload_annotation)
    except SetupError as error:
        raise SetupError(f"job {job.id}, payload: {error}") from error
    for listens in job.listens:
        listens.trigger.specification.check()
        problem = _no_example_fits(listens, structure)
        if problem is not None:
            raise SetupError(
                f"job {job.id}, trigger {listens.trigger.name}: no example fits the payload annotation "
                f"{getattr(job.payload_annotation, '__name__', job.payload_annotation)}: {problem}; "
                "correct the field's name or type, or make it optional"
            )


def _no_example_fits(listens: Listening, structure: Structure) -> str | None:
    first: str | None = None
    for name, example in listens.trigger.specification.examples().items():
        text = example.read()
        if not listens.matcher.matches(decode_json_text(text)):
            continue
        try:
            structure(text)
        except PayloadError as error:
            first = first or f"{error} (example {name!r})"
        else:
            return None
    return first
