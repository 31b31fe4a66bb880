"""More connections and more requests than a server is meant for: the others are served, then all are."""

import resource
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from tests.hostile.serving import GROWTH, MB, Answer, answer, send, serving, until

IDLE = 2_000  # connections


@contextmanager
def many_files(wanted: int) -> Iterator[int]:
    """Allow so many open files, or as many as may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    try:
        yield allowed
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_thousands_of_idle_connections_and_unfinished_requests_keep_nobody_out(http: str) -> None:
    if http == "httptools":
        pytest.importorskip("httptools")
    with (
        many_files(2 * IDLE + 500) as allowed,
        serving(http, body_timeout=2, rate_limit=0) as server,
        ExitStack() as senders,
    ):
        before, count = server.memory, min(IDLE, (allowed - 500) // 2)
        for number in range(count):
            sender = senders.enter_context(closing(server.connect()))
            if number % 4 == 0:
                send(sender, server.head("Content-Length: 100"), b"x")
            elif number % 4 == 1:
                send(sender, server.head()[:-2])
        assert server.works()
        assert server.memory - before < GROWTH
        senders.close()
        assert server.works()


@pytest.mark.parametrize("path", ["known", "unknown"])
def test_a_flood_beyond_the_rate_is_429_and_normal_service_comes_back(path: str) -> None:
    with serving("auto", rate_limit=10, rate_burst=20) as server:
        flooded = server.path if path == "known" else server.path + "x"
        seen: dict[int, Answer] = {}
        with closing(server.connect()) as sender:
            for _ in range(200):
                send(sender, server.head("Content-Length: 2", path=flooded) + b"{}")
                told = answer(sender)
                seen[told.status] = told
        assert set(seen) == {401 if path == "known" else 404, 429}
        assert int(seen[429].headers["retry-after"]) >= 1
        until(server.works)


FAST, PLAIN = "trigflow.web.fast_connections:BoundedHttpTools", "trigflow.web.connections:BoundedH11"
HEADS = {
    "fields": b"X-A: bcdefghijklmnop\r\n" * 4000,
    "one field": b"X-A: " + b"b" * 100_000,
    "nothing": b"\r\n" * 50_000,
    "requests": b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n" * 3000,
}


@pytest.fixture(params=[FAST, PLAIN])
def bounded(request: pytest.FixtureRequest) -> str:
    if request.param == FAST:
        pytest.importorskip("httptools")
    place: str = request.param
    return place


@pytest.mark.parametrize("kind", sorted(HEADS))
def test_one_connection_can_not_fill_the_memory_before_there_is_a_request(bounded: str, kind: str) -> None:
    with serving(bounded, rate_limit=0) as server:
        assert server.works()
        before = server.memory
        with closing(server.connect()) as sender:
            if kind.startswith(("fields", "one")):
                send(sender, server.head()[:-2])
            sender.settimeout(2)  # where answers are not read, the server does not read on
            send(sender, *[HEADS[kind]] * 300)
            assert server.works()
            assert server.memory - before < 40 * MB


def test_heads_in_pieces_and_requests_behind_each_other_are_served(bounded: str) -> None:
    with serving(bounded, rate_limit=0) as server:
        whole = server.delivery("pieces")
        with closing(server.connect()) as sender:
            for _ in range(3):
                send(sender, *(whole[at : at + 7] for at in range(0, len(whole), 7)))
                assert answer(sender).status == 200
            send(sender, whole * 20)
            assert answer(sender).status == 200
