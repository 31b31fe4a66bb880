"""Celery's side: the task. The worker is `celery -A benchmarks.peers.celery_tasks worker`."""

# Celery has no types.
# pyright: basic

import os
from typing import Any

from celery import Celery

from benchmarks.peers.common import summary

tasks = Celery("bench", broker=f"{os.environ['REDIS']}/0", backend=f"{os.environ['REDIS']}/1")
tasks.conf.update(
    broker_connection_retry_on_startup=True,
    # "Optimizing" in Celery's docs: with many short tasks fetch many at a time.
    worker_prefetch_multiplier=128,
)


@tasks.task(name="on_issue_opened")
def on_issue_opened(event: dict[str, Any]) -> dict[str, Any]:
    return summary(event)
