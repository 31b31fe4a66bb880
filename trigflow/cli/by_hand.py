"""A webhook that a person registers: what to enter there, and waiting until it works.

pending ──shown──> entered at the provider ──first verified delivery──> active
"""

from __future__ import annotations

import sys
from typing import Annotated

import anyio
import attrs
from cyclopts import Parameter

from trigflow.app import App
from trigflow.cli import named, subscribed
from trigflow.cli.asking import typed
from trigflow.cli.opening import AsJson, PublicUrl, StorePath, TargetName, inspected
from trigflow.cli.screen import say, show_fields, show_json, styled, warn
from trigflow.core.errors import SetupError, TrigflowError
from trigflow.runtime import records as r
from trigflow.runtime.intake.routes import AnySource
from trigflow.sources.registration import Secret

LOOKS_EVERY = 0.5  # seconds
GIVEN_BY_PROVIDER = (Secret.RETURNED, Secret.APP)


@attrs.frozen
class Instructions:
    """What a person needs to register a webhook.

    secret: None where it was shown before, where there is none, or where the provider makes it.
    asks: the provider makes it, and it was not entered yet.
    """

    subscription: r.Subscription
    url: str
    events: tuple[str, ...]
    text: str
    secret: str | None = attrs.field(repr=False)
    about_secret: str
    asks: bool


async def add(
    key: Annotated[
        str | None, Parameter(help="Key of the webhook; left out where only one is to be registered by hand.")
    ] = None,
    target: TargetName = None,
    *,
    manual: Annotated[
        bool, Parameter(negative="", help="Register it by hand; the others are made by `trigflow apply`.")
    ] = False,
    secret_stdin: Annotated[
        bool, Parameter(negative="", help="Read the secret that the provider made from standard input.")
    ] = False,
    wait: Annotated[bool, Parameter(help="Show what arrives until the first verified delivery.")] = True,
    store: StorePath = None,
    url: PublicUrl = None,
    as_json: AsJson = False,
) -> None:
    """Say what to enter at a provider, and wait for its first verified delivery.

    The secret is shown once. Where the provider makes it, it is asked for instead.
    """
    if not manual:
        raise SetupError("webhooks are added by @trigger and `trigflow apply`; by hand with --manual")
    async with inspected(target, store, url) as app:
        await app.opened.rows.keep_rows()
        endpoint, s = await _meant(app, key)
        told = await _begin(app, endpoint, s, _from_stdin() if secret_stdin else None)
        if app.opened.base_url is None:
            warn("the public URL is not known, so only its path is shown; pass --url or set TRIGFLOW_URL")
        if as_json:
            show_json(_told(told))
            return
        _show(told)
        if told.asks and sys.stdin.isatty():
            await _ask_secret(app, s)
        if wait:
            await _watch(app, endpoint, s)


async def _meant(app: App, key: str | None) -> tuple[r.Endpoint, r.Subscription]:
    """Find the webhook that is to be registered by hand; TrigflowError where it is not one."""
    if key is not None:
        endpoint, s = await named.called(app, key)
        means = await app.opened.reconciler.means_for(s)
        if means.automatic:
            raise TrigflowError(
                f"{s.source} {s.key} is registered by itself, or by `trigflow apply`; a second one made by "
                "hand would send everything twice"
            )
        return endpoint, s
    found = [
        pair
        async for pair in named.pages(app)
        if pair[1].state == "pending" and not (await app.opened.reconciler.means_for(pair[1])).automatic
    ]
    if len(found) == 1:
        return found[0]
    keys = ", ".join(s.key for _, s in found[:20])
    raise TrigflowError(
        f"name one of {keys}" if found else "no webhook of this app waits to be registered by hand"
    )


async def _begin(app: App, endpoint: r.Endpoint, s: r.Subscription, given: str | None) -> Instructions:
    opened = app.opened
    source = opened.sources.get(s.source)
    if source is None:
        raise SetupError(f"this app does not have the source {s.source}")
    if given is not None and source.secret not in GIVEN_BY_PROVIDER:
        raise SetupError(f"the provider of {s.source} makes no secret that could be entered")
    is_new = await subscribed.steering_of(app).begin_by_hand(s.identity, given)
    shows = is_new and source.secret is Secret.GENERATED and bool(endpoint.keys)
    want = next((want for want in opened.rows.wants if want.identity == s.identity), None)
    return Instructions(
        s,
        opened.reconciler.url_of(endpoint),
        s.registered if want is None else want.events,
        source.instructions,
        opened.routes.keys_of(endpoint)[0].secret.decode() if shows else None,
        "kept, as entered" if given is not None else _about_secret(source, shows=shows),
        asks=given is None and source.secret in GIVEN_BY_PROVIDER,
    )


def _from_stdin() -> str:
    told = sys.stdin.readline().strip()
    if not told:
        raise SetupError("--secret-stdin: there is nothing at standard input")
    return told


async def _ask_secret(app: App, s: r.Subscription) -> None:
    """Ask for the key that the provider made, without showing it, and keep it."""
    told = typed("the secret (not echoed; empty: later): ", secret=True)
    if told:
        await subscribed.steering_of(app).begin_by_hand(s.identity, told)
        say("the secret is kept")


def _about_secret(source: AnySource, *, shows: bool) -> str:
    if shows:
        return "shown this once"
    return {
        Secret.GENERATED: "shown before; who must see it again: `trigflow endpoints --show-secrets`",
        Secret.RETURNED: "the provider makes it: call this again with it, or with --secret-stdin",
        Secret.APP: "that of your app at the provider: call this again with it, or with --secret-stdin",
        Secret.HANDSHAKE: "it arrives by itself when the provider first calls",
        Secret.NONE: "there is none: deliveries are not signed",
    }[source.secret]


def _told(one: Instructions) -> dict[str, object]:
    s = one.subscription
    return {
        "id": s.id,
        "source": s.source,
        "key": s.key,
        "connection": s.connection,
        "state": s.state,
        "url": one.url,
        "secret": one.secret,
        "about_secret": one.about_secret,
        "events": list(one.events),
        "instructions": one.text,
    }


def _show(one: Instructions) -> None:
    s = one.subscription
    secret = one.about_secret if one.secret is None else f"{one.secret}  ({one.about_secret})"
    say(styled(f"{s.source} {s.key}", "bold"), "  ", styled(s.state))
    if one.text:
        say(one.text)
    show_fields({"url": styled(one.url, "bold"), "secret": secret, "events": ", ".join(one.events)})


async def _watch(app: App, endpoint: r.Endpoint, s: r.Subscription) -> None:
    """Show what arrives, until a delivery is verified."""
    store = app.opened.store
    if s.state == "pending":
        say("\nwaiting for the first verified delivery  (Ctrl+C ends only the waiting)")
    sys.stdout.flush()
    newest, now = "", await store.subscription(s.id)
    while now is not None and now.state == "pending":
        newest = await subscribed.show_newer(app, endpoint.id, newest)
        sys.stdout.flush()
        await anyio.sleep(LOOKS_EVERY)
        now = await store.subscription(s.id)
    await subscribed.show_newer(app, endpoint.id, newest)
    if now is not None:
        say(f"{s.source} {s.key}  ", styled(now.state))
