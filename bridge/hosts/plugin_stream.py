"""One stream of sound through a plugin whose channels may not be the sound's.

A mono sound goes through a stereo plugin on both channels and comes back as their mean; a stereo sound goes
through a mono plugin as two instances, one a channel, as DAWs do it. Where a plugin has one channel in and
two out, or two in and one out, a stereo sound goes in as its mean, or comes out on both sides. A sidechain
is heard with as many channels as the plugin's main input. Nothing else is adapted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bridge.arrays import AudioArray
from bridge.errors import PluginError, ProcessorError
from bridge.hosts.contract import ChannelCountError, EventArray, StreamChannels, no_events
from bridge.hosts.supervisor import Supervisor, fit_channels

__all__ = ["PluginStream", "StreamShape"]

_TURN_SAMPLES = 32768
"""How much sound is handed over at once: the most a bypassed fault costs."""

_GATHER_SAMPLES = 8192
"""How much is gathered before it is handed over."""

_Layout = Literal["direct", "fit", "twin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamShape:
    """What may not change within a stream."""

    sample_rate: float
    channels: int
    sidechain_channels: int
    extra_channels: int = 0


class PluginStream:
    """A running stream.

    Args:
        shape: The sound's shape.
        block_samples: Most samples the plugin gets at once.
        supervisors: The plugin's instances; a second one is added to the list where it is needed.
        add_supervisor: Make another instance.
        name: The plugin's name, for messages.

    Raises:
        PluginError: The plugin does not run with so many channels.
    """

    def __init__(
        self,
        shape: StreamShape,
        block_samples: int,
        supervisors: list[Supervisor],
        add_supervisor: Callable[[], Supervisor],
        name: str,
    ) -> None:
        self.shape, self.block_samples, self.position_samples = shape, block_samples, 0
        self._name = name
        self._layout: _Layout = "direct"
        self._used = supervisors[:1]
        self._plugin_channels = StreamChannels(shape.channels)
        try:
            self._start()
        except ChannelCountError as refusal:
            self._layout = self._adapt(refusal)
            if self._layout == "twin" and len(supervisors) == 1:
                supervisors.append(add_supervisor())
            self._used = supervisors[: 2 if self._layout == "twin" else 1]
            self._plugin_channels = StreamChannels(refusal.accepted, out=refusal.accepted_out)
            self._start()
        self._gathered: list[AudioArray] = []
        self._gathered_events: list[EventArray] = []
        self._n_gathered = 0
        self._waiting = [np.zeros((1, 0), np.float32) for _ in self._used]

    def _start(self) -> None:
        channels = self._plugin_channels
        channels = channels._replace(
            sidechain=channels.main if self.shape.sidechain_channels else 0, extra=self.shape.extra_channels
        )
        for supervisor in self._used:
            supervisor.start(self.shape.sample_rate, channels, self.block_samples)

    def _adapt(self, refusal: ChannelCountError) -> _Layout:
        takes, gives = refusal.accepted, refusal.accepted_out
        if (refusal.asked, takes, gives) == (2, 1, 1) and not self.shape.extra_channels:
            return "twin"
        if refusal.asked in (1, 2) and takes in (1, 2) and gives in (1, 2):
            return "fit"
        has = f"{takes} channels" if takes == gives else f"{takes} channels in and {gives} out"
        raise PluginError(
            f"{self._name}: runs with {has}, the sound has {refusal.asked}; "
            "only mono and stereo are converted to each other"
        )

    def fits(self, sample_rate: float, channels: int, sidechain_channels: int) -> bool:
        """Whether a sound of this shape goes on with the stream."""
        shape = self.shape
        return (shape.channels, shape.sample_rate, shape.sidechain_channels) == (
            channels,
            sample_rate,
            sidechain_channels,
        )

    def push(self, audio: AudioArray, sidechain: AudioArray | None, events: EventArray) -> list[AudioArray]:
        """Continue the stream and return what is ready, in pieces to be joined once.

        Short pieces are gathered, since handing one over costs as much as a thousand samples in it.
        """
        n_samples = audio.shape[1]
        if sidechain is not None:
            if sidechain.shape[1] != n_samples:
                raise ProcessorError(
                    f"{self._name}: the sidechain has {sidechain.shape[1]} samples, the sound {n_samples}"
                )
            audio = np.concatenate([audio, sidechain])
        if len(events):
            events = events.copy()
            events["offset"] += self._n_gathered
            self._gathered_events.append(events)
        self.position_samples += n_samples
        self._n_gathered += n_samples
        if self._n_gathered < _GATHER_SAMPLES:
            self._gathered.append(audio.copy())
            return []
        self._gathered.append(audio)
        return self._hand_over()

    def flush(self) -> list[AudioArray]:
        """End the stream and return the samples still withheld."""
        return [*self._hand_over(), self._narrow([supervisor.flush() for supervisor in self._used])]

    def join(self, pieces: list[AudioArray]) -> AudioArray:
        """Put pieces together."""
        if len(pieces) == 1:
            return pieces[0]
        n_out = self.shape.channels + self.shape.extra_channels
        return np.concatenate([np.zeros((n_out, 0), np.float32), *pieces], axis=1)

    def _hand_over(self) -> list[AudioArray]:
        """Process what was gathered, in turns."""
        gathered, n_samples = self._gathered, self._n_gathered
        if not n_samples:
            return []
        audio = gathered[0] if len(gathered) == 1 else np.concatenate(gathered, axis=1)
        events = np.concatenate([no_events(), *self._gathered_events])
        self._gathered, self._gathered_events, self._n_gathered = [], [], 0
        if n_samples <= _TURN_SAMPLES:
            return [self._turn(audio, events)]
        pieces = []
        for start in range(0, n_samples, _TURN_SAMPLES):
            end = min(n_samples, start + _TURN_SAMPLES)
            low, high = np.searchsorted(events["offset"], (start, end))
            turn_events = events[low:high].copy()
            turn_events["offset"] -= start
            pieces.append(self._turn(audio[:, start:end], turn_events))
        return pieces

    def _turn(self, audio: AudioArray, events: EventArray) -> AudioArray:
        main, sidechain = audio[: self.shape.channels], audio[self.shape.channels :]
        if self._layout == "direct":
            mains = [main]
        elif self._layout == "fit":
            mains = [fit_channels(main, self._plugin_channels.main)]
        else:
            mains = [main[:1], main[1:]]
        if len(sidechain):
            mains = [np.concatenate([one, fit_channels(sidechain, len(one))]) for one in mains]
        outputs = [one.process(part, events) for one, part in zip(self._used, mains, strict=True)]
        if len(self._used) > 1 and any(supervisor.is_bypassed for supervisor in self._used):
            for supervisor in self._used:
                supervisor.bypass()
        return self._narrow(outputs)

    def _narrow(self, outputs: list[AudioArray]) -> AudioArray:
        """Bring what the plugin made back to the channels of the sound."""
        if self._layout == "direct":
            return outputs[0]
        if self._layout == "fit":
            n_main = self._plugin_channels.main_out
            main, extra = outputs[0][:n_main], outputs[0][n_main:]
            return np.concatenate([fit_channels(main, self.shape.channels), extra])
        joined = [np.concatenate(pair, axis=1) for pair in zip(self._waiting, outputs, strict=True)]
        n_ready = min(one.shape[1] for one in joined)
        self._waiting = [one[:, n_ready:] for one in joined]
        return np.concatenate([one[:, :n_ready] for one in joined])
