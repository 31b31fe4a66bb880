"""The actions of each event, as GitHub names them: for the parameters of triggers.

An event that is not here (`push`, `ping`) has no actions.
"""

from typing import Literal

IssuesAction = Literal[
    "assigned",
    "closed",
    "deleted",
    "demilestoned",
    "edited",
    "labeled",
    "locked",
    "milestoned",
    "opened",
    "pinned",
    "reopened",
    "transferred",
    "typed",
    "unassigned",
    "unlabeled",
    "unlocked",
    "unpinned",
    "untyped",
]
IssueCommentAction = Literal[
    "created",
    "deleted",
    "edited",
]
PullRequestAction = Literal[
    "assigned",
    "auto_merge_disabled",
    "auto_merge_enabled",
    "closed",
    "converted_to_draft",
    "demilestoned",
    "dequeued",
    "edited",
    "enqueued",
    "labeled",
    "locked",
    "milestoned",
    "opened",
    "ready_for_review",
    "reopened",
    "review_request_removed",
    "review_requested",
    "synchronize",
    "unassigned",
    "unlabeled",
    "unlocked",
]
PullRequestReviewAction = Literal[
    "dismissed",
    "edited",
    "submitted",
]
ReleaseAction = Literal[
    "created",
    "deleted",
    "edited",
    "prereleased",
    "published",
    "released",
    "unpublished",
]
StarAction = Literal[
    "created",
    "deleted",
]
WorkflowRunAction = Literal[
    "completed",
    "in_progress",
    "requested",
]
CheckRunAction = Literal[
    "completed",
    "created",
    "requested_action",
    "rerequested",
]
