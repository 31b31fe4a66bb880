"""From a URL to its endpoint among many, and from an account to its subscription among many."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import anyio
import attrs

from benchmarks.load import PAYLOAD
from benchmarks.micro.timing import QUICK_ROUNDS, Figure, over_sizes
from trigflow import (
    App,
    Delivery,
    Event,
    ExternalSource,
    Headers,
    Integration,
    Request,
    Secret,
    Unsigned,
    event,
    header,
    trigger,
)
from trigflow.runtime import records as r

SIZES, QUICK_SIZES = (10, 1_000, 100_000), (10, 1_000)
ASKED = 1_000  # endpoints that are asked in turn, at most
ROUNDS = 7
RELOADS = 200  # of an endpoint, in a round
TOGETHER = 64  # deliveries in flight, so that they share commits
KEPT_AT_ONCE = 2_000  # rows written together while preparing


@attrs.frozen
class Place:
    """Params of the source: nothing to choose."""


source: ExternalSource[Place, object, int] = ExternalSource(
    "bench.webhook", params=Place, client=object, data=int, secret=Secret.NONE,
    verify=Unsigned(because="routing is timed, not signatures"), account=header("X-Account"),
)  # fmt: skip


@source.handler
def handle(delivery: Delivery[Place, int]) -> Sequence[Event]:
    """Return the one event of a delivery."""
    return [Event("happened", delivery.headers.get("x-id") or "", delivery.payload)]


class Happened(TypedDict):
    """The payload: one field is enough."""

    action: str


class Bench(Integration, id="bench"):
    """A provider whose apps have one endpoint for all accounts."""

    @event("happened", Happened, source=source)
    def happened(self) -> Place:
        """Something happened."""
        return Place()


@trigger(Bench().happened)
async def job(payload: Happened) -> None:
    """Do nothing."""


def take(quick: bool) -> Mapping[str, Figure]:
    """Time routing at several sizes, each on a store of its own."""
    sizes = QUICK_SIZES if quick else SIZES
    rounds = QUICK_ROUNDS if quick else ROUNDS
    known: dict[int, float] = {}
    unknown: dict[int, float] = {}
    accounts: dict[int, float] = {}
    reloads: dict[int, float] = {}
    for size in sizes:
        known[size], unknown[size] = anyio.run(_endpoints, size, rounds)
        accounts[size], reloads[size] = anyio.run(_accounts, size, rounds)
    lookup = _lookup_cost()
    plain = "a look into a dict"
    smallest = accounts[sizes[0]]
    return {
        "routing among endpoints": over_sizes("µs", known, plain, lookup),
        "routing among endpoints, first delivery": over_sizes("µs", unknown, plain, lookup),
        "routing among accounts of one endpoint": over_sizes(
            "µs", accounts, f"a delivery with {sizes[0]} accounts", smallest
        ),
        "reading an endpoint and one of its accounts again": over_sizes(
            "µs", reloads, f"a delivery with {sizes[0]} accounts", smallest
        ),
    }


def _lookup_cost() -> float:
    table = {str(number): number for number in range(ASKED)}
    keys = list(table) * 100
    start = time.perf_counter()
    for key in keys:
        table.get(key)
    return (time.perf_counter() - start) / len(keys) * 1e6


async def _endpoints(size: int, rounds: int) -> tuple[float, float]:
    """Return the cost in µs of finding an endpoint that was asked before, and one that was not."""
    with tempfile.TemporaryDirectory() as folder:
        async with App([job], store=str(Path(folder) / "bench.db"), register="off", rate_limit=0) as app:
            opened = app.opened
            tokens = await _keep(opened.store, range(size), shared=False)
            asked = tokens[:: max(1, size // ASKED)]
            first: list[float] = []
            again: list[float] = []
            for _ in range(rounds):
                for token in asked:
                    opened.routes.forget(token)
                first.append(await _find(opened.routes, asked))
                again.append(await _find(opened.routes, asked))
            return statistics.median(again), statistics.median(first)


async def _find(routes: Any, tokens: Sequence[str]) -> float:
    start = time.perf_counter()
    for token in tokens:
        if await routes.find(token) is None:
            raise AssertionError("an endpoint is not found")
    return (time.perf_counter() - start) / len(tokens) * 1e6


async def _accounts(size: int, rounds: int) -> tuple[float, float]:
    """Return the CPU time in µs of a delivery at a shared endpoint, and of reading it and an account again.

    CPU time, because a whole delivery waits for the disk.
    """
    with tempfile.TemporaryDirectory() as folder:
        async with App([job], store=str(Path(folder) / "bench.db"), register="off", rate_limit=0) as app:
            opened = app.opened
            (token, *_) = await _keep(opened.store, range(size), shared=True)
            costs: list[float] = []
            reloads: list[float] = []
            for number in range(rounds):
                reloads.append(await _reload(opened.routes, token, size))
                start = time.process_time()
                await _deliver(opened, token, size, number)
                costs.append((time.process_time() - start) / TOGETHER * 1e6)
            (newest,) = await opened.store.deliveries(limit=1)
            if newest.outcome != "accepted":
                raise AssertionError(f"deliveries are {newest.outcome}, not accepted")
            return statistics.median(costs), statistics.median(reloads)


async def _reload(routes: Any, token: str, size: int) -> float:
    """Return the CPU time in µs of reading a shared endpoint and one of its accounts, the mean of many."""
    start = time.process_time()
    for number in range(RELOADS):
        routes.forget(token)
        headers = Headers.of({"X-Account": f"account-{number * 7919 % size}"})
        request = Request("POST", "https://example.com/e/a/b", headers, b"")
        if len(await routes.addressed(await routes.find(token), request)) != 1:
            raise AssertionError("an account is not found")
    return (time.process_time() - start) / RELOADS * 1e6


async def _deliver(opened: Any, token: str, size: int, number: int) -> None:
    body = PAYLOAD.read_bytes()

    async def one(position: int) -> None:
        account = position * (size // min(size, TOGETHER)) % size
        headers = Headers.of({"X-Account": f"account-{account}", "X-Id": f"{number}-{position}"})
        answer = await opened.receive(token, Request("POST", "https://example.com/e/a/b", headers, body))
        if answer.status >= 300:
            raise AssertionError(f"answered {answer.status}")

    async with anyio.create_task_group() as group:
        for position in range(TOGETHER):
            group.start_soon(one, position)


async def _keep(store: Any, numbers: Sequence[int], *, shared: bool) -> Sequence[str]:
    """Keep a subscription for each number; return the tokens of their endpoints."""
    tokens: list[str] = []

    async def one(number: int) -> None:
        place = 0 if shared else number
        endpoint = r.Endpoint(f"end_{place:08d}", f"token{place:08d}", source.id, "active", b"{}")
        subscription = r.Subscription(
            f"sub_{number:08d}", endpoint.id, source.id, "default", f"connection-{number}", b"{}",
            state="active", account=f"account-{number}",
        )  # fmt: skip
        await store.create_subscriptions([(endpoint, subscription)])
        tokens.append(endpoint.token)

    for start in range(0, len(numbers), KEPT_AT_ONCE):
        async with anyio.create_task_group() as group:
            for number in numbers[start : start + KEPT_AT_ONCE]:
                group.start_soon(one, number)
    return sorted(set(tokens))
