"""What a backend offers, and the records that cross the border between the two processes.

Everything here is raw: parameters are positions in 0..1, audio is not yet latency-compensated, names are the
plugin's own. Real units, names for people and stream semantics are built on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from bridge.arrays import AudioArray
from bridge.errors import PluginError

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
    """

    title: str
    label: str
    steps: int
    default_raw: float
    is_automatable: bool
    texts: tuple[tuple[float, str], ...]


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


class ChannelCountError(Exception):
    """The plugin does not run with the channels asked for; `accepted` is what its main bus has instead."""

    def __init__(self, asked: int, accepted: int) -> None:
        super().__init__(f"asked for {asked} channels, the plugin has {accepted}")
        self.asked = asked
        self.accepted = accepted


class SeveralPluginsError(PluginError):
    """A bundle holds several plugins and none was named; `names` are theirs."""

    def __init__(self, message: str, names: Sequence[str]) -> None:
        super().__init__(message)
        self.names = tuple(names)


class HostBackend(Protocol):
    """One plugin, loaded in this process.

    Loading raises :class:`bridge.errors.PluginError`. No method is called from two threads at once.
    """

    @property
    def description(self) -> PluginDescription:
        """What the plugin says of itself."""
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

    def prepare(self, sample_rate: float, channels: int, block_samples: int, sidechain_channels: int) -> None:
        """Forget every sample seen and get ready for blocks of at most `block_samples`.

        Raises:
            ChannelCountError: The plugin does not run with so many channels.
        """
        ...

    def process(
        self,
        audio: AudioArray,
        midi: Sequence[MidiMessage],
        transport: Transport | None,
        position_samples: int,
    ) -> AudioArray:
        """Process one block and return as many samples, delayed by whatever latency the plugin has.

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
