"""The path of a registration, and everything that changes a subscription."""
