"""What an examination found: one line for each thing that was looked at."""

from __future__ import annotations

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    part: what it belongs to, such as "public URL". what: the thing itself.
    detail: what was seen. action: what to do; empty where all is fine.
    """

    part: str
    what: str
    detail: str = ""
    action: str = ""

    @property
    def is_fine(self) -> bool:
        """Tell whether nothing has to be done."""
        return not self.action
