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
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import anyio

from trigflow.app import App
from trigflow.core.errors import NotFound, Unauthorized
from trigflow.core.events import Event
from trigflow.core.http import Headers
from trigflow.core.jobs import trigger
from trigflow.core.payloads import decode_json_text, structure_into
from trigflow.core.triggers import Trigger
from trigflow.runtime.registration.provider import rotation_of
from trigflow.sources.credentials import Checked
from trigflow.sources.integration import Integration
from trigflow.sources.registration import Registration, Webhook
from trigflow.sources.tokens import Unsigned
from trigflow.testing.deliveries import deliver, signed
from trigflow.testing.proving import (
    WRONG,
    Provider,
    another,
    can_check,
    credentials,
    delivery,
    events,
    example,
    examples_from,
    forgeries,
    is_ours,
    opened_client,
    place as place_of,
    raised,
    registration,
    since,
    told,
    touched,
    webhook_of,
    webhook_of_others,
    worked,
)

PUBLIC_URL = "https://hooks.example.com"
FOREIGN_URL = "https://elsewhere.example.com/theirs"
REJECTED = 401
SECRET = "not-to-be-shown-0d2c"  # noqa: S105 - shown to nobody but a fake


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
            for one in specification.examples().values():
                structure_into(specification.payload)(one.read())
                known = True
        assert known, f"no event of {self.integration.id} has an example"

    def test_every_field_that_is_marked_sensitive_is_in_anexample(self) -> None:
        """Look for the marked fields: a path that leads nowhere hides nothing."""
        for _, specification in self.integration.specifications():
            specification.check()

    def test_what_the_provider_signs_is_accepted_and_a_redelivery_is_a_duplicate(self) -> None:
        """Deliver an example twice under one id."""

        async def run(app: App, wanted: Trigger[Any]) -> None:
            async with app:
                worked(await app.apply())
                first = await deliver(app, wanted, id="one")
                assert (first.outcome, [run.state for run in first.runs]) == ("accepted", ["succeeded"])
                assert (await deliver(app, wanted, id="one")).outcome == "duplicate"

        self._run(run)

    def test_what_the_provider_did_not_sign_is_rejected(self) -> None:
        """Deliver an example with no signature, another one, of another key, too old, or for another body."""

        async def run(app: App, wanted: Trigger[Any]) -> None:
            source, name = webhook_of(wanted), wanted.specification.name
            if isinstance(source.verify, Unsigned):
                return  # it says so, and why
            async with app:
                worked(await app.apply())
                token, request = await signed(app.opened, source, name, example(wanted), "one")
                bare = Headers.of(list(source.sample_headers(name, request.body, "one")))
                (endpoint,) = await app.opened.store.page(limit=1)
                keys, now = app.opened.routes.keys_of(endpoint), app.opened.clock.now()
                for problem, forged in forgeries(source, request, bare, keys, now=now):
                    answer = await app.opened.receive(token, forged)
                    assert answer.status == REJECTED, f"{source.id} takes a request that {problem}"
                assert (await app.opened.receive(token, request)).status < REJECTED

        self._run(run)

    def test_the_handler_says_the_event_of_each_example_and_the_same_each_time(self) -> None:
        """Ask twice of each example: what reads a clock or rolls dice says something else; I/O is seen."""

        async def run(_app: App, wanted: Trigger[Any]) -> None:
            source = webhook_of(wanted)
            for _, specification in self.integration.specifications():
                for name, one in examples_from(source, specification):
                    first, again = (delivery(source, specification, one.read(), wanted.params) for _ in "12")
                    assert source.handle is not None
                    where = f"the handler of {source.id}, example {name!r} of {specification.name!r}"
                    said, reached = touched(lambda it=first: list(source.handle(it)))  # type: ignore[misc]
                    assert not reached, f"{where}: it does I/O ({', '.join(reached)})"
                    assert said == list(source.handle(again)), (
                        f"{where}: it says something else the next time"
                    )
                    assert first.payload == decode_json_text(first.text), f"{where}: it changes the payload"
                    names = [one.name for one in said if isinstance(one, Event)]
                    assert specification.name in names, f"{where}: it says {said}, not that event"

        self._run(run)

    def test_a_refused_connection_is_told_and_no_error_shows_a_secret(self) -> None:
        """Ask with wrong credentials for all there is; each must be Unauthorized, without what is secret."""

        async def run(_app: App, wanted: Trigger[Any]) -> None:
            source, integration = webhook_of(wanted), wanted.integration
            wrong = credentials(integration, self.connection, WRONG)
            reg: Registration[Any, Any] = Registration(
                f"{PUBLIC_URL}/e/aaaaaaaa/{'b' * 32}",
                wanted.params,
                events(wanted),
                SECRET,
                None,
                "/e/aaaaaaaa/",
            )
            calls: dict[str, Callable[[Any], Any]] = {}
            if can_check(integration):
                calls["check"] = integration.check
            if source.api is not None:
                api = source.api
                calls["api.list"] = lambda client: api.list(wanted.params, client)
                calls["api.create"] = lambda client: api.create(reg, client)
            elif source.register_hook is not None:
                register = source.register_hook
                calls["register"] = lambda client: register(reg, client)
            async with opened_client(integration, wrong) as client:
                for name, call in calls.items():
                    error = await raised(lambda call=call: call(client))  # type: ignore[misc]
                    assert isinstance(error, Unauthorized), f"{name} with wrong credentials: {type(error)}"
                    for secret in (WRONG, SECRET):
                        assert secret not in told(error), f"{name}: its error shows a secret"

        self._run(run)

    def test_a_good_connection_is_known_and_has_choices(self) -> None:
        """Ask whose credentials they are, and for the first choices of each param that has some."""

        async def run(app: App, wanted: Trigger[Any]) -> None:
            source, integration = webhook_of(wanted), wanted.integration
            good = credentials(integration, self.connection)
            async with app, opened_client(integration, good) as client:
                if can_check(integration):
                    assert isinstance(await integration.check(client), Checked)
                for hook in source.option_hooks.values():
                    await hook(client, None)

        self._run(run)

    def test_the_log_of_the_provider_can_be_read(self) -> None:
        """Register, and read what the provider's log has, where there is one."""

        async def run(app: App, wanted: Trigger[Any]) -> None:
            recover = webhook_of(wanted).recover_hook
            async with app:
                worked(await app.apply())
                reg, client = await registration(app, wanted)
                if recover is not None:
                    async for _ in recover(reg, since(), client):
                        pass

        self._run(run)

    def test_applying_twice_changes_nothing_the_second_time(self) -> None:
        """Register, and see that nothing is left to do."""

        async def run(app: App, wanted: Trigger[Any]) -> None:
            async with app:
                assert [one.step.action for one in worked(await app.apply())] == ["create"]
                assert worked(await app.apply()) == []
                assert {step.action for step in await app.plan()} == {"none"}

        self._run(run)

    def test_a_webhook_that_no_job_wants_is_removed(self) -> None:
        """Register, take the job away, and see the webhook go."""

        async def run(app: App, wanted: Trigger[Any]) -> None:
            async with app:
                worked(await app.apply())
                reconciler, none = app.opened.reconciler, timedelta(0)
                await app.opened.rows.withdraw()
                assert [step.action for step in await reconciler.plan(grace=none)] == ["remove"]
                worked(await reconciler.apply(grace=none))
                assert list(await reconciler.plan(grace=none)) == []

        self._run(run)

    def test_removing_what_is_gone_already_is_no_failure(self) -> None:
        """Register, stop it behind our back, and remove it."""

        async def run(app: App, wanted: Trigger[Any]) -> None:
            source = webhook_of(wanted)
            async with app:
                worked(await app.apply())
                place, (reg, client) = await place_of(app, wanted), await registration(app, wanted)
                if place is not None:
                    await place[0].delete(reg, place[3][0], client)
                    with suppress(NotFound):  # which counts as done
                        await place[0].delete(reg, place[3][0], client)
                elif source.unregister_hook is not None:
                    await source.unregister_hook(reg, client)
                await app.opened.rows.withdraw()
                worked(await app.opened.reconciler.apply(grace=timedelta(0)))
                assert list(await app.opened.reconciler.plan(grace=timedelta(0))) == []

        self._run(run)

    def test_the_provider_sends_what_jobs_want_and_webhooks_of_others_are_left_alone(self) -> None:
        """Register, want one more event, and want nothing; beside a webhook that is not ours."""
        with self.provider() as provider, TemporaryDirectory() as folder:
            integration: Any = self.integration
            here = integration(base_url=provider.url)
            wanted = self.trigger(here)
            more = another(self.integration, wanted)
            store = f"sqlite:///{folder}/trigflow.db"

            async def run(
                triggers: Sequence[Trigger[Any]], foreign: Webhook[Any] | None
            ) -> Webhook[Any] | None:
                async with self._app(triggers, here, store=store) as app:
                    api = webhook_of(wanted).api
                    if api is None:
                        return None
                    client = await app.opened.clients.get(here.connection_ref)
                    if foreign is None:
                        foreign = await webhook_of_others(wanted, client, FOREIGN_URL)
                    worked(await app.apply())
                    found = [w for w in await api.list(wanted.params, client) if is_ours(app, w)]
                    names = {name for one in triggers for name in one.specification.registers}
                    assert [set(one.events) for one in found] == [names], (
                        "it sends other events than are wanted"
                    )
                    await self._removed(app, is_last=len(triggers) > 1)
                    after = [w for w in await api.list(wanted.params, client) if not is_ours(app, w)]
                    assert after == [foreign], "it changed a webhook that is not ours"
                    return foreign

            foreign = anyio.run(run, [wanted], None)
            if foreign is not None and more is not None:
                anyio.run(run, [wanted, more], foreign)

    def test_a_webhook_that_was_deleted_at_the_provider_is_made_anew(self) -> None:
        """Register, delete the webhook behind our back, and see it come back with the same events."""

        async def run(app: App, wanted: Trigger[Any]) -> None:
            async with app:
                worked(await app.apply())
                place = await place_of(app, wanted)
                if place is None:
                    return  # its provider can't list
                api, reg, client, (webhook,) = place
                await api.delete(reg, webhook, client)
                assert [one.step.action for one in worked(await app.apply())] == ["recreate"]
                again = await place_of(app, wanted)
                assert again is not None
                assert [sorted(one.events) for one in again[3]] == [sorted(webhook.events)]

        self._run(run)

    def test_a_key_is_changed_and_both_are_taken_until_the_old_one_has_had_its_time(self) -> None:
        """Rotate, where that is possible, and deliver with the new key and with the old one."""

        async def run(app: App, wanted: Trigger[Any]) -> None:
            source = webhook_of(wanted)
            async with app:
                worked(await app.apply())
                if rotation_of(source) == "no":
                    return
                (endpoint,) = await app.opened.store.page(limit=1)
                await app.opened.store.ask(endpoint.subscriptions[0].id, "rotate")
                assert [one.step.action for one in worked(await app.apply())] == ["rotate"]
                (endpoint,) = await app.opened.store.page(limit=1)
                assert len(app.opened.routes.keys_of(endpoint)) == 2
                payload = example(wanted)
                for number in (0, 1):
                    token, request = await signed(
                        app.opened, source, wanted.specification.name, payload, f"id-{number}", signer=number
                    )
                    assert (await app.opened.receive(token, request)).status < REJECTED
                assert {step.action for step in await app.plan()} == {"none"}

        self._run(run)

    async def _removed(self, app: App, *, is_last: bool) -> None:
        if is_last:
            await app.opened.rows.withdraw()
            worked(await app.opened.reconciler.apply(grace=timedelta(0)))

    def _run(self, test: Callable[[App, Trigger[Any]], Any]) -> None:
        with self.provider() as provider:
            made: Any = self.integration
            integration = made(base_url=provider.url)
            wanted = self.trigger(integration)
            anyio.run(test, self._app([wanted], integration), wanted)

    def _app(self, wanted: Sequence[Trigger[Any]], integration: Integration, store: str = "memory:") -> App:
        async def job(payload: dict[str, Any]) -> None:
            return None

        return App(
            [trigger(*wanted, id="conformance")(job)],
            url=PUBLIC_URL,
            store=store,
            register="off",
            connections={integration: self.connection},
        )
