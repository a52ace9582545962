"""What of a dream counts on the song's clock: needs no Torch, so that plans may ask."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from bridge.arrays import Lane
from bridge.errors import ProcessorError
from dream_core.errors import SettingError
from dream_core.settings import DreamSettings, parse_row

__all__ = ["clock_lanes", "clocked"]


def clocked(values: Mapping[str, object]) -> dict[str, tuple[str, str]]:
    """Return the lanes that the song's clock gives a dream, each with the setting that asks and what it says.

    Args:
        values: The dream's parameters; those that are not there have their defaults.

    >>> clocked({"update": "picture", "row": "1/16", "motion_rate": "2 bars"})
    {'cycles': ('motion_rate', '2 bars'), 'rows': ('row', '1/16')}
    """
    found: dict[str, tuple[str, str]] = {}
    if rate := str(values.get("motion_rate", "")):
        found["cycles"] = "motion_rate", rate
    row = str(values.get("row", DreamSettings().row))
    if values.get("update") == "picture":
        with contextlib.suppress(SettingError):  # which is said where the dream is checked
            if parse_row(row).is_clocked:
                found["rows"] = "row", row
    return found


def clock_lanes(values: Mapping[str, object], automation: Mapping[str, Lane]) -> dict[str, Lane]:
    """Return the lanes of what counts on the song's clock.

    Raises:
        ProcessorError: One that is asked for was not given.
    """
    wanted = clocked(values)
    for name, (setting, rate) in wanted.items():
        if name not in automation:
            raise ProcessorError(
                f"dream: {setting} = {rate!r}, and no clock came with the sound; render stems with --midi or "
                f"--bpm, or give a lane of {name}: how many have passed at each sample, such as "
                "tempo_map.seconds_to_beats(seconds) / 0.5 for eighths"
            )
    return {name: lane for name, lane in automation.items() if name in {"cycles", *wanted}}
