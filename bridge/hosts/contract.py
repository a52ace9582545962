"""What a backend offers, and the records that cross the border between the two processes.

Everything here is raw: parameters are positions in 0..1, audio is not yet latency-compensated, names are the
plugin's own. Real units, names for people and stream semantics are built on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from bridge.arrays import AudioArray
from bridge.errors import PluginError
from bridge.hosts.parameter_roles import ParameterRole

__all__ = [
    "EVENT_DTYPE",
    "MIDI_MESSAGE_BYTES",
    "BackendName",
    "ChannelCountError",
    "EventArray",
    "EventKind",
    "HostBackend",
    "HostedParameter",
    "MidiMessage",
    "PluginDescription",
    "SeveralPluginsError",
    "StreamChannels",
    "Transport",
    "no_events",
]

BackendName = Literal["pedalboard", "minihost"]

MIDI_MESSAGE_BYTES = 3
"""Status and two data bytes: what plugins take; system-exclusive messages are not forwarded."""

MidiMessage = tuple[int, bytes]
"""Sample offset in the block and the message's bytes."""


class EventKind(IntEnum):
    """What an event does; the fields it uses."""

    PARAMETER = 0
    """`index` is the parameter's, `value` its raw position."""
    MIDI = 1
    """`index` holds status, first and second data byte, lowest byte first."""
    TRANSPORT = 2
    """`index` over `detail` is the meter, `value` the tempo in bpm, `value2` the position in beats."""


EVENT_DTYPE = np.dtype(
    [
        ("offset", "<u4"),
        ("kind", "<u4"),
        ("index", "<u4"),
        ("detail", "<u4"),
        ("value", "<f8"),
        ("value2", "<f8"),
    ]
)
"""One thing that happens at a sample of the sound; arrays of it are sorted by offset."""

EventArray = np.ndarray[tuple[int], np.dtype[np.void]]


def no_events() -> EventArray:
    """Return an empty event array."""
    return np.empty(0, EVENT_DTYPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """Where the song is at one instant.

    Args:
        bpm: Quarter notes a minute.
        beats: Quarter notes since the start of the song.
        numerator: Meter, upper number.
        denominator: Meter, lower number.
    """

    bpm: float
    beats: float
    numerator: int = 4
    denominator: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedParameter:
    """One parameter as the plugin tells it.

    Args:
        title: The plugin's own name for it.
        label: Its unit, as the plugin spells it.
        steps: How many intervals its travel has; 0 where it is continuous.
        default_raw: Position the plugin starts with.
        is_automatable: Whether the plugin lets a host move it while it plays.
        texts: What the plugin displays at some positions, in ascending order of position.
        role: What it is for.
    """

    title: str
    label: str
    steps: int
    default_raw: float
    is_automatable: bool
    texts: tuple[tuple[float, str], ...]
    role: ParameterRole = "sound"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginDescription:
    """What a plugin says of itself once it is loaded.

    Args:
        name: Its name.
        vendor: Who made it.
        version: Its version, as it spells it.
        uid: Class id of its processor, 32 hexadecimal digits; empty where the backend cannot tell.
        category: ``Fx``, ``Instrument|Synth`` and the like.
        is_instrument: Whether it takes notes instead of audio.
        parameters: Every parameter, by index.
        backend: Which backend told.
        has_transport: Whether the backend can give it tempo, meter and position.
        has_sidechain: Whether the backend can give it a second input.
        plugin_names: Every plugin in the same bundle.
        sample_rate: The rate (Hz) at which the parameters show these texts.
        takes_midi: Whether the backend can give it MIDI.
        output_channels: Channels of each output it has under this backend, the main one first; one entry
            where the backend does not tell.
    """

    name: str
    vendor: str
    version: str
    uid: str
    category: str
    is_instrument: bool
    parameters: tuple[HostedParameter, ...]
    backend: BackendName
    has_transport: bool
    has_sidechain: bool
    plugin_names: tuple[str, ...]
    sample_rate: float = 48000.0
    takes_midi: bool = False
    output_channels: tuple[int, ...] = (2,)

    @property
    def program_index(self) -> int | None:
        """Index of the parameter that chooses a program; None where there is none."""
        return next((i for i, one in enumerate(self.parameters) if one.role == "program"), None)

    @property
    def programs(self) -> tuple[str, ...]:
        """The names of the plugin's programs, in its order."""
        if self.program_index is None:
            return ()
        return tuple(dict.fromkeys(text.strip() for _, text in self.parameters[self.program_index].texts))


class ChannelCountError(Exception):
    """The plugin does not run with the channels asked for.

    Args:
        asked: Channels wanted, in and out alike.
        accepted: Channels its main input has instead.
        accepted_out: Channels its main output has; as many as the input where nothing is said.
    """

    def __init__(self, asked: int, accepted: int, accepted_out: int | None = None) -> None:
        self.asked = asked
        self.accepted = accepted
        self.accepted_out = accepted if accepted_out is None else accepted_out
        super().__init__(f"asked for {asked} channels, the plugin has {accepted} in, {self.accepted_out} out")


class SeveralPluginsError(PluginError):
    """A bundle holds several plugins and none was named; `names` are theirs."""

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = tuple(names)


class StreamChannels(NamedTuple):
    """How many channels go in and come out.

    Args:
        main: Into the main input, and out of the main output unless `out` says otherwise.
        sidechain: Into the second input; 0 where none is fed.
        out: Out of the main output; 0 where they are as many as go in.
        extra: Channels of all other outputs together, where they are wanted too, after the main one's.
    """

    main: int
    sidechain: int = 0
    out: int = 0
    extra: int = 0

    @property
    def main_out(self) -> int:
        """How many channels come out of the main output."""
        return self.out or self.main

    @property
    def total_in(self) -> int:
        """How many channels go in."""
        return self.main + self.sidechain

    @property
    def total_out(self) -> int:
        """How many channels come out."""
        return self.main_out + self.extra


class HostBackend(Protocol):
    """One plugin, loaded in this process.

    Loading raises :class:`bridge.errors.PluginError`. No method is called from two threads at once.
    """

    def ask_module(self) -> None:
        """Ask the module itself what its parameters are for, where the host does not tell."""
        ...

    def describe(self) -> PluginDescription:
        """Return what the plugin says of itself, at the sample rate it is prepared for."""
        ...

    @property
    def is_instrument(self) -> bool:
        """Whether it takes notes instead of audio."""
        ...

    @property
    def latency_samples(self) -> int:
        """What the plugin reports now."""
        ...

    def raw_values(self) -> npt.NDArray[np.float32]:
        """Return the position of every parameter."""
        ...

    def set_raw(self, index: int, value: float) -> None:
        """Move one parameter; it is heard from the next sample processed."""
        ...

    def refresh(self) -> None:
        """Look again where the parameters stand: after a program, some plugins do not say that they moved."""
        ...

    def prepare(self, sample_rate: float, channels: StreamChannels, block_samples: int) -> None:
        """Become a fresh instance and get ready for blocks of at most `block_samples`.

        Fresh means: as loaded, then the state, then the program, then what else was set. Nothing heard
        before is left in it.

        Raises:
            ChannelCountError: The plugin does not run with so many channels.
            PluginError: It has no sidechain, where one is asked for.
        """
        ...

    @property
    def cuts_blocks(self) -> bool:
        """Whether `process` takes several whole blocks at once, which the host hands over one by one."""
        ...

    def process(
        self,
        audio: AudioArray,
        midi: Sequence[MidiMessage],
        transport: Transport | None,
        position_samples: int,
    ) -> AudioArray:
        """Process one block and return as many samples of every output, the main one's channels first.

        They are delayed by whatever latency the plugin has.

        Args:
            audio: Main input, with the sidechain's channels after it; an instrument reads nothing of it.
            midi: Messages with offsets inside this block.
            transport: Where the song is at the block's first sample.
            position_samples: How many samples were processed since `prepare`.
        """
        ...

    def get_state(self) -> bytes:
        """Return the plugin's state as the bytes of a ``.vstpreset``."""
        ...

    def set_state(self, data: bytes) -> None:
        """Restore a state; the caller has checked that it is this plugin's."""
        ...
