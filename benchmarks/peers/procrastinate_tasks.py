"""Procrastinate's side: the task. Run it with `schema` once, then with `worker`."""

import asyncio
import os
import sys
from typing import Any

import procrastinate

from benchmarks.peers.common import summary

tasks = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=os.environ["DBURL"], min_size=4, max_size=16)
)


@tasks.task(queue="webhooks", name="on_issue_opened")
async def on_issue_opened(event: dict[str, Any]) -> dict[str, Any]:
    return summary(event)


async def main(what: str) -> None:
    async with tasks.open_async():
        if what == "schema":
            await tasks.schema_manager.apply_schema_async()
        else:
            await tasks.run_worker_async(concurrency=32)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
