"""The path of a run."""
