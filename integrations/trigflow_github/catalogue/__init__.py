"""What is known of GitHub's events: who gets them, what they need, what they may be asked for.

GitHub adds events and actions without notice: of one that is not here nothing is known, and GitHub decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from trigflow import SetupError
from trigflow_github.catalogue.fact import Fact, Kind
from trigflow_github.catalogue.facts import EVENTS
from trigflow_github.catalogue.naming import action_class
from trigflow_github.catalogue.permissions import lacking, said

__all__ = [
    "EVENTS",
    "Fact",
    "Kind",
    "actions_of",
    "check_actions",
    "check_place",
    "check_sent",
    "lacks",
    "needed",
]

_NAMES: Mapping[Kind, str] = {
    "repository": "repositories",
    "organization": "organizations",
    "app": "GitHub Apps",
}


def check_sent(event: str, kind: Kind | None) -> None:
    """Raise SetupError where webhooks of this kind never get the event; kind: None where that is open."""
    kinds = EVENTS[event].kinds if event in EVENTS else (kind,)
    if kind in kinds or (kind is None and kinds not in ((), ("app",))):
        return
    if not kinds:
        raise SetupError(f"GitHub sends {event} to listings of its marketplaces alone, not to webhooks")
    those = " and of ".join(_NAMES[one] for one in kinds if one)
    remedies = {"app": "GitHub(app=True)", "organization": 'org="name"', "repository": 'repo="owner/name"'}
    remedy = " or ".join(remedies[one] for one in kinds if one)
    others = f", not of {_NAMES[kind]}" if kind else ""
    raise SetupError(f"GitHub sends {event} to webhooks of {those} only{others}; use {remedy}")


def check_place(event: str, *, repo: bool, org: bool) -> None:
    """Raise SetupError where payloads of the event don't say what an App's events are to be chosen by."""
    fact = EVENTS.get(event)
    if fact is None or not ((repo and not fact.repository) or (org and not fact.organization)):
        return
    thing, given = ("repository", "repo") if repo and not fact.repository else ("organization", "org")
    raise SetupError(
        f"{event} of a GitHub App does not say which {thing} it is about, so that {given}= can't choose; "
        f"leave {given}= out, or use another GitHub(app=True) for it"
    )


def check_actions(event: str, actions: Sequence[str] | None) -> None:
    """Raise SetupError where an event has no such action; one whose sender makes them up has any."""
    known = actions_of(event)
    if isinstance(actions, str):
        raise SetupError(f'{event}: actions is a list, as in actions=["{actions}"]')
    strange = [name for name in actions or () if known and name not in known]
    if strange:
        raise SetupError(
            f"{event} has no action {', '.join(map(repr, strange))}; it has {', '.join(known)}. For one that "
            f'is newer than this package use github.other("{event}", actions=[...])'
        )


def actions_of(event: str) -> Sequence[str]:
    """Return the actions that GitHub names; none where it names none, or of an event that is not known."""
    from trigflow_github.payloads import actions  # noqa: PLC0415 - only who asks for some pays for them all

    return get_args(getattr(actions, action_class(event), None))


def needed(event: str) -> str:
    """Say what an App needs for an event: "at least read access to Issues (repository)"; "" if unknown."""
    return said(EVENTS[event].needs) if event in EVENTS else ""


def lacks(event: str, granted: Mapping[str, str]) -> str:
    """Say what an App with these permissions (name in the API to level) lacks for an event; "" if nothing."""
    return lacking(EVENTS[event].needs, granted) if event in EVENTS else ""
