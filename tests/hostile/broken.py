"""What a fuzz target raises."""


class Broken(AssertionError):
    """Something that must hold does not."""
