"""Third-party events start plain decorated Python functions, durably, inside your own process."""

__version__ = "0.1.0"
