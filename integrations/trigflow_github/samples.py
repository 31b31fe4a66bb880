"""Real payloads of each event, by action; read from the package only when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

# The typical one first: it stands for the event wherever one example is shown.
_NAMES: dict[str, tuple[str, ...]] = {
    "issues": (
        "opened",
        "assigned",
        "deleted",
        "demilestoned",
        "edited",
        "labeled",
        "locked",
        "milestoned",
        "pinned",
        "reopened",
        "transferred",
        "unassigned",
        "unlabeled",
        "unlocked",
        "unpinned",
    ),
    "issue_comment": ("created", "deleted", "edited"),
    "pull_request": (
        "opened",
        "assigned",
        "closed",
        "converted_to_draft",
        "labeled",
        "locked",
        "ready_for_review",
        "reopened",
        "review_request_removed",
        "review_requested",
        "synchronize",
        "unassigned",
        "unlabeled",
        "unlocked",
    ),
    "pull_request_review": ("submitted", "dismissed"),
    "push": ("default",),
    "release": ("published", "created", "deleted", "edited", "prereleased", "released"),
    "star": ("created", "deleted"),
    "workflow_run": ("completed", "requested"),
    "check_run": ("completed", "created", "requested_action", "rerequested"),
    "ping": ("default",),
}


@attrs.frozen
class Sample:
    """One real payload."""

    event: str
    name: str

    def read(self) -> bytes:
        """Return its JSON text."""
        from importlib.resources import files  # noqa: PLC0415 - only who reads pays for it

        return (files("trigflow_github") / "samples" / f"{self.event}.{self.name}.json").read_bytes()


@attrs.frozen
class Samples(Mapping[str, Sample]):
    """The samples of one event; calling it returns it, as an event specification wants."""

    event: str

    def __call__(self) -> Mapping[str, Sample]:
        """Return itself."""
        return self

    def __getitem__(self, name: str) -> Sample:
        if name not in _NAMES[self.event]:
            raise KeyError(name)
        return Sample(self.event, name)

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES[self.event])

    def __len__(self) -> int:
        return len(_NAMES[self.event])


def samples(event: str) -> Samples:
    """Return the samples of an event by action, "default" where it has no actions.

    Raises ValueError for an event without samples.
    """
    if event not in _NAMES:
        raise ValueError(f"there are no samples of {event!r}; there are of {', '.join(_NAMES)}")
    return Samples(event)
