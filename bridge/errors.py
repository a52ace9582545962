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

from dream_core.nearest import nearest_names

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
    "nearest_names",
]


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
