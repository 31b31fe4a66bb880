"""What an integration implements or reuses; no I/O of its own."""
