"""Just enough of a JSON text to ask filters: the rest is checked, not decoded.

A payload of 12 kB has some 200 keys and a filter looks at three. Decoded whole it
takes a third of the time of an event, most of it for objects that nobody reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict, Union

import msgspec

from trigflow.core.filter_values import Reads

View = Callable[[bytes], Any]
_typed_dict: Any = TypedDict  # with fields that are known at run time


def view_of(reads: Reads) -> View:
    """Return what decodes a JSON text as far as filters look at it.

    Filters that read no more hold for what it returns if they hold for the whole.
    It raises what msgspec's decoder raises for a text that is not JSON; but text that
    it passes over may be no UTF-8, or a number too large for any type.
    """
    return msgspec.json.Decoder(_type_of(reads)).decode


def _type_of(reads: Reads) -> Any:
    if reads is None:
        return Any
    fields = {key: _type_of(inner) for key, inner in reads.items()}
    # Whatever else may stand there is decoded whole: a filter tells an array from a text.
    return Union[_typed_dict("Seen", fields, total=False), list[Any], str, int, float, bool, None]  # noqa: UP007 - made at run time
