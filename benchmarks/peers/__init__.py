"""Small apps that do the same work as trigflow, or a known part of it, each as its own documentation shows."""
