"""A real server on a real socket, and senders that keep to no rule: it answers, lives, and stays small."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing

import pytest

from tests.hostile.serving import GROWTH, MB, Answer, Server, answer, done, send, serving, until


@pytest.fixture(scope="module", params=["httptools", "h11"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "httptools":
        pytest.importorskip("httptools")
    settings = {
        "body_limit": MB,
        "bodies_limit": 4 * MB,
        "body_timeout": 2,
        "requests_limit": 500,
        "rate_limit": 0,
    }
    with serving(request.param, **settings) as running:
        assert running.works()
        yield running


@pytest.fixture(autouse=True)
def it_lives_and_stays_small(server: Server) -> Iterator[None]:
    before = server.memory
    yield
    assert server.process.poll() is None
    until(server.works)
    assert server.memory - before < GROWTH


def test_a_body_that_dribbles_is_taken_if_it_is_in_time(server: Server) -> None:
    whole = server.delivery("dribble")
    assert server.answer_to(*(whole[at : at + 1] for at in range(len(whole)))).status == 200


def test_chunks_are_taken(server: Server) -> None:
    head, _, body = server.delivery("chunks").partition(b"\r\n\r\n")
    head = head.replace(f"Content-Length: {len(body)}".encode(), b"Transfer-Encoding: chunked")
    chunks = [b"%x\r\n%s\r\n" % (1, body[at : at + 1]) for at in range(len(body))]
    assert server.answer_to(head + b"\r\n\r\n", *chunks, b"0\r\n\r\n").status == 200


def test_a_body_that_stops_is_408_and_the_connection_is_closed(server: Server) -> None:
    with closing(server.connect()) as sender:
        send(sender, server.head("Content-Length: 100"), b"{")
        told = answer(sender)
        assert (told.status, told.headers["connection"]) == (408, "close")


def test_a_body_without_end_is_413(server: Server) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    endless = [server.head("Transfer-Encoding: chunked"), *[chunk] * 200]
    assert server.answer_to(*endless).status in {413, 0}
    assert server.answer_to(server.head("Content-Length: 999999999999")).status == 413


@pytest.mark.parametrize(
    "fields",
    [
        ["Content-Length: -1"], ["Content-Length: 1e3"], ["Content-Length: 2", "Content-Length: 3"],
        ["Content-Length: " + "9" * 5000], ["Content-Length:"], ["Transfer-Encoding: gzip"],
        ["Content-Length: 2", "Transfer-Encoding: chunked"], ["Transfer-Encoding: chunked, chunked"],
    ],
)  # fmt: skip
def test_lengths_that_say_nothing_are_refused_or_let_go_of(server: Server, fields: Sequence[str]) -> None:
    with closing(server.connect()) as sender:
        send(sender, server.head(*fields), b"{}")
        done(sender)
        assert answer(sender).status in {0, 400, 401, 408, 413, 501}


@pytest.mark.parametrize("kind", ["many", "long", "endless", "url"])
def test_floods_of_header_fields_are_refused(server: Server, kind: str) -> None:
    flood = {
        "many": server.head(*["X-A: b"] * 20_000),
        "long": server.head("X-A: " + "b" * 2 * MB),
        "endless": server.head()[:-2] + b"X-A: b\r\n" * 100_000,
        "url": server.head(path=server.path + "?" + "a" * 2 * MB),
    }[kind]
    with closing(server.connect()) as sender:
        send(sender, flood)
        done(sender)
        assert answer(sender).status in {0, 400, 414, 431}


GARBAGE = [
    b"\x00" * 10_000, b"\xff\xfe" * 100, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    b"POST / HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\r\n" * 10_000,
    b"POST  / HTTP/1.1\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /%ff%00%zz HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\n\r\n", b"A" * 200_000,
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(GARBAGE)))
def test_garbage_is_refused(server: Server, number: int) -> None:
    with closing(server.connect()) as sender:
        send(sender, GARBAGE[number])
        done(sender)
        assert answer(sender).status in {0, 400, 404, 405, 414, 431, 505}


def test_pipelined_garbage_after_a_delivery_does_not_undo_it(server: Server) -> None:
    with closing(server.connect()) as sender:
        send(sender, server.delivery("pipelined") + GARBAGE[0])
        assert answer(sender).status in {200, 400}
    with closing(server.connect()) as sender:
        for _ in range(50):
            send(sender, server.delivery("again"))
        assert answer(sender).status == 200


@pytest.mark.parametrize("cut", [10, -10])
def test_a_sender_that_leaves_in_the_middle_is_let_go_of(server: Server, cut: int) -> None:
    whole = server.delivery("left")
    for _ in range(200):
        with closing(server.connect()) as sender:
            send(sender, whole[:cut])


def test_a_sender_that_only_closes_its_side_gets_its_answer_or_nothing(server: Server) -> None:
    with closing(server.connect()) as sender:
        send(sender, server.delivery("half"))
        done(sender)
        assert answer(sender).status in {0, 200}


def test_slow_bodies_fill_the_room_others_are_told_to_come_again_and_then_it_is_as_before(
    server: Server,
) -> None:
    part = b"x" * (1000 * 1024)
    with ExitStack() as stack:
        for _ in range(4):
            sender = stack.enter_context(closing(server.connect()))
            send(sender, server.head("Content-Length: 1040000"), part)
        refused = Answer(0, {})

        def is_full() -> bool:
            nonlocal refused
            refused = server.answer_to(server.delivery("full", b"x" * 500_000))
            return refused.status == 503

        until(is_full)
        assert int(refused.headers["retry-after"]) >= 1
    until(lambda: server.answer_to(server.delivery("free", b"x" * 500_000)).status == 200)
