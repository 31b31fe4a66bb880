"""What Stripe's events are called, and what writes the modules that declare them."""
