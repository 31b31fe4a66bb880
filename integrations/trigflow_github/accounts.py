"""Whose credentials they are, what they lack, and where an App is installed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from trigflow import Account, Checked
from trigflow_github.client import GitHubClient
from trigflow_github.payloads import InstallationAccount

# Any one of them is enough to make webhooks, but write:repo_hook may not delete them, and public_repo is
# for public repositories only. The first is the least that does it all.
# docs.github.com, "Scopes for OAuth apps".
REPO_HOOKS = ("admin:repo_hook", "write:repo_hook", "repo", "public_repo")
ORG_HOOKS = ("admin:org_hook",)


async def check(hub: GitHubClient, *, repo: bool, org: bool) -> Checked:
    """Ask GitHub; Unauthorized where it refuses. repo, org: which webhooks will be made, if that is known."""
    if hub.acts_as == "app":
        app = await hub.app()
        return Checked(str(app.id), app.name)
    if hub.acts_as == "installation":
        return await _check_installation(hub)
    viewer = await hub.viewer()
    return Checked(str(viewer.user.id), viewer.user.login, missing(viewer.scopes, repo=repo, org=org))


def missing(scopes: Sequence[str] | None, *, repo: bool, org: bool) -> tuple[str, ...]:
    """Name the scopes to add; none where the token has permissions instead (None).

    Where neither kind of webhook is known to be wanted, a scope for either is enough.
    """
    if scopes is None:
        return ()
    may_repo, may_org = _has(scopes, REPO_HOOKS), _has(scopes, ORG_HOOKS)
    if not repo and not org:
        return () if may_repo or may_org else REPO_HOOKS[:1]
    lacks_repo, lacks_org = repo and not may_repo, org and not may_org
    return REPO_HOOKS[:1] * lacks_repo + ORG_HOOKS[:1] * lacks_org


async def accounts_of(hub: GitHubClient) -> Sequence[Account]:
    """Return the App's installations; one that is suspended gives no tokens and is left out."""
    if hub.acts_as != "app":
        return ()
    found = [one for one in await hub.installations() if one.suspended_at is None]
    names = {one.id: _name(one.account, one.id) for one in found}
    # An enterprise and an organization may have the same name, in either spelling; none may get the other's.
    times = Counter(name.lower() for name in names.values())
    return [
        Account(
            name if times[name.lower()] == 1 else f"{name}-{id_}", str(id_), {"installation_id": str(id_)}
        )
        for id_, name in names.items()
    ]


async def _check_installation(hub: GitHubClient) -> Checked:
    """Look whether the token works; it does not tell which installation it is of."""
    seen, _ = await hub.installation_repositories(per_page=1)
    owners = [one.full_name.partition("/")[0] for one in seen.repositories]
    known = f"installation {hub.installation}" if hub.installation else "an installation"
    return Checked(hub.installation, owners[0] if owners else known)


def _has(scopes: Sequence[str], any_of: Sequence[str]) -> bool:
    return any(scope in scopes for scope in any_of)


def _name(account: InstallationAccount | None, installation_id: int) -> str:
    if account is None:
        return str(installation_id)
    return account.login or account.slug or str(installation_id)
