"""GitHub: webhooks of repositories and organizations, and a typed API client."""

from trigflow_github.client import GitHubClient
from trigflow_github.integration import GitHub, github

__all__ = ["GitHub", "GitHubClient", "github"]
