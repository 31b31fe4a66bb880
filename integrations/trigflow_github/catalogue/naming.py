"""How the classes of an event are called."""


def camel(name: str) -> str:
    """Turn a name with underscores into the name of a class."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_")).replace("Github", "GitHub")


def action_class(event: str) -> str:
    """Name the literal type of an event's actions."""
    return f"{camel(event)}Action"
