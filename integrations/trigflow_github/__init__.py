"""GitHub: webhooks of repositories, organizations and Apps, and a typed API client."""

from trigflow_github.app_auth import GitHubApp
from trigflow_github.client import GitHubClient
from trigflow_github.integration import GitHub, github

__all__ = ["GitHub", "GitHubApp", "GitHubClient", "github"]
