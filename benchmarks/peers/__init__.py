"""Small apps that do the same work as trigflow or a part of it, each as its own docs show."""
