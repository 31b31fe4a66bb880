"""Every contender that runs without a service refuses forged deliveries and does the work of right ones.

The runner proves the same of all contenders before each measurement; this finds it earlier.
"""

import importlib
import json
from pathlib import Path

import httpx
import pytest

from benchmarks.load import PAYLOAD, SECRET, signature_of

IN_PROCESS = ["bare", "fastapi_hand", "starlette_hand"]


def headers(secret: str, body: bytes) -> dict[str, str]:
    return {
        "x-github-event": "issues",
        "x-github-delivery": "1",
        "x-hub-signature-256": f"sha256={signature_of(secret, body)}",
    }


@pytest.mark.anyio
@pytest.mark.parametrize("module", IN_PROCESS)
async def test_forged_deliveries_are_refused_and_right_ones_done(module: str) -> None:
    app = importlib.import_module(f"benchmarks.peers.{module}").app
    body = PAYLOAD.read_bytes()
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://peer") as client:
        before = int((await client.get("/count")).text)
        forged = await client.post("/webhook", content=body, headers=headers("forged", body))
        unsigned = await client.post("/webhook", content=body)
        assert {forged.status_code, unsigned.status_code} == {401}
        assert int((await client.get("/count")).text) == before
        right = await client.post("/webhook", content=body, headers=headers(SECRET, body))
        assert right.status_code == 200
        assert int((await client.get("/count")).text) == before + 1


def test_the_payload_is_a_real_one_of_12_kb() -> None:
    body = Path(PAYLOAD).read_bytes()
    assert 12_000 < len(body) < 12_500
    assert json.loads(body)["action"] == "opened"
