"""More connections and more requests than a server is meant for: the others are served, then all are."""

import resource
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import pytest

from tests.hostile.serving import GROWTH, Answer, answer, send, serving, until

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
