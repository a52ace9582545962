"""What can go wrong on the bridge's side, as a tree.

Every message says what was given and where, what is accepted, the likely cause and the next call, in one
line: the command line prints it as it is, without a traceback.

    ReverieError                    anything a user can cause or must be told          exit 1
      InputError                    what was given cannot be used; nothing was written  exit 2
        AudioFileError              an audio file cannot be read or written as asked
        MidiFileError               a MIDI file cannot be read
        TempoError                  tempo, meter or a musical position makes no sense
        PresetError                 a preset does not validate
          UntrustedError            a preset reaches outside its folder, and nobody has said that it may
        PlanError                   a plan, a manifest or a job list cannot be read or used
        EnvelopeError               a modulator or a route does not validate
        ProcessorError              a processor or one of its parameters does not exist or is out of range
        PluginError                 a plugin cannot be found, loaded or set
        SessionError                a session or exchange file cannot be read
        OutputError                 the output exists, or cannot be written
      RenderError                   a stem failed while it was rendered                 exit 1
        PluginFaultError            a hosted plugin crashed, hung or sent nonsense
      RenderStoppedError            the caller asked to stop; finished stems stay       exit 130
"""

from __future__ import annotations

import re

from dream_core.names import nearest_names

__all__ = [
    "AudioFileError",
    "EnvelopeError",
    "InputError",
    "MidiFileError",
    "OutputError",
    "PlanError",
    "PluginError",
    "PluginFaultError",
    "PresetError",
    "ProcessorError",
    "RenderError",
    "RenderStoppedError",
    "ReverieError",
    "SessionError",
    "TempoError",
    "UntrustedError",
    "escape",
    "nearest_names",
]

# C0, DEL and C1; line and paragraph separators; what turns the direction of text; halves of characters.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def escape(text: str) -> str:
    r"""Make text that others wrote safe to show: what would command a terminal or a page is spelt out.

    Names of files, tracks, presets and plugins come from anywhere. A byte of a file name that is not UTF-8 is
    shown as that byte.

    >>> print(escape("vox\x1b[2J caf\udce9"), escape("夢 [dry]"))
    vox\x1b[2J caf\xe9 夢 [dry]
    """
    return _UNSAFE.sub(lambda found: _spell(ord(found[0])), text)


def _spell(code: int) -> str:
    short = {0x09: r"\t", 0x0A: r"\n", 0x0D: r"\r"}
    if code in short:
        return short[code]
    is_byte = code < 0x100 or 0xDC80 <= code <= 0xDCFF
    return f"\\x{code & 0xFF:02x}" if is_byte else f"\\u{code:04x}"


class ReverieError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 1


class InputError(ReverieError):
    """What was given cannot be used; nothing was written."""

    exit_code = 2


class AudioFileError(InputError):
    """An audio file cannot be read or written as asked."""


class MidiFileError(InputError):
    """A MIDI file cannot be read."""


class TempoError(InputError):
    """A tempo, a meter or a musical position makes no sense."""


class PresetError(InputError):
    """A preset does not validate."""


class UntrustedError(PresetError):
    """A preset reaches outside its folder, and nobody has said that it may."""


class PlanError(InputError):
    """A plan, a manifest or a job list cannot be read or used."""


class EnvelopeError(InputError):
    """A modulator or a route does not validate."""


class ProcessorError(InputError):
    """A processor or one of its parameters does not exist, or a value is out of range."""


class PluginError(InputError):
    """A plugin cannot be found, loaded or set."""


class SessionError(InputError):
    """A session or exchange file cannot be read."""


class OutputError(InputError):
    """The output exists already, or cannot be written."""


class RenderError(ReverieError):
    """A stem failed while it was rendered; the others are not touched."""


class RenderStoppedError(ReverieError):
    """The caller asked to stop; what was finished stays."""

    exit_code = 130


class PluginFaultError(RenderError):
    """A hosted plugin crashed, hung or returned invalid samples."""
