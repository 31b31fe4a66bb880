"""Who is compared: each app with its best documented settings, and where it counts finished work."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence

import attrs

from benchmarks import services
from benchmarks.books import Books, Postgres, Redis, Sqlite, Told
from benchmarks.names import (
    BARE,
    CELERY,
    DBOS_POSTGRES,
    FASTAPI,
    FULL,
    GIDGETHUB,
    INSERT,
    JOB,
    MOUNTED,
    NOTHING,
    SYNCED,
)

__all__ = ["CONTENDERS", "Contender"]


@attrs.frozen
class Contender:
    """One app: how it is started, what it keeps, how its finished work is counted.

    module: below benchmarks.peers. server: uvicorn, or what the module brings itself.
    prepare, workers: arguments of Python, run before the web process and beside it.
    needs: redis or postgres. packages: to be importable. settings: for the README.
    """

    name: str
    module: str
    keeps: str
    settings: str
    books: Books
    env: Mapping[str, str] = {}
    server: str = "uvicorn"
    prepare: tuple[str, ...] = ()
    workers: tuple[tuple[str, ...], ...] = ()
    needs: str | None = None
    packages: tuple[str, ...] = ()
    checks: bool = True

    def missing(self) -> str | None:
        """Say what is not installed, if something is not."""
        for package in self.packages:
            if importlib.util.find_spec(package) is None:
                return f"the package {package} is not installed (dependency group bench)"
        return None if self.needs is None else services.missing(self.needs)

    def web(self, port: int) -> Sequence[str]:
        """Return the command of the web process."""
        module = f"benchmarks.peers.{self.module}"
        if self.server != "uvicorn":
            return [sys.executable, "-m", module, str(port)]
        return [
            sys.executable, "-m", "uvicorn", f"{module}:app", "--port", str(port), "--no-access-log",
            "--log-level", "error", "--loop", "uvloop", "--http", "httptools",
        ]  # fmt: skip


_FINISHED = Sqlite("SELECT count(*) FROM finishes WHERE state = 'succeeded'")
_DBOS = "workflow_status WHERE status = 'SUCCESS'"

CONTENDERS: tuple[Contender, ...] = (
    Contender(
        "bare uvicorn, body read", "bare", NOTHING, "no check, no decoding: the ceiling of the server",
        Told(), env={"MODE": "read"}, checks=False,
    ),
    Contender(BARE, "bare", NOTHING, "no decoding, no job: the ceiling with the signature", Told()),
    Contender(
        FASTAPI, "fastapi_hand", NOTHING, "json.loads, the function is called in the request", Told(),
        packages=("fastapi",),
    ),
    Contender(
        "Starlette by hand", "starlette_hand", NOTHING,
        "json.loads, the function is called in the request", Told(), packages=("starlette",),
    ),
    Contender(
        GIDGETHUB, "gidgethub_aiohttp", NOTHING,
        "sansio.Event.from_http and Router.dispatch as in its docs; aiohttp's server (C parser) on uvloop",
        Told(), server="own", packages=("gidgethub", "aiohttp"),
    ),
    Contender(
        INSERT, "sqlite_hand", FULL,
        "WAL, synchronous=FULL, dedupe by a unique key, INSERT and UPDATE in threads",
        Sqlite("SELECT count(*) FROM events WHERE result IS NOT NULL"), packages=("fastapi",),
    ),
    Contender(
        CELERY, "celery_web", "Redis, synced each second",
        "appendonly yes, appendfsync everysec (its default); worker: pool solo (on one core faster than "
        "prefork and threads), prefetch 128, "
        "no gossip, mingle and heartbeat; results kept; tasks acknowledged before they run (the default)",
        Redis(1),
        workers=((
            "-m", "celery", "-A", "benchmarks.peers.celery_tasks", "worker", "--loglevel", "ERROR",
            "--pool", "solo", "--without-gossip", "--without-mingle", "--without-heartbeat",
        ),),
        needs="redis", packages=("celery", "redis", "fastapi"),
    ),
    Contender(
        DBOS_POSTGRES, "dbos_app", SYNCED,
        "a workflow with one step, start_workflow_async with the delivery's id, the body as text, pool of 5 "
        "(on one core faster than its default)",
        Postgres(f"SELECT count(*) FROM dbos.{_DBOS}"), needs="postgres",
        packages=("dbos", "fastapi", "psycopg"),
    ),
    Contender(
        "DBOS + SQLite", "dbos_app", "SQLite, as DBOS sets it", "as DBOS + PostgreSQL, on a SQLite file",
        Sqlite(f"SELECT count(*) FROM {_DBOS}"), env={"DBURL": "sqlite:///{database}"},
        packages=("dbos", "fastapi"),
    ),
    Contender(
        "Procrastinate + PostgreSQL", "procrastinate_web", SYNCED,
        "defer_async; a worker process of its own, concurrency 32, woken by LISTEN",
        Postgres("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"),
        prepare=("-m", "benchmarks.peers.procrastinate_tasks", "schema"),
        workers=(("-m", "benchmarks.peers.procrastinate_tasks", "worker"),),
        needs="postgres", packages=("procrastinate", "fastapi", "psycopg"),
    ),
    Contender(
        "trigflow, accept only", "trigflow_served", FULL,
        "`trigflow serve`, defaults, but rate_limit=0; delivery and event committed before the answer, no "
        "job wants them",
        Sqlite("SELECT count(*) FROM events"), server="own",
    ),
    Contender(
        JOB, "trigflow_served", FULL,
        "`trigflow serve`, defaults, but rate_limit=0; a run with one kept task and a kept result; the job "
        "declares the two fields that it uses",
        _FINISHED, env={"JOB": "1"}, server="own",
    ),
    Contender(
        "trigflow under plain uvicorn, the same job", "trigflow_app", FULL,
        "as the job with one task, by uvicorn and not by `trigflow serve`", _FINISHED, env={"JOB": "1"},
    ),
    Contender(
        MOUNTED, "trigflow_fastapi", FULL, "as the job with one task, by app.mount as in docs/mounting.md",
        _FINISHED, env={"JOB": "1"}, packages=("fastapi",),
    ),
)  # fmt: skip
