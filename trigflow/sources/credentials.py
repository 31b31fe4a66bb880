"""How an account's credentials are given: what to ask for and where to find it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import attrs


class Credentials(Mapping[str, str]):
    """One account's credentials by field name; shows no value of its own accord."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Credentials({', '.join(f'{name}=***' for name in self._values)})"


@attrs.frozen
class Field:
    """One value that a person gives: what prompts, forms and docs show."""

    name: str
    env: str
    label: str
    help: str = ""
    placeholder: str = ""
    secret: bool = True
    required: bool = True


class ApiKey:
    """Credentials that a person pastes or sets in the environment: one key, or several fields."""

    kind = "api-key"

    def __init__(
        self,
        env: str,
        *more: Field,
        name: str = "token",
        label: str = "API key",
        help: str = "",  # noqa: A002 - the field's word
    ) -> None:
        """Take the environment variable of the key itself, and further fields if one value is not enough."""
        self.fields: tuple[Field, ...] = (Field(name, env, label, help), *more)

    def from_environment(self, environ: Mapping[str, str] = os.environ) -> Credentials | None:
        """Read the fields; None where a required one is missing or empty."""
        values = {field.name: environ.get(field.env, "") for field in self.fields}
        if any(field.required and not values[field.name] for field in self.fields):
            return None
        return Credentials({name: value for name, value in values.items() if value})

    def remedy(self) -> str:
        """Say what to set."""
        return "set " + " and ".join(field.env for field in self.fields if field.required)

    def __repr__(self) -> str:
        return f"ApiKey({self.fields[0].env!r})"
