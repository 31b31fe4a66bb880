"""Accounts at providers: connecting them, looking at them, letting go of them.

A secret is typed without echo, read from standard input, or never seen here at all (OAuth,
in the browser). It is never an argument: arguments are seen by every process of the machine.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeAlias

from cyclopts import App as Commands, Parameter

from trigflow.app import App
from trigflow.cli.asking import refuse_pipe, typed
from trigflow.cli.opening import AsJson, StorePath, TargetName, inspected
from trigflow.cli.screen import clock_time, moment, say, show_json, show_table, styled, warn
from trigflow.core.errors import SetupError, TrigflowError
from trigflow.runtime.connections.holding import Listed
from trigflow.runtime.connections.known import MANUAL, ref_of
from trigflow.runtime.registration.collect import ENTRY_POINTS
from trigflow.sources.credentials import ApiKey, Auth, Field
from trigflow.sources.integration import Integration
from trigflow.sources.oauth import OAuth2

PORT = 8721  # of the loopback redirect; fixed, because some providers want the whole URL registered
WHO = "the command line"
commands = Commands(name="connections", help="Accounts at providers, and their credentials.")
Name: TypeAlias = Annotated[str, Parameter(help="Name of the connection; without, the default one.")]
Ref: TypeAlias = Annotated[str, Parameter(help="As `connections list` shows it: github/name.")]


async def connect(
    integration: Annotated[str, Parameter(help="Such as github; the app must name it.")],
    target: TargetName = None,
    *,
    name: Name = "",
    kind: Annotated[
        str | None, Parameter(help="Which credentials, where there are several: api-key, oauth2, …")
    ] = None,
    manual: Annotated[
        bool, Parameter(negative="", help="Webhooks are registered by hand; nothing is ever called there.")
    ] = False,
    token_stdin: Annotated[
        bool, Parameter(negative="", help="Read the key from standard input; nothing is asked.")
    ] = False,
    accounts: Annotated[
        bool, Parameter(negative="", help="Connect every account that our app there may act for.")
    ] = False,
    client_id: Annotated[
        str | None, Parameter(help="An OAuth client of your own; its secret is asked for.")
    ] = None,
    port: Annotated[int, Parameter(help="Where the browser comes back to, on this machine.")] = PORT,
    browser: Annotated[bool, Parameter(help="Open a browser; without, the link is only printed.")] = True,
    store: StorePath = None,
) -> int:
    """Connect an account at a provider: its credentials are checked there, and kept sealed."""
    async with inspected(target, store) as app:
        described = _described(app, integration, name)
        if accounts:
            return await _connect_accounts(app, described)
        auth = _chosen(app, described, MANUAL if manual else ApiKey.kind if token_stdin else kind, client_id)
        if isinstance(auth, OAuth2):
            from trigflow.cli.consenting import consent

            client = {} if client_id is None else {"client_id": client_id, **_asked(auth.app_fields[1:])}
            ref = await consent(app, described, name, client, port=port, browser=browser)
        else:
            values = {auth.fields[0].name: _from_stdin()} if token_stdin else _asked(auth.fields)
            ref = await app.opened.connections.add(described, name, values, kind=auth.kind, who=WHO)
        await _tell(app, ref)
    return 0


def _described(app: App, id_: str, name: str) -> Integration:
    """Return an integration of the app, or an installed one that no job of it names yet."""
    from importlib.metadata import entry_points

    known = app.opened.connections.known
    for entry in entry_points(group=ENTRY_POINTS, name=id_):
        known.learn(entry.load()())
    return known.required(ref_of(id_, name))


async def _connect_accounts(app: App, integration: Integration) -> int:
    refs = await app.opened.connections.accounts(integration, who=WHO)
    for ref in refs:
        await _tell(app, ref)
    if not refs:
        known = app.opened.connections.known
        ways = [way for way in integration.auth if way.mints and not isinstance(way, OAuth2)]
        if not ways:
            raise SetupError(f"{integration.id} has no app that acts for accounts")
        known.app(integration, ways[0], {})  # refuses, and names what is missing
        warn(f"our app at {integration.id} may act for no account: nobody has installed it")
    return 0 if refs else 1


async def _tell(app: App, ref: str) -> None:
    found = next(one for one in await app.opened.connections.listed() if one.ref == ref)
    say("connected  ", styled(ref, "bold"), f"  {found.label}".rstrip())
    if found.missing:
        warn(f"{ref} lacks {', '.join(found.missing)}: some webhooks or calls will be refused")


def _chosen(app: App, integration: Integration, kind: str | None, client_id: str | None) -> Auth:
    """Return the Auth that was asked for; where that is left open, a person chooses."""
    known = app.opened.connections.known
    ways = [way for way in integration.auth if kind in (None, way.kind)]
    if client_id is not None:
        ways = [way for way in ways if isinstance(way, OAuth2)]
    if not ways:
        kinds = ", ".join(way.kind for way in integration.auth) or "none"
        asked = "oauth2" if client_id is not None else kind
        raise SetupError(f"{integration.id} has no credentials of kind {asked}; it has: {kinds}")
    if kind is None and client_id is None:  # what our app's own credentials are missing for is no choice
        ways = [way for way in ways if not way.app_fields or known.has_app(integration, way)] or ways
    if len(ways) == 1:
        return ways[0]
    refuse_pipe("choose with --kind: " + ", ".join(way.kind for way in ways))
    for number, way in enumerate(ways, 1):
        say(f"{number}  ", styled(way.kind, "bold"), f"  {way.remedy()}")
    answer = typed("which? ")
    if not answer.isdecimal() or not 1 <= int(answer) <= len(ways):
        raise SetupError(f"{answer[:20]!r} is none of them; nothing was kept")
    return ways[int(answer) - 1]


def _asked(fields: Sequence[Field]) -> Mapping[str, str]:
    """Ask a person for fields; secrets are not shown as they are typed."""
    found: dict[str, str] = {}
    for field in fields:
        refuse_pipe(f"the {field.label} is typed in a terminal; for a pipe use --token-stdin")
        more = f" ({field.help})" if field.help else ""
        text = f"{field.label}{more}{'' if field.required else ', may be empty'}: "
        found[field.name] = typed(text, secret=field.secret)
    return {name: value for name, value in found.items() if value}


def _from_stdin() -> str:
    if sys.stdin.isatty():
        warn("reading the key from standard input: it is shown as you type; end with Ctrl+D")
    told = sys.stdin.read(64 * 1024).strip()
    if not told or len(told.splitlines()) != 1:
        raise SetupError("standard input held no key: one line is expected")
    return told


@commands.command(name="list")
async def show(target: TargetName = None, *, store: StorePath = None, as_json: AsJson = False) -> None:
    """Show the connections, wherever their credentials come from; never a secret."""
    async with inspected(target, store, writes=False) as app:
        found = await app.connections()
    if as_json:
        show_json([_told(one) for one in found])
        return
    show_table(
        ("connection", "kind", "from", "state", "account", "missing", "token until", "checked"),
        (
            (
                one.ref, one.kind, one.origin, styled(one.state, "green" if one.state == "good" else "red"),
                one.label or one.account or "", ", ".join(one.missing),
                clock_time(one.expires_at), clock_time(one.checked_at or None),
            )
            for one in found
        ),
        empty="no connections; `trigflow connect` makes one",
    )  # fmt: skip
    for one in found:
        if one.cause:
            say(styled(f"{one.ref}: ", "dim"), one.cause)


def _told(one: Listed) -> dict[str, object]:
    return {
        "ref": one.ref, "integration": one.integration, "kind": one.kind, "origin": one.origin,
        "state": one.state, "cause": one.cause or None, "account": one.account, "label": one.label or None,
        "missing": list(one.missing), "expires_at": moment(one.expires_at),
        "checked_at": moment(one.checked_at or None),
    }  # fmt: skip


@commands.command
async def check(
    ref: Ref, target: TargetName = None, *, store: StorePath = None, as_json: AsJson = False
) -> int:
    """Ask the provider whether a connection is good, whose it is and what it lacks.

    Exits with 1 where it lacks something.
    """
    async with inspected(target, store) as app:
        checked = await app.opened.connections.check(ref)
    if as_json:
        missing = list(checked.missing)
        show_json({"ref": ref, "account": checked.account, "label": checked.label, "missing": missing})
    else:
        say(styled("good", "green"), f"  {checked.label or checked.account or ''}".rstrip())
        if checked.missing:
            say("missing  ", styled(", ".join(checked.missing), "red"))
    return 1 if checked.missing else 0


@commands.command
async def remove(
    ref: Ref,
    target: TargetName = None,
    *,
    yes: Annotated[bool, Parameter(negative="", help="Don't ask.")] = False,
    store: StorePath = None,
) -> int:
    """Remove a connection: its subscriptions at the provider, then its credentials, which are shredded.

    Exits with 1 where the provider could not be told; the credentials are gone all the same.
    """
    async with inspected(target, store) as app:
        if ref not in {one.ref for one in await app.opened.connections.listed()}:
            raise TrigflowError(f"there is no connection {ref!r}; `trigflow connections list` shows them")
        await _confirm(app, ref, yes=yes)
        problems = await app.disconnect(ref, who=WHO)
    say("removed    ", styled(ref, "bold"))
    for problem in problems:
        warn(f"left at the provider: {problem}")
    return 1 if problems else 0


async def _confirm(app: App, ref: str, *, yes: bool) -> None:
    left = await app.opened.store.connected(ref)
    if yes or not left:
        return
    what = "1 subscription goes" if left == 1 else f"{left} subscriptions go"
    refuse_pipe(f"{what} through {ref}: pass --yes to remove it all")
    if typed(f"{what} with it. Remove? [y/N] ").lower() != "y":
        raise TrigflowError("nothing was removed")
