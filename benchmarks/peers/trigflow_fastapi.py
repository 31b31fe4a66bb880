"""trigflow mounted in FastAPI, as docs/mounting.md shows."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from benchmarks.peers.trigflow_job import hooks, tell


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
    async with hooks:
        await tell("/hooks")
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/hooks", hooks)
