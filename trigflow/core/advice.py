"""What a person can do about a subscription, by its state. Pure."""

from __future__ import annotations

from typing import Literal

State = Literal["pending", "active", "paused", "silent", "failing", "expired", "disabled", "removed"]
NEEDS_PERSON = "a person is needed"  # at the end of the cause of what is not tried again soon


def next_action(state: State, cause: str, *, id: str, key: str, by_hand: bool) -> str:  # noqa: A002
    """Say what to do next about a subscription; empty where nothing has to be done.

    by_hand: it can't be registered without a person.
    """
    if state in ("active", "removed"):
        return ""
    if state == "paused":
        return f"its runs are held; `trigflow subscriptions resume {id}` lets them go"
    if state == "silent":
        return "look whether the provider still sends; `trigflow doctor` asks it"
    if by_hand:
        return f"register it by hand: `trigflow subscriptions add {key} --manual` says how"
    if state == "pending":
        return "it is registered once the public URL leads to the app, or by `trigflow apply`"
    if state == "expired":
        return "it is made anew by itself, or at once by `trigflow apply`"
    if state == "disabled":
        return "switch it on at the provider, then `trigflow apply`"
    if NEEDS_PERSON in cause:
        return f"mend what the cause says, then `trigflow apply --only {key}`"
    return f"it is tried again by itself; `trigflow subscriptions show {id}` tells each try"
