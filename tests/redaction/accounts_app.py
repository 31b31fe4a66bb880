"""An app whose accounts are full of secrets; what they are says the environment. It is copied as app.py."""

from __future__ import annotations

import os
from typing import Any

from tests.runtime.connecting import described
from trigflow import App, dynamic, trigger
from trigflow_github import GitHub
from trigflow_stripe import Stripe

parcels = described(os.environ["PARCELS_URL"])
github = GitHub(app=True)
stripe = Stripe()
repos = dynamic("repos", github.issues)


@trigger(stripe.price_created(), id="prices")
async def prices(payload: Any) -> None: ...


@trigger(github.star(), id="stars")
async def stars(payload: dict[str, Any]) -> None: ...


@trigger(repos, id="issues")
async def issues(payload: Any) -> None: ...


app = App(
    jobs=[prices, stars, issues],
    register="off",
    connections={github.through("person"): os.environ["PERSON_TOKEN"]},
    app_credentials={
        parcels: {"client_id": "our-app", "client_secret": os.environ["PARCELS_SECRET"]},
    },
)
