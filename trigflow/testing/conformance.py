"""What every integration must do, each property as its own test.

    class TestGitHub(Conformance):
        integration = GitHub
        provider = FakeGitHub
        connection = "fake-token"

        def trigger(self, integration: GitHub) -> Trigger[object]:
            return integration.issues(repo="acme/web")

`provider` is the integration's fake: a context manager with the base URL of its
API as `url`; the integration takes it as `base_url`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, ClassVar, Protocol

import anyio
import attrs

from trigflow.app import App
from trigflow.core.http import Headers
from trigflow.core.jobs import trigger
from trigflow.core.payloads import structure_into
from trigflow.core.triggers import Trigger
from trigflow.runtime.registration.provider import rotation_of
from trigflow.runtime.registration.steps import Applied
from trigflow.sources.external import is_webhook
from trigflow.sources.integration import Integration
from trigflow.sources.registration import Events, Registration, Webhook, WebhookApi
from trigflow.testing.deliveries import deliver, signed

PUBLIC_URL = "https://hooks.example.com"
REJECTED = 401


class Provider(Protocol):
    """A running fake of a provider."""

    @property
    def url(self) -> str:
        """The base URL of its API."""
        ...


class Conformance:
    """Subclass it in a test module, with a name that pytest collects."""

    integration: ClassVar[type[Integration]]
    provider: ClassVar[type[AbstractContextManager[Provider]]]
    connection: ClassVar[str | Mapping[str, str]]

    def trigger(self, integration: Any) -> Trigger[Any]:
        """Return a trigger of the integration that the fake has a place for."""
        raise AssertionError(f"{type(self).__name__} must define trigger(integration)")

    def test_every_example_fits_the_payload_type_of_its_event(self) -> None:
        """Structure each example into the type that its event declares; of rare events none may be known."""
        known = False
        for _, specification in self.integration.specifications():
            for example in specification.examples().values():
                structure_into(specification.payload)(example.read())
                known = True
        assert known, f"no event of {self.integration.id} has an example"

    def test_every_field_that_is_marked_sensitive_is_in_an_example(self) -> None:
        """Look for the marked fields: a path that leads nowhere hides nothing."""
        for _, specification in self.integration.specifications():
            specification.check()

    def test_what_the_provider_signs_is_accepted_and_a_redelivery_is_a_duplicate(self) -> None:
        """Deliver an example twice under one id."""

        async def run(app: App, wanted: Trigger[Any]) -> None:
            async with app:
                _worked(await app.apply())
                first = await deliver(app, wanted, id="one")
                assert (first.outcome, [run.state for run in first.runs]) == ("accepted", ["succeeded"])
                assert (await deliver(app, wanted, id="one")).outcome == "duplicate"

        self._run(run)

    def test_what_is_not_signed_or_was_changed_is_rejected(self) -> None:
        """Deliver an example without its signature, and one whose body was changed on its way."""

        async def run(app: App, wanted: Trigger[Any]) -> None:
            source = wanted.source
            assert is_webhook(source), f"{wanted.name} does not come over HTTP"
            async with app:
                _worked(await app.apply())
                specification = wanted.specification
                payload = next(iter(specification.examples().values())).read()
                token, request = await signed(app.opened, source, specification.name, payload, "one")
                bare = Headers.of(list(source.sample_headers(specification.name, request.body, "one")))
                changed = attrs.evolve(request, body=request.body + b" ")
                for forged in (attrs.evolve(request, headers=bare), changed):
                    assert (await app.opened.receive(token, forged)).status == REJECTED
                assert (await app.opened.receive(token, request)).status < REJECTED

        self._run(run)

    def test_applying_twice_changes_nothing_the_second_time(self) -> None:
        """Register, and see that nothing is left to do."""

        async def run(app: App, wanted: Trigger[Any]) -> None:
            async with app:
                assert [one.step.action for one in _worked(await app.apply())] == ["create"]
                assert _worked(await app.apply()) == []
                assert {step.action for step in await app.plan()} == {"none"}

        self._run(run)

    def test_a_webhook_that_no_job_wants_is_removed(self) -> None:
        """Register, take the job away, and see the webhook go."""

        async def run(app: App, wanted: Trigger[Any]) -> None:
            async with app:
                _worked(await app.apply())
                reconciler, none = app.opened.reconciler, timedelta(0)
                await app.opened.rows.withdraw()
                assert [step.action for step in await reconciler.plan(grace=none)] == ["remove"]
                _worked(await reconciler.apply(grace=none))
                assert list(await reconciler.plan(grace=none)) == []

        self._run(run)

    def test_a_webhook_that_was_deleted_at_the_provider_is_made_anew(self) -> None:
        """Register, delete the webhook behind our back, and see it come back with the same events."""

        async def run(app: App, wanted: Trigger[Any]) -> None:
            async with app:
                _worked(await app.apply())
                place = await _place(app, wanted)
                if place is None:
                    return  # its provider can't list
                api, reg, client, (webhook,) = place
                await api.delete(reg, webhook, client)
                assert [one.step.action for one in _worked(await app.apply())] == ["recreate"]
                again = await _place(app, wanted)
                assert again is not None
                assert [sorted(one.events) for one in again[3]] == [sorted(webhook.events)]

        self._run(run)

    def test_a_key_is_changed_and_both_are_taken_until_the_old_one_has_had_its_time(self) -> None:
        """Rotate, where that is possible, and deliver with the new key and with the old one."""

        async def run(app: App, wanted: Trigger[Any]) -> None:
            source = wanted.source
            assert is_webhook(source), f"{wanted.name} does not come over HTTP"
            async with app:
                _worked(await app.apply())
                if rotation_of(source) == "no":
                    return
                (endpoint,) = await app.opened.store.page(limit=1)
                await app.opened.store.ask(endpoint.subscriptions[0].id, "rotate")
                assert [one.step.action for one in _worked(await app.apply())] == ["rotate"]
                (endpoint,) = await app.opened.store.page(limit=1)
                assert len(app.opened.routes.keys_of(endpoint)) == 2
                payload = next(iter(wanted.specification.examples().values())).read()
                for number in (0, 1):
                    token, request = await signed(
                        app.opened, source, wanted.specification.name, payload, f"id-{number}", signer=number
                    )
                    assert (await app.opened.receive(token, request)).status < REJECTED
                assert {step.action for step in await app.plan()} == {"none"}

        self._run(run)

    def _run(self, test: Callable[[App, Trigger[Any]], Any]) -> None:
        with self.provider() as provider:
            made: Any = self.integration
            integration = made(base_url=provider.url)
            wanted = self.trigger(integration)

            async def job(payload: dict[str, Any]) -> None:
                return None

            app = App(
                [trigger(wanted, id="conformance")(job)],
                url=PUBLIC_URL,
                store="memory:",
                register="off",
                connections={integration: self.connection},
            )
            anyio.run(test, app, wanted)


async def _place(
    app: App, wanted: Trigger[Any]
) -> tuple[WebhookApi[Any, Any, Any], Registration[Any, Any], Any, Sequence[Webhook[Any]]] | None:
    """Return what lists webhooks at a trigger's place, and ours among them; None where nothing lists."""
    source, opened = wanted.source, app.opened
    if not is_webhook(source) or source.api is None:
        return None
    (endpoint,) = await opened.store.page(limit=1)
    (subscription,) = endpoint.subscriptions
    client = await opened.clients.get(subscription.connection)
    events = Events(subscription.registered, subscription.registered)
    url, data = opened.reconciler.url_of(endpoint), source.load_data(subscription.data)
    reg: Registration[Any, Any] = Registration(url, wanted.params, events, "", data, opened.mark)
    found = await source.api.list(wanted.params, client)
    return source.api, reg, client, [webhook for webhook in found if webhook.url == url]


def _worked(applied: Sequence[Applied]) -> Sequence[Applied]:
    assert not [one.error for one in applied if one.error]
    return applied
