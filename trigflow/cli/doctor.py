"""Is everything as it must be? What is not is told with what to do.

public URL   a signed probe through it: body, header fields, certificate, clock, latency
credentials  each connection asked of its provider, with missing scopes by name
webhooks     each subscription at its provider, by the plan; webhooks of other stores
store        whether it is whole; the secret key that opens what is sealed in it
alerts       what is open
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio.to_thread
from cyclopts import Parameter

from trigflow.app import App
from trigflow.cli.opening import AsJson, PublicUrl, StorePath, TargetName, inspected
from trigflow.cli.screen import say, show_json, show_table, styled
from trigflow.core.errors import Unauthorized
from trigflow.core.findings import Finding
from trigflow.core.plan import Identity, Step
from trigflow.opened import MEMORY
from trigflow.runtime.boundary import Raised, attempt, attempt_async
from trigflow.runtime.sealing.discreet import knowing, problem_of

if TYPE_CHECKING:
    import ssl

    import httpx

PROBLEMS = 1
# Seconds in which a provider must be answered (GitHub: its docs on webhooks); of others the strictest known.
DEADLINES = {"github": 10.0}
STRICTEST = 3.0
NOT_SIGNING = {"host", "content-type", "content-length", "user-agent"}  # fields of any request


async def doctor(
    target: TargetName = None,
    *,
    offline: Annotated[
        bool, Parameter(negative="", help="Ask neither the public URL nor providers.")
    ] = False,
    store: StorePath = None,
    url: PublicUrl = None,
    as_json: AsJson = False,
) -> int:
    """Look whether everything is as it must be, beside a server that runs; say what to do.

    Exits with 1 where something is wrong.
    """
    async with inspected(target, store, url, writes=False) as app:
        found = [finding async for finding in examined(app, offline=offline)]
    if as_json:
        show_json([_told(one) for one in found])
    else:
        _show(found)
    return 0 if all(one.is_fine for one in found) else PROBLEMS


async def examined(
    app: App,
    *,
    offline: bool = False,
    transport: httpx.AsyncBaseTransport | None = None,
    context: ssl.SSLContext | None = None,
) -> AsyncGenerator[Finding, None]:
    """Yield what is found, as it is found."""
    async for finding in _store(app):
        yield finding
    if not offline:
        async for finding in _public_url(app, transport, context):
            yield finding
        async for finding in _credentials(app):
            yield finding
    async for finding in _webhooks(app, offline=offline):
        yield finding
    for row in await app.opened.store.alerts():
        yield Finding("alerts", row.subject, row.cause, "mend it; it is cleared when it works again")


# --- the store


async def _store(app: App) -> AsyncGenerator[Finding, None]:
    opened = app.opened
    path = opened.settings.store
    if path == MEMORY:
        yield Finding("store", path, "there is none yet, or it is in memory")
    else:
        from trigflow.stores.sqlite import care

        checked = await anyio.to_thread.run_sync(care.check, Path(path))
        for problem in checked.problems:
            yield Finding("store", problem.kind, problem.what, problem.remedy)
        if not checked.problems:
            yield Finding("store", path, "whole")
    yield await _keys(app)


async def _keys(app: App) -> Finding:
    """Tell whether the secret key opens what is sealed."""
    opened = app.opened
    looks: list[Callable[[], object]] = [
        partial(opened.routes.keys_of, endpoint) for endpoint in await opened.store.endpoints()
    ]
    looks += [partial(opened.connections.tokens.values, row) for row in await opened.store.connections()]
    for look in looks:
        if isinstance(attempt(look), Raised):
            action = "set TRIGFLOW_SECRET_KEY to the key that they were sealed with, beside the new one"
            return Finding("store", "secret key", "does not open the secrets in the store", action)
    if opened.settings.secret_keys:
        return Finding("store", "secret key", "set")
    if opened.settings.store == MEMORY:
        return Finding("store", "secret key", "none is set; one is made beside the store once there is one")
    return Finding("store", "secret key", "the one beside the store; keep a copy of it")


# --- the public URL


async def _public_url(
    app: App, transport: httpx.AsyncBaseTransport | None, context: ssl.SSLContext | None
) -> AsyncGenerator[Finding, None]:
    import httpx

    from trigflow.web.examine import examine, examine_certificate

    opened = app.opened
    if opened.base_url is None:
        action = "set url= or TRIGFLOW_URL; on your own machine use `trigflow dev --tunnel` or `--follow`"
        yield Finding("public URL", "reachable", "it is not known, so nothing can be delivered", action)
        return
    problem = await opened.reconciler.unreachable()
    if problem:
        yield Finding("public URL", "reachable", "only from this machine", problem)
        return
    deadline = min((DEADLINES.get(name, STRICTEST) for name in opened.integrations), default=STRICTEST)
    verify = True if context is None else context
    async with httpx.AsyncClient(transport=transport, verify=verify) as client:
        for finding in await examine(
            opened.base_url, opened.store.store_id, opened.registering.prober, client,
            now=opened.clock.now, deadline=deadline, marked=await _signing(app),
        ):  # fmt: skip
            yield finding
    yield await examine_certificate(opened.base_url, now=opened.clock.now, context=context)


async def _signing(app: App) -> Sequence[str]:
    """Name the header fields that the providers of this app sign and address deliveries with."""
    from trigflow.core.http import TRIED
    from trigflow.testing.deliveries import signed

    opened = app.opened
    names: set[str] = set()
    for id_ in {endpoint.source for endpoint in await opened.store.endpoints()} & opened.sources.keys():
        asked = await attempt_async(partial(signed, opened, opened.sources[id_], "probe", b"{}", "probe"))
        if not isinstance(asked, Raised):  # a source may need a real payload; then the others tell
            _, request = asked.value
            names |= {name for name, _ in request.headers}
    return sorted(names - {*NOT_SIGNING, TRIED})


# --- credentials


async def _credentials(app: App) -> AsyncGenerator[Finding, None]:
    opened = app.opened
    used = {s.connection for endpoint in await opened.store.endpoints() for s in endpoint.subscriptions}
    wanted = {want.connection for want in opened.rows.wants}
    kept = {row.ref for row in await opened.store.connections()}
    for ref in sorted({*used, *wanted, *kept} - {""}):
        yield await _connection(app, ref)


async def _connection(app: App, ref: str) -> Finding:
    opened = app.opened
    await opened.clients.load([ref])
    known = attempt(lambda: opened.clients.credentials(ref))
    if isinstance(known, Raised):
        return Finding("credentials", ref, str(known.error), "set the key, or connect it again")
    if known.value is None:
        told = opened.clients.missing(ref)
        if await opened.store.connection(ref) is None:
            return Finding("credentials", ref, told, _remedy_of(told, ref))
    asked = await attempt_async(lambda: opened.connections.check(ref))
    if isinstance(asked, Raised):
        told = problem_of(asked.error, knowing(opened.clients.secrets()))
        if not isinstance(asked.error, Unauthorized):
            return Finding("credentials", ref, told, "try again: as far as is known it is not they")
        return Finding("credentials", ref, told, f"{_connect(ref)} gives new ones")
    checked = asked.value
    whose = checked.label or checked.account or "good"
    if checked.missing:
        scopes = ", ".join(checked.missing)
        return Finding("credentials", ref, f"{whose}; missing: {scopes}", f"grant {scopes} and connect again")
    return await _coverage(app, ref, whose)


async def _coverage(app: App, ref: str, whose: str) -> Finding:
    """Look whether good credentials are enough for what the jobs listen to."""
    opened = app.opened
    events = sorted({name for want in opened.rows.wants if want.connection == ref for name in want.events})

    async def ask() -> Sequence[str]:
        return await opened.connections.known.required(ref).uncovered(await opened.clients.get(ref), events)

    asked = await attempt_async(ask)
    if isinstance(asked, Raised):
        told = problem_of(asked.error, knowing(opened.clients.secrets()))
        return Finding("credentials", ref, told, "try again; they are good, but not all could be looked at")
    if asked.value:
        told = f"{whose}; does not get {', '.join(asked.value)}"
        return Finding("credentials", ref, told, "grant what these events need")
    return Finding("credentials", ref, whose)


def _remedy_of(told: str, ref: str) -> str:
    """Return what to do where there are no credentials, as `told` says, or else to connect."""
    said, _, remedy = told.partition(": ")
    return remedy if said == "no credentials" and remedy else _connect(ref)


def _connect(ref: str) -> str:
    """Return the command that gives a connection credentials."""
    integration, _, name = ref.partition("/")
    return f"`trigflow connect {integration}{f' --name {name}' if name else ''}`"


# --- webhooks


async def _webhooks(app: App, *, offline: bool) -> AsyncGenerator[Finding, None]:
    unhealthy: dict[Identity, str] = {}
    for endpoint in await app.opened.store.endpoints():
        for s in endpoint.subscriptions:
            if s.state not in ("active", "pending", "removed"):
                unhealthy[s.identity] = f"{s.state}{': ' if s.cause else ''}{s.cause}"
    steps = await app.plan(offline=offline)
    for step in steps:
        yield _step(step, unhealthy.pop(step.identity, ""))
    for identity, told in unhealthy.items():
        yield Finding(
            "webhooks", f"{identity[0]} {identity[1]}", told, "`trigflow subscriptions list` tells more"
        )
    others = sum(step.others for step in steps)
    if others:
        told = f"{others} of other trigflow stores are at the same places; they are never touched"
        yield Finding("webhooks", "of other stores", told)


def _step(step: Step, state: str) -> Finding:
    name = f"{step.identity[0]} {step.identity[1]}"
    told = f"{state}; {step.reason}" if state else step.reason
    if step.unanswered:
        told = f"{told}, as far as the store knows: {step.unanswered}"
        return Finding("webhooks", name, told, "the provider did not say what it has; mend what it names")
    if step.action == "manual" and step.reason.startswith("no credentials"):
        return Finding("webhooks", name, told, _connect(step.identity[2]))
    if step.action == "manual":
        return Finding(
            "webhooks", name, told, f"register it by hand: {step.reason}; `trigflow endpoints` has the URL"
        )
    if step.changes:
        return Finding("webhooks", name, told, f"`trigflow apply` does it: {step.action}")
    if state:
        return Finding("webhooks", name, told, _remedy(state))
    return Finding("webhooks", name, told)


def _remedy(state: str) -> str:
    if state.startswith("silent"):
        return "look whether the provider still sends; `trigflow recover` reads its log, where it has one"
    if state.startswith("paused"):
        return "`trigflow subscriptions resume` when it is to go on"
    return "`trigflow subscriptions show` tells each try; mend what it names"


# --- shown


def _told(one: Finding) -> dict[str, object]:
    return {
        "part": one.part,
        "what": one.what,
        "fine": one.is_fine,
        "detail": one.detail,
        "action": one.action or None,
    }


def _show(found: Sequence[Finding]) -> None:
    show_table(
        ["", "part", "what", "seen"],
        (
            [styled("ok", "green") if one.is_fine else styled("!!", "red"), one.part, one.what, one.detail]
            for one in found
        ),
        empty="nothing to look at",
    )
    for one in found:
        if not one.is_fine:
            say(styled(f"{one.part}, {one.what}: ", "bold"), one.action)
    wrong = sum(not one.is_fine for one in found)
    say(styled(f"{wrong} to mend." if wrong else "All is well.", "red" if wrong else "green"))
