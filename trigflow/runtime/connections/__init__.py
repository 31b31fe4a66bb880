"""Connections: how they come and go, their credentials in hand, their clients."""
