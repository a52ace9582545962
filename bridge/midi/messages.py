"""Status bytes, controllers and kinds of meta events, by their numbers.

Source: MIDI 1.0 Detailed Specification (channel mode messages among it); Standard MIDI Files 1.0.
"""

from __future__ import annotations

NOTE_OFF, NOTE_ON, POLY_PRESSURE, CONTROLLER = 0x80, 0x90, 0xA0, 0xB0
CHANNEL_PRESSURE, PITCH_BEND = 0xD0, 0xE0

DATA_MSB, DATA_LSB, SUSTAIN_PEDAL, TIMBRE = 6, 38, 64, 74
INCREMENT, DECREMENT, NRPN_LSB, NRPN_MSB, RPN_LSB, RPN_MSB = 96, 97, 98, 99, 100, 101
RPN_BEND_RANGE, RPN_MPE = 0, 6

ALL_SOUND_OFF, RESET_CONTROLLERS, ALL_NOTES_OFF = 120, 121, 123
ENDS_NOTES = (ALL_SOUND_OFF, *range(ALL_NOTES_OFF, 128))
"""Omni, mono and poly (124..127) say all-notes-off as well."""

META = 0xFF
TEXT, TRACK_NAME, MARKER, CUE_POINT = 0x01, 0x03, 0x06, 0x07
TEXT_KINDS = range(0x01, 0x10)
END_OF_TRACK, SET_TEMPO, TIME_SIGNATURE = 0x2F, 0x51, 0x58
