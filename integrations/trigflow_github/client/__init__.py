"""A typed client of GitHub's REST API: for jobs, and for making webhooks."""

from trigflow_github.client.api import GitHubClient, Viewer
from trigflow_github.client.connection import Answer

__all__ = ["Answer", "GitHubClient", "Viewer"]
