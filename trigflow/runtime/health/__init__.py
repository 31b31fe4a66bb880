"""How the app, its parts and its subscriptions do, and who is told."""
