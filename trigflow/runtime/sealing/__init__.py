"""Secrets and marked values: sealed before they are stored, opened where they are needed, else hidden."""
