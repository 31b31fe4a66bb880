"""The paths of a delivery, a registration and a run, and the ports that they need."""
