"""Real processes that are asked to stop: no longer ready first, then ended within a known time."""

from __future__ import annotations

import http.client
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.floor import Floor

LONG = "600"  # seconds that a job takes which nobody waits for


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[Floor]:
    with Floor(tmp_path, WORK=LONG) as made:
        yield made


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def begin(floor: Floor) -> None:
    floor.until_ready()
    floor.find_endpoint()
    connection = http.client.HTTPConnection("127.0.0.1", floor.port, timeout=10)
    assert floor.send(connection, "one") == 200
    connection.close()
    floor.until(floor.lines)


def test_a_second_signal_ends_it_at_once_and_the_run_goes_on_later(floor: Floor) -> None:
    server = floor.serve("--stop-within", "300")
    begin(floor)
    server.send_signal(signal.SIGTERM)
    floor.until(lambda: floor.get("/readyz")[0] != 200)
    assert server.poll() is None
    server.send_signal(signal.SIGTERM)
    assert server.wait(5) == 128 + signal.SIGTERM
    floor.serve("--stop-within", "0.1")
    floor.until(lambda: len(floor.lines()) == 2)


def test_what_does_not_stop_is_ended_when_its_time_is_over(floor: Floor) -> None:
    server = floor.serve("--stop-within", "1")
    begin(floor)
    server.send_signal(signal.SIGTERM)
    assert server.wait(8) == 1  # less than the 10 s that a job gets
    assert "something does not stop" in floor.logs()


def test_while_it_lingers_it_is_not_ready_and_takes_what_still_comes(tmp_path: Path) -> None:
    with Floor(tmp_path) as floor:
        server = floor.serve("--linger", "1.5")
        begin(floor)
        connection = http.client.HTTPConnection("127.0.0.1", floor.port, timeout=10)
        assert floor.send(connection, "two") == 200  # an open connection
        server.send_signal(signal.SIGTERM)
        floor.until(lambda: floor.get("/readyz")[0] == 503)
        assert floor.get("/healthz")[0] == 200
        assert floor.send(connection, "three") == 200
        connection.close()
        floor.until(lambda: floor.get("/readyz")[0] == 0)
        assert server.wait(20) == -signal.SIGTERM
        assert {line.event for line in floor.lines()} == {"one", "two", "three"}
        assert floor.done()


def test_a_worker_answers_about_its_health_and_nothing_else(tmp_path: Path) -> None:
    with Floor(tmp_path) as floor:
        port = free_port()
        floor.serve("--no-runs")
        floor.work("--port", str(port))
        begin(floor)
        floor.until_ready(port)
        status, told = floor.get("/healthz", port=port)
        assert (status, told["parts"]["engine"]["state"]) == (200, "running")
        assert floor.get("/healthz")[1]["parts"]["engine"]["state"] == "off"
        for path in ("/healthz", "/readyz"):
            assert floor.get(path, method="HEAD", port=port) == (200, b"")
        assert floor.get("/probe/x", port=port)[0] == 404
        path = floor.endpoint_path
        assert floor.get(path, method="POST", port=port)[0] == 404


def test_processes_that_start_at_the_same_moment_on_a_new_store_agree(tmp_path: Path) -> None:
    with Floor(tmp_path) as floor:
        ports = [free_port() for _ in range(3)]
        for port in ports:
            floor.work("--port", str(port))
        for port in ports:
            floor.until_ready(port)
        assert floor.rows("SELECT count(*) FROM endpoints") == [(1,)]
        assert floor.rows("SELECT count(*) FROM keys") == [(1,)]
        for process in floor.processes:
            process.terminate()
        for process in floor.processes:
            process.wait(15)
        assert floor.rows("SELECT count(*) FROM instances") == [(0,)]
