"""An app whose job leaves a line in a file: event, process, how many run here at once, when."""

from __future__ import annotations

import os
import time
from typing import Any

import anyio

from trigflow import IO, App, Event, trigger
from trigflow.engines import embedded
from trigflow_github import github

embedded.CLAIM_LASTS = float(os.environ.get("CLAIM_LASTS", "60"))
embedded.BEAT = embedded.CLAIM_LASTS / 4
WORK = float(os.environ.get("WORK", "0.005"))  # seconds
at_once = 0


def kept(event: str) -> str:
    return event


@trigger(github.issues(repo="acme/web"), id="count")
async def count(payload: dict[str, Any], event: Event, io: IO) -> str:
    global at_once  # noqa: PLW0603 - of this process, which is what is counted
    at_once += 1
    try:
        line = f"{event.id} {os.getpid()} {at_once} {time.time()}\n"
        with open(os.environ["EFFECTS"], "a") as file:  # noqa: PTH123 - one append, whole
            file.write(line)
        await anyio.sleep(WORK)
        return await io.task("kept", kept, event.id)
    finally:
        at_once -= 1


app = App([count], register="off", concurrency=8)
