"""Building an app: every mistake in the set-up is found there; the text names place and remedy."""

import re
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import attrs
import pytest

from trigflow import (
    IO,
    ApiKey,
    App,
    Delivery,
    Event,
    ExternalSource,
    Field,
    Integration,
    Run,
    SettingsError,
    SetupError,
    SyncIO,
    Trigger,
    Unsigned,
    event,
    trigger,
)
from trigflow.runtime.registration.collect import wants_of
from trigflow_github import GitHub, GitHubClient, github
from trigflow_github.payloads import Issues

if TYPE_CHECKING:
    from decimal import Decimal

acme = github.issues(repo="acme/web")


@attrs.frozen
class Misspelt:
    isue: dict[str, object]


@attrs.frozen
class Title:
    title: str


@attrs.frozen
class Small:
    issue: Title


def built(function: Callable[..., object], *triggers: Trigger[object], **options: object) -> App:
    return App([trigger(*(triggers or (acme,)), **options)(function)])  # type: ignore[arg-type]


def test_a_function_is_marked_and_returned_unchanged_and_nothing_is_collected() -> None:
    async def job(payload: Issues) -> None: ...

    assert trigger(acme)(job) is job
    assert App().jobs == {}


def test_a_job_is_found_by_function_module_or_name_and_is_one_job_however_often_it_is_met() -> None:
    @trigger(acme, id="one")
    async def job(payload: Issues) -> None: ...

    module = ModuleType("jobs_of_this_test")
    module.job = module.again = job  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    assert list(App([job, module, "jobs_of_this_test"]).jobs) == ["one"]


def test_the_job_decorator_of_an_app_marks_and_collects() -> None:
    app = App()

    @app.job(acme, id="one")
    def job(payload: Issues) -> None: ...

    assert list(app.jobs) == ["one"]


def test_a_job_may_ask_for_less_than_the_payload_and_for_what_surrounds_it() -> None:
    async def job(
        payload: Small,
        io: IO,
        event: Event,
        run: Run,
        delivery: Delivery[object, object],
        hub: GitHubClient,
        n: int = 3,
    ) -> None: ...

    (made,) = built(job).jobs.values()
    assert [parameter.role for parameter in made.parameters] == ["payload", *["given"] * 4, "client"]


def test_a_job_without_a_payload_is_fine() -> None:
    async def job(io: IO) -> None: ...

    def nothing() -> None: ...

    assert built(job).jobs
    assert built(nothing).jobs


async def wrong_type(payload: Issues, count: int) -> None: ...
async def no_annotation(payload: Issues, hub) -> None: ...  # type: ignore[no-untyped-def]
async def sync_io(payload: Issues, io: SyncIO) -> None: ...
def async_io(payload: Issues, io: IO) -> None: ...
async def stars(payload: Issues, *more: object) -> None: ...
async def unresolvable(payload: "Decimal") -> None: ...
async def misspelt(payload: Misspelt) -> None: ...
async def not_json(payload: re.Pattern[str]) -> None: ...


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (wrong_type, ["wrong_type", "'count'", "nothing of type int", "IO"]),
        (no_annotation, ["'hub'", "no annotation", "annotate it"]),
        (sync_io, ["'io'", "annotate it with IO"]),
        (async_io, ["'io'", "annotate it with SyncIO"]),
        (stars, ["'more'", "stars"]),
        (unresolvable, ["'Decimal'", "TYPE_CHECKING"]),
        (misspelt, ["Misspelt", "isue", "github.issues"]),
        (not_json, ["payload"]),
    ],
)
def test_a_wrong_parameter_is_named_with_its_function_and_a_remedy(
    function: Callable[..., object], says: list[str]
) -> None:
    with pytest.raises(SetupError) as raised:
        built(function, id=f"id-of-{function.__name__}")
    del function.__dict__["__trigflow__"]
    for part in says:
        assert part in str(raised.value)


def test_two_jobs_with_one_id_are_named_both() -> None:
    async def first(payload: Issues) -> None: ...
    async def second(payload: Issues) -> None: ...

    with pytest.raises(SetupError, match=r"first.*second.*id="):
        App([trigger(acme, id="same")(first), trigger(acme, id="same")(second)])


def test_what_is_not_a_job_or_holds_none_is_named() -> None:
    with pytest.raises(SetupError, match="@trigger"):
        App([lambda: None])
    with pytest.raises(SetupError, match="holds no job"):
        App([ModuleType("empty")])
    with pytest.raises(SetupError, match="no module 'nowhere_to_be_found'"):
        App(["nowhere_to_be_found"])
    with pytest.raises(SetupError, match="two @trigger"):
        trigger(acme)(trigger(acme)(lambda: None))
    with pytest.raises(SetupError, match="expects a function"):
        trigger(acme)("text")  # type: ignore[type-var]


def test_a_trigger_that_names_no_webhook_gets_the_remedies() -> None:
    async def job(payload: Issues) -> None: ...

    with pytest.raises(SetupError, match=r'repo="owner/name" or org="name".*GitHub\(repo='):
        built(job, github.issues)  # type: ignore[arg-type]


def test_an_event_without_a_call_takes_the_defaults_of_its_integration() -> None:
    async def job(payload: Issues) -> None: ...

    app = built(job, GitHub(repo="acme/web").issues)  # type: ignore[arg-type]
    (want,) = wants_of(app.jobs)
    assert (want.key, want.events) == ("repo:acme/web", ("issues",))


@pytest.mark.parametrize("place", [{"repo": "acme"}, {"repo": "acme/web", "org": "acme"}, {"org": "a/b"}])
def test_a_place_that_is_none_is_refused(place: dict[str, str]) -> None:
    async def job(payload: Issues) -> None: ...

    with pytest.raises(SetupError, match=r"github\.issues"):
        built(job, github.issues(**place))


def test_what_is_not_a_trigger_or_can_not_be_called_is_named() -> None:
    async def job(payload: Issues) -> None: ...
    async def other(payload: Issues) -> None: ...

    with pytest.raises(SetupError, match="is not a trigger"):
        built(job, "github.issues")  # type: ignore[arg-type]
    with pytest.raises(SetupError, match="call it with its params"):
        built(other, lambda needed: needed)  # type: ignore[arg-type]


def test_an_unknown_filter_operator_is_found_when_the_app_is_built() -> None:
    async def job(payload: Issues) -> None: ...

    with pytest.raises(SetupError, match=r"\$roughly"):
        built(job, filter={"action": [{"$roughly": "opened"}]})


def test_the_filter_of_a_trigger_and_that_of_the_job_must_both_hold() -> None:
    async def job(payload: dict[str, object]) -> None: ...

    narrowed = github.issues(repo="acme/web", actions=["opened"]).only({"a": [1]})
    (made,) = built(job, narrowed, filter={"b": [2]}).jobs.values()
    (listens,) = made.listens
    assert listens.matcher.matches({"action": "opened", "a": 1, "b": 2})
    for missing in ({"a": 1, "b": 2}, {"action": "opened", "b": 2}, {"action": "opened", "a": 1}):
        assert not listens.matcher.matches(missing)


def test_an_example_that_the_filter_keeps_out_is_not_asked_to_fit() -> None:
    @attrs.frozen
    class OnlyTransferred:
        changes: dict[str, object]

    async def job(payload: OnlyTransferred) -> None: ...

    assert built(job, github.issues(repo="acme/web", actions=["transferred"])).jobs
    with pytest.raises(SetupError, match="changes"):
        built(_copy(job), github.issues(repo="acme/web", actions=["opened"]))


def _copy(function: Callable[..., object]) -> Callable[..., object]:
    async def job(payload: object) -> None: ...

    job.__annotations__ = dict(function.__annotations__)
    return job


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("url", "hooks.example.com", "https://"),
        ("url", "https://u:p@hooks.example.com", "password"),
        ("url", "https://hooks.example.com?x=1", "url"),
        ("register", "sometimes", "auto, plan or off"),
        ("check_every", timedelta(seconds=1), "10s"),
        ("concurrency", 0, "at least 1"),
        ("body_limit", -1, "at least 1"),
    ],
)
def test_a_wrong_setting_is_found_when_the_app_is_built(setting: str, value: object, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as raised:
        App(**{setting: value})  # type: ignore[arg-type]
    assert raised.value.name == setting


def test_credentials_in_fields_that_there_are_not_are_refused_by_name_alone() -> None:
    class Shop(Integration, id="shop", auth=[ApiKey("SHOP_USER", Field("password", "SHOP_PASSWORD", "P"))]):
        pass

    assert App(connections={Shop(): {"token": "ann", "password": "hunter2"}})
    with pytest.raises(
        SetupError, match="connections: shop has no field pasword; it has: token, password"
    ) as e:
        App(connections={Shop(): {"token": "ann", "pasword": "hunter2"}})
    assert "hunter2" not in str(e.value)
    with pytest.raises(
        SetupError, match=r"app_credentials: github has no field client; it has: .*client_id"
    ) as e:
        App(app_credentials={github: {"client": "hunter2"}})
    assert "hunter2" not in str(e.value)
    with pytest.raises(SetupError, match="it has: none"):
        App(app_credentials={Shop(): {"client_id": "x"}})


def test_settings_come_from_keywords_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIGFLOW_URL", "https://from.environment")
    monkeypatch.setenv("TRIGFLOW_CONCURRENCY", "7")
    monkeypatch.setenv("TRIGFLOW_STORE", "from-environment.db")
    resolved = App(store="from-keyword.db").resolved()
    assert (resolved.settings.url, resolved.settings.concurrency) == ("https://from.environment", 7)
    assert resolved.settings.store == "from-keyword.db"
    assert [resolved.origins[name] for name in ("url", "store", "threads")] == [
        "environment",
        "keyword",
        "default",
    ]
    monkeypatch.setenv("TRIGFLOW_CONCURRENCY", "many")
    with pytest.raises(SettingsError, match=r"TRIGFLOW_CONCURRENCY.*whole number"):
        App()


@pytest.mark.anyio
async def test_a_bad_secret_key_is_refused_without_showing_it() -> None:
    with pytest.raises(SettingsError) as raised:
        async with App(store="memory:", secret_key="hunter2-hunter2"):
            pass
    assert "hunter2" not in str(raised.value)
    assert "--new-key" in str(raised.value)


@pytest.mark.anyio
async def test_a_key_is_made_beside_the_store_for_its_owner_alone(tmp_path: Path) -> None:
    store = tmp_path / "deep" / "t.db"
    async with App(store=str(store)):
        pass
    key = Path(f"{store}.key")
    assert key.stat().st_mode & 0o777 == 0o600
    before = key.read_text()
    async with App(store=str(store)):
        pass
    assert key.read_text() == before


def test_empty_credentials_are_refused() -> None:
    with pytest.raises(SetupError, match="github"):
        App(connections={github: ""})


def test_a_source_must_be_whole() -> None:
    source: ExternalSource[str, object, int] = ExternalSource(
        "half", params=str, client=object, data=int, verify=Unsigned(because="it is a test")
    )

    class Half(Integration, id="half"):
        @event("thing", dict[str, object], source=source)
        def thing(self) -> str:
            """A thing."""
            return ""

    async def job(payload: dict[str, object]) -> None: ...

    with pytest.raises(SetupError, match=r"half has no handler; decorate one with @source\.handler"):
        built(job, Half().thing())


@pytest.mark.anyio
async def test_an_app_is_opened_once_and_says_so_while_it_is_closed() -> None:
    app = App(store="memory:")
    with pytest.raises(SetupError, match="async with app"):
        app.opened  # noqa: B018
    async with app:
        with pytest.raises(SetupError, match="open already"):
            await app.__aenter__()
        with pytest.raises(SetupError, match="open already"):
            async with app.inspect():
                pass
        assert app.opened.engine.alive
        with pytest.raises(SetupError, match="when it opens"):
            app.override(url="https://x.example")
    async with app:
        assert app.opened.engine.alive


@pytest.mark.anyio
async def test_options_decide_how_a_run_is_queued() -> None:
    from trigflow.testing import deliver

    started: list[str] = []

    @trigger(acme, id="off", enabled=False)
    async def off(payload: Issues) -> None:
        started.append("off")

    @trigger(acme, id="late", delay=timedelta(hours=1), version="v7")
    async def late(payload: Issues) -> None:
        started.append("late")

    async with App([off, late], store="memory:", register="off") as app:
        with pytest.raises(TimeoutError):
            await deliver(app, acme, timeout=0.2)
        (run,) = await app.opened.store.runs(limit=5)
        assert (run.job, run.state, started) == ("late", "queued", [])
        assert await app.cancel(run.id)
        assert not await app.cancel(run.id)


def test_a_keyword_that_is_no_setting_is_refused_with_what_was_meant() -> None:
    with pytest.raises(TypeError, match="did you mean 'register'"):
        App(registr="off")  # type: ignore[call-arg]
