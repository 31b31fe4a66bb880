"""The self-probe: does the public URL lead here, and if not, what is to be mended?"""

from collections.abc import Callable

import httpx
import pytest

from trigflow.web.probe import Prober, Unreachable

pytestmark = pytest.mark.anyio
Answer = Callable[[httpx.Request], httpx.Response]


async def probe(
    answer: Answer, *, url: str = "https://h.example.com/hooks", mounted_at: str | None = None
) -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        await Prober("secret").check(url, "store", client, lambda: mounted_at)


def proving(secret: str = "secret", store: str = "store") -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        nonce = request.url.path.rpartition("/")[2]
        return httpx.Response(200, json=Prober(secret).prove(nonce, store))

    return answer


def saying(status: int, text: str = "", **headers: str) -> Answer:
    return lambda _: httpx.Response(status, text=text, headers=headers)


async def test_a_url_that_leads_to_this_app_is_proven() -> None:
    await probe(proving())


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (proving(store="another"), "another store"),
        (proving(secret="another"), "something else than this app"),
        (saying(200, "<html>"), "something else than this app"),
        (saying(200, '{"other": 1}'), "something else than this app"),
        (saying(302, location="https://www.example.com/hooks"), "www.example.com"),
        (saying(503, "trigflow: the app is not open"), "lifespan"),
        (saying(404, "trigflow: no such endpoint"), "mount prefix"),
        (saying(404, "Not Found"), "https://h.example.com/hooks"),
        (saying(502), "502"),
    ],
)
async def test_anything_else_is_named_with_what_to_mend(answer: Answer, says: str) -> None:
    with pytest.raises(Unreachable) as raised:
        await probe(answer)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("mounted_at", "says"),
    [
        ("/api/events", "set url (TRIGFLOW_URL) to 'https://h.example.com/api/events'"),
        ("", "without a prefix"),
    ],
)
async def test_the_real_prefix_is_named_once_it_is_known(mounted_at: str, says: str) -> None:
    with pytest.raises(Unreachable) as raised:
        await probe(saying(404, "Not Found"), mounted_at=mounted_at)
    assert says in str(raised.value)


async def test_a_url_that_can_not_be_reached_says_so() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(Unreachable, match="can't be reached"):
        await probe(refuse)
