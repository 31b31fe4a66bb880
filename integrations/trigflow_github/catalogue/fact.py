"""What is known of an event."""

from __future__ import annotations

from typing import Literal

import attrs

from trigflow_github.catalogue.permissions import Need

Kind = Literal["repository", "organization", "app"]


@attrs.frozen
class Fact:
    """One event.

    kinds: which webhooks get it; none: the listings of GitHub's marketplaces alone.
    any_action: its sender makes its actions up.
    examples: names of its samples, the typical one first.
    needs: permissions of a GitHub App; any one of them is enough.
    repository, organization: whether its payload may say which one it is about.
    """

    kinds: tuple[Kind, ...]
    examples: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    repository: bool = False
    organization: bool = False
    any_action: bool = False
