"""The ASGI intake."""
