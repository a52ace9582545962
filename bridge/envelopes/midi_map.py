"""What ``[midi_map]`` of a preset connects: a controller to a macro, or to a parameter such as the depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bridge.envelopes.midi_sources import DEFAULT_SMOOTH, midi_events, parse_map_key, why_nothing
from bridge.envelopes.smoothing import SmoothStairs
from bridge.envelopes.song import Song, duration_samples

__all__ = ["direct_targets", "mapped_lane"]


def direct_targets(midi_map: Mapping[str, str]) -> dict[tuple[str, str], list[str]]:
    """Return the parameters that controllers move without a macro between, and by which keys.

    >>> direct_targets({"cc1": "dream.depth", "cc2": "macro.glow", "bend": "dream.depth"})
    {('dream', 'depth'): ['cc1', 'bend']}
    """
    found: dict[tuple[str, str], list[str]] = {}
    for key, target in midi_map.items():
        node_id, _, name = target.partition(".")
        if node_id != "macro":
            found.setdefault((node_id, name), []).append(key)
    return found


def mapped_lane(
    keys: Sequence[str], default: float, song: Song, sample_rate: float, where: str, warnings: list[str]
) -> SmoothStairs | None:
    """Join several controllers that move the same knob: the last one touched counts.

    Returns:
        None where there is no MIDI, or nothing of the kind in it.
    """
    if song.midi is None:
        return None
    modulators = [parse_map_key(key) for key in keys]
    parts = [midi_events(modulator, song, sample_rate, where) for modulator in modulators]
    if not any(len(starts) for starts, _ in parts):
        reasons = "; ".join(why_nothing(modulator, song) for modulator in modulators)
        warnings.append(f"{where}: {reasons}; it stays at {default:g}")
        return None
    starts = np.concatenate([starts for starts, _ in parts])
    values = np.concatenate([values for _, values in parts])
    order = np.argsort(starts, kind="stable")
    tau = duration_samples(DEFAULT_SMOOTH, song, sample_rate)
    return SmoothStairs(starts=starts[order], values=values[order], before=default, tau_samples=tau)
