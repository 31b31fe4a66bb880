"""Label new issues: the app of the README and of `trigflow demo`.

Needs GITHUB_TOKEN and a public URL (TRIGFLOW_URL); `trigflow demo` brings both.
Run it with `trigflow dev examples/github_triage.py`, or `uvicorn github_triage:app`.
"""

from trigflow import IO, App, Retry, trigger
from trigflow_github import GitHubClient, github
from trigflow_github.payloads import Issues

WORDS = {"crash": "bug", "error": "bug", "spelling": "docs", "docs": "docs", "slow": "performance"}


def classify(title: str) -> list[str]:
    """Guess labels from a title."""
    return sorted({label for word, label in WORDS.items() if word in title.lower()}) or ["triage"]


@trigger(
    github.issues(repo="acme/web", actions=["opened"]),
    filter={"issue": {"user": {"type": ["User"]}}},
    retry=Retry(times=5),
)
async def triage(payload: Issues, hub: GitHubClient, io: IO) -> list[str]:
    """Label an issue that a person opened."""
    labels = await io.task("classify", classify, payload.issue.title)
    await io.task("label", hub.add_labels, "acme/web", payload.issue.number, labels)
    io.log("labelled", issue=payload.issue.number, labels=labels)
    return labels


app = App(jobs=[triage])
