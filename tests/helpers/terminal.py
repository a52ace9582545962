"""What may not reach a terminal."""

from __future__ import annotations

import re

UNSAFE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that command it; lines end, so an end of line is not among them."""
