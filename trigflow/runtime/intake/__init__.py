"""The path of a delivery, and the other ways in: a replay, a provider's own log."""
