"""MIDI as mido objects, in and out: the only module that knows mido.

Use it to hand a file to code that speaks mido, to take one back, or to hold one to mido's stricter reading.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from bridge.errors import MidiFileError
from bridge.midi.file import MidiFile, parse_midi
from bridge.midi.messages import END_OF_TRACK

if TYPE_CHECKING:
    import mido

__all__ = ["from_mido", "to_mido"]

_SYSEX = 0xF0


def from_mido(midi: mido.MidiFile, name: str = "mido file") -> MidiFile:
    """Turn a mido file into columns."""
    buffer = io.BytesIO()
    midi.save(file=buffer)
    return parse_midi(buffer.getvalue(), name)


def to_mido(midi: MidiFile) -> mido.MidiFile:
    """Turn columns into a mido file with delta times in ticks.

    Texts are read as Latin-1, mido's default, so that saving gives back the very bytes. Meta events that mido
    cannot understand are kept as unknown meta messages with their bytes.

    Raises:
        MidiFileError: The file counts SMPTE time, which mido has no way to say.
    """
    import mido

    if midi.ticks_per_beat is None:
        raise MidiFileError(
            f"{midi.name}: counts SMPTE time, which mido cannot hold; write it at a tempo instead"
        )
    result = mido.MidiFile(type=midi.smf_type, ticks_per_beat=midi.ticks_per_beat)
    for number, track in enumerate(midi.tracks):
        tick = 0
        messages = mido.MidiTrack()
        for at, message in [
            *_track_messages(midi, number),
            (track.end_tick, mido.MetaMessage("end_of_track")),
        ]:
            messages.append(message.copy(time=at - tick))
            tick = at
        result.tracks.append(messages)
    return result


def _track_messages(midi: MidiFile, number: int) -> list[tuple[int, mido.Message]]:
    """Return one track's messages with absolute ticks, in file order."""
    import mido

    rows = np.flatnonzero(midi.track == number)
    keyed = [
        (index, 1, int(midi.tick[row]), _channel_message(midi, row))
        for index, row in enumerate(rows.tolist())
    ]
    keyed += [
        (meta.index, 0, meta.tick, _meta_message(meta.kind, meta.data))
        for meta in midi.metas
        if meta.track == number and meta.kind != END_OF_TRACK
    ]
    keyed += [
        (sysex.index, 0, sysex.tick, mido.Message("sysex", data=sysex.data.rstrip(b"\xf7")))
        for sysex in midi.sysexes
        if sysex.track == number
        and sysex.status == _SYSEX
        and max(sysex.data.rstrip(b"\xf7"), default=0) < 0x80
    ]
    keyed.sort(key=lambda entry: entry[:3])
    return [(tick, message) for _, _, tick, message in keyed]


def _channel_message(midi: MidiFile, row: int) -> mido.Message:
    import mido

    status = int(midi.status[row])
    has_two = status < 0xC0 or status >= 0xE0
    data = [status, int(midi.data1[row])] + ([int(midi.data2[row])] if has_two else [])
    return mido.Message.from_bytes(data)


def _meta_message(kind: int, data: bytes) -> mido.MetaMessage:
    import mido

    try:
        return mido.midifiles.meta.build_meta_message(kind, data)
    except Exception:  # mido raises IndexError, ValueError and its own errors for short or odd bytes
        return mido.UnknownMetaMessage(kind, data=data)
