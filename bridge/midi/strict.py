"""MIDI files held to mido's stricter reading."""

from __future__ import annotations

import io

from bridge.errors import MidiFileError

__all__ = ["check_strict"]


def check_strict(data: bytes, name: str) -> None:
    """Refuse the bytes of a MIDI file that mido refuses.

    Raises:
        MidiFileError: With mido's own reason.
    """
    import mido

    try:
        midi = mido.MidiFile(file=io.BytesIO(data))
    except Exception as error:
        raise MidiFileError(
            f"{name}: refused in strict mode ({_reason(error)}); leave strict out to read it"
        ) from None
    if midi.ticks_per_beat <= 0:
        raise MidiFileError(
            f"{name}: refused in strict mode (SMPTE or no division); leave strict out to read it"
        )


def _reason(error: Exception) -> str:
    """Return mido's own words, where it has any: of an event that surprises it Python speaks."""
    if isinstance(error, EOFError):
        return "it is cut off"
    is_mido_s = isinstance(error, (OSError, ValueError)) or type(error).__module__.startswith("mido.")
    if is_mido_s and str(error):
        return " ".join(str(error).split())
    return "an event is damaged"
