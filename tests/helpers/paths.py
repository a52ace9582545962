"""Where the project is, and the reference data that may lie beside it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SONG = ROOT / "examples" / "song"
SHARED = ROOT.parent / "shared"
