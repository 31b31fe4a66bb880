"""Several processes on one store under load; prints a line of JSON.

python tests/processes/campaign.py --rounds 5 [--deliveries 1500] [--scene workers ...]

    workers    uvicorn --workers 2
    apart      trigflow serve --no-runs, and two trigflow work
    killed     two trigflow work, one of which is killed in the middle and replaced
    respawned  uvicorn --workers 2, one of which is killed in the middle
    stopped    trigflow serve is asked to stop in the middle, and started again
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.processes.floor import Floor, kill, wrong


def workers(floor: Floor, deliveries: int) -> list[int]:
    floor.uvicorn(2)
    begin(floor)
    floor.deliver(deliveries)
    return []


def apart(floor: Floor, deliveries: int) -> list[int]:
    floor.serve("--no-runs")
    floor.work()
    floor.work()
    begin(floor)
    floor.deliver(deliveries)
    return []


def killed(floor: Floor, deliveries: int) -> list[int]:
    floor.serve("--no-runs")
    victim = floor.work()
    floor.work()
    begin(floor)
    meanwhile(floor, deliveries, lambda: (wait_for_work_of(floor, victim.pid), kill(victim.pid)))
    floor.work()
    return [victim.pid]


def respawned(floor: Floor, deliveries: int) -> list[int]:
    floor.uvicorn(2)
    begin(floor)
    victims: list[int] = []

    def kill_one() -> None:
        floor.until(lambda: len(floor.lines()) > 50)
        victims.append(floor.lines()[-1].pid)
        kill(victims[0])

    meanwhile(floor, deliveries, kill_one)
    return victims


def stopped(floor: Floor, deliveries: int) -> list[int]:
    server = floor.serve()
    begin(floor)

    def stop() -> None:
        floor.until(lambda: len(floor.lines()) > 50)
        time.sleep(random.random() * 0.3)  # the moment is what is tested
        server.terminate()
        server.wait(30)
        floor.serve()

    meanwhile(floor, deliveries, stop)
    return []


SCENES: dict[str, Callable[[Floor, int], list[int]]] = {
    scene.__name__: scene for scene in (workers, apart, killed, respawned, stopped)
}


def begin(floor: Floor) -> None:
    floor.until_ready()
    floor.find_endpoint()


def meanwhile(floor: Floor, deliveries: int, do: Callable[[], object]) -> None:
    """Do something while deliveries are sent."""
    load = threading.Thread(target=floor.deliver, args=(deliveries,))
    load.start()
    do()
    load.join()


def wait_for_work_of(floor: Floor, pid: int) -> None:
    floor.until(lambda: any(line.pid == pid for line in floor.lines()))


def play(scene: str, deliveries: int, folder: Path) -> dict[str, Any]:
    """Play one scene and return what came of it; `wrong` names what must not be."""
    with Floor(folder, CLAIM_LASTS="2") as floor:
        dead = SCENES[scene](floor, deliveries)
        sent = time.monotonic()
        floor.until(floor.done)
        verdict = floor.verdict(killed=dead)
        told = {"scene": scene, **verdict, "done_after_s": round(time.monotonic() - sent, 2)}
        told["wrong"] = wrong(verdict)
        if told["wrong"]:
            told["logs"] = floor.logs()[-4000:]
        return told


def main() -> int:
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    told.add_argument("--rounds", type=int, default=1)
    told.add_argument("--deliveries", type=int, default=1500)
    told.add_argument("--scene", choices=SCENES, action="append")
    asked = told.parse_args()
    found: list[dict[str, Any]] = []
    for _ in range(asked.rounds):
        for scene in asked.scene or SCENES:
            with tempfile.TemporaryDirectory() as folder:
                found.append(play(scene, asked.deliveries, Path(folder)))
    bad = [one for one in found if one["wrong"]]
    print(json.dumps({"rounds": asked.rounds, "wrong": len(bad), "scenes": found}))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
