"""What envelopes follow: a song's clock, its MIDI and its length."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.clock.durations import Duration, parse_duration
from bridge.clock.tempo_map import TempoMap
from bridge.errors import EnvelopeError
from bridge.midi.file import MidiFile

__all__ = ["Song", "check_marker", "duration_samples"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Song:
    """What envelopes follow.

    Args:
        tempo_map: The clock.
        midi: What is played, or None.
        length_s: Length of the stems, where ``end`` is.
    """

    tempo_map: TempoMap
    midi: MidiFile | None = None
    length_s: float


def duration_samples(duration: Duration | str, song: Song, sample_rate: float) -> float:
    """Return a length in samples, at the tempo of the song's start."""
    length = parse_duration(duration) if isinstance(duration, str) else duration
    start = float(song.tempo_map.beats_to_seconds(0.0))
    return (float(song.tempo_map.advance(start, length)) - start) * sample_rate


def check_marker(marker: str, song: Song, where: str) -> None:
    """Refuse a marker where nothing is given that could have it.

    Raises:
        EnvelopeError: There is neither a MIDI file nor a marker from elsewhere.
    """
    if song.midi is None and not song.tempo_map.markers:
        raise EnvelopeError(
            f"{where}: {marker!r} is a marker, and markers come from a MIDI file, which is not given; "
            "give it with --midi"
        )
