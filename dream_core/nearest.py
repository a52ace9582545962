"""Suggest the names that were probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["nearest_names"]


def nearest_names(name: str, accepted: Iterable[str], limit: int = 3) -> str:
    """Say which accepted names are closest to a wrong one, ready to end an error message.

    >>> nearest_names("blok4", ["block4", "logits"])
    "did you mean 'block4'?"
    """
    names = list(dict.fromkeys(accepted))
    folded = {n.casefold(): n for n in names}
    close = difflib.get_close_matches(name.casefold(), list(folded), n=limit, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(folded[c]) for c in close) + "?"
    if not names:
        return "none exist"
    shown = ", ".join(repr(n) for n in names[:24])
    return f"accepted: {shown}" + (f" and {len(names) - 24} more" if len(names) > 24 else "")
