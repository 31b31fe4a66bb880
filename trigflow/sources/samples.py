"""Where the examples of an event come from: text in code, or files beside an integration's modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

import attrs

from trigflow.core.errors import SetupError
from trigflow.core.triggers import Example

Examples = Callable[[], Mapping[str, Example]] | Mapping[str, Example | bytes]
END = ".json"


@attrs.frozen
class Text:
    """An example that stands in code."""

    text: bytes = attrs.field(repr=False)

    def read(self) -> bytes:
        """Return its JSON text."""
        return self.text


@attrs.frozen
class Packaged:
    """An example in a file of a package."""

    file: Traversable

    def read(self) -> bytes:
        """Return its JSON text."""
        return self.file.read_bytes()


@attrs.frozen
class _Samples:
    package: str
    event: str

    def __call__(self) -> Mapping[str, Example]:
        """Look for the files; SetupError where there is none."""
        folder = files(self.package) / "samples"
        found = sorted(folder.iterdir(), key=lambda file: file.name) if folder.is_dir() else []
        # The event's name may have full stops itself; that of an example has none.
        stems = {file.name.removesuffix(END): file for file in found if file.name.endswith(END)}
        made: dict[str, Example] = {}
        for stem, file in stems.items():
            if stem == self.event or stem.rpartition(".")[0] == self.event:
                made[stem.rpartition(".")[2] if stem != self.event else stem] = Packaged(file)
        if not made:
            raise SetupError(
                f"{folder} has no {self.event}{END} and no {self.event}.NAME{END}; add a payload"
            )
        return made


def samples(package: str, event: str) -> Callable[[], Mapping[str, Example]]:
    """Return the examples of an event from a package's folder `samples`, read only when they are asked for.

    package: its import name, mostly `__name__`. `samples/issue.json` is the example "issue",
        `samples/issue.opened.json` the example "opened".
    """
    return _Samples(package, event)


def examples_of(given: Examples, *, where: str) -> Callable[[], Mapping[str, Example]]:
    """Return examples as a specification wants them; SetupError for anything else."""
    if callable(given):
        return given
    if not isinstance(given, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - foreign code
        raise SetupError(
            f"{where}, examples: give a mapping of JSON texts by name, or samples(__name__, ...)"
        )
    kept = {name: Text(one) if isinstance(one, bytes) else one for name, one in given.items()}
    return lambda: kept
