"""An integration with every kind of credentials, for a provider on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import httpx

from trigflow import Account, ApiError, ApiKey, Auth, Checked, Credentials, Integration, Unauthorized
from trigflow.sources.oauth import ClientCredentials, Manual, OAuth2


class ParcelsClient:
    """Asks the provider who one is; `closed` tells whether it was closed."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token, self.closed = url, token, False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed = True

    async def me(self) -> dict[str, Any]:
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"{self.url}/me", headers={"authorization": f"Bearer {self.token}"})
        if answer.status_code == 401:
            raise Unauthorized(f"the provider refuses the token {self.token}")
        if answer.status_code != 200:
            raise ApiError("me", answer.status_code, "no answer")
        found: dict[str, Any] = answer.json()
        return found


class Parcels(
    Integration,
    id="parcels",
    auth=[ApiKey("PARCELS_TOKEN"), Manual("PARCELS_WEBHOOK_SECRET")],
):
    url: str = ""
    installed: tuple[str, ...] = ()

    def client(self, credentials: Credentials) -> ParcelsClient:
        return ParcelsClient(self.url, credentials["token"])

    async def check(self, client: ParcelsClient) -> Checked:
        found = await client.me()
        return Checked(str(found["id"]), found["name"])

    async def accounts(self, client: ParcelsClient) -> Sequence[Account]:
        return [Account(name, f"id-{name}", {}) for name in self.installed]


def parcels(url: str, *more: Auth) -> Parcels:
    """Describe the provider at a URL, with further ways to get credentials."""

    class Described(Parcels, id="parcels", auth=[*Parcels.auth, *more]):
        pass

    return Described(url=url)


def oauth(url: str, **options: Any) -> OAuth2:
    """Declare the provider's OAuth."""
    told: dict[str, Any] = {
        "client_id": "PARCELS_CLIENT_ID", "client_secret": "PARCELS_CLIENT_SECRET",
        "scopes": ["read", "hooks"],
        "revoke_url": f"{url}/revoke", **options,
    }  # fmt: skip
    return OAuth2(f"{url}/authorize", f"{url}/token", **told)


def client_credentials(url: str) -> ClientCredentials:
    """Declare the provider's client credentials."""
    return ClientCredentials(
        f"{url}/token", client_id="PARCELS_OWN_ID", client_secret="PARCELS_OWN_SECRET", scopes=["read"]
    )
