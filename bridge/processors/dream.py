"""A dream as a processor: what :mod:`dream_core` does, at a place in a chain."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Unpack, cast

import numpy as np
import torch

from bridge.arrays import AudioArray, Lane
from bridge.clock.durations import parse_rate
from bridge.errors import InputError, ProcessorError, nearest_names
from bridge.parameters import ParamSpec, ParamValue, check_parameter
from bridge.processors.catalogue import DREAM_PARAMETERS, dream_parameters
from bridge.processors.contract import DEFAULT_BUFFER_SIZE, check_audio
from bridge.processors.dream_clocks import clock_lanes, clocked
from bridge.processors.dream_lanes import check_lanes, push_blocks, still_weights, whole_rate
from bridge.processors.dream_needs import border
from bridge.processors.dream_parameters import DreamAttributes, DreamKeywords, PitchSource
from bridge.processors.frequency_limit import describe_held, highest_hz, parameters_in_hz
from bridge.processors.pitch import PitchTracker, choose_ear
from bridge.processors.pitch_sources import choose_pitch_source
from bridge.processors.played import STEM, check_one_hears, heard_in_stems, stems_played
from bridge.processors.stream_guard import StreamGuard
from dream_core.errors import (
    ClassNotFoundError,
)
from dream_core.loop.dream import open_stream
from dream_core.loop.pending_steps import StepReport
from dream_core.loop.shared_batches import SharedBatches
from dream_core.loop.stream import DreamStream
from dream_core.networks.card import Network
from dream_core.networks.registry import (
    get_card,
    list_networks,
    load_network,
)
from dream_core.objectives.ear import check_patch_hop
from dream_core.objectives.parse import parse_objective
from dream_core.objectives.targets import Targets
from dream_core.runtime import resolve_device
from dream_core.settings import DEFAULT_DEPTH, DEFAULT_NETWORK, MOVING_SETTINGS, DreamSettings
from dream_core.updates.legacy_0163 import Legacy
from dream_core.updates.registry import build_update, check_networks

__all__ = ["Dream"]


class Dream(DreamAttributes):
    """Let a sound dream: gradient ascent on what a network hears in it.

    Sits in a :class:`bridge.Chain` beside pedalboard's plugins; as theirs, its parameters are attributes too.
    The depth is how many steps have been taken at an instant: a number, or through automation one for every
    sample; where it is 0 the sound passes bit for bit.

    Args:
        network: Name of a network, or a loaded one.
        depth: Steps, 0..100.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        references: Other sounds by name, ``(channels, samples)`` at the session's rate, for objectives and
            updates that follow another sound.
        targets: Notes over time by name, for objectives that play them (`dream_core.Targets`).
        on_step: Called after every step of every window.
        is_cancelled: Asked before every step; true stops.
        on_warning: Called with one line when something had to be given up.
        shared_batches: Shared with dreams of other threads, networks and all.
        ladder: Depths, in whole steps, at which the sound is kept too: `take_ladder`.
        settings: The fields of :class:`dream_core.DreamSettings`, and `target`: ``reverie processors show
            dream`` lists them.

    Raises:
        ProcessorError: A setting does not exist, does not fit the network or is out of range.

    >>> dream = Dream(depth=4.0, objective="layer:block3")
    >>> dream.depth
    4.0
    """

    is_effect = True
    is_instrument = False

    def __init__(
        self,
        network: str | Network = DEFAULT_NETWORK,
        depth: float = DEFAULT_DEPTH,
        *,
        device: str = "auto",
        references: Mapping[str, AudioArray] | None = None,
        targets: Mapping[str, Targets] | None = None,
        on_step: Callable[[StepReport], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
        on_warning: Callable[[str], None] | None = None,
        shared_batches: SharedBatches | None = None,
        ladder: Sequence[int] = (),
        **settings: Unpack[DreamKeywords],
    ) -> None:
        self._device_name = device
        self._network: Network | None = None if isinstance(network, str) else network
        self._values: dict[str, ParamValue] = {s.name: s.default for s in DREAM_PARAMETERS.values()}
        self.references = dict(references or {})
        self.targets = dict(targets or {})
        self._options: dict[str, Any] = {
            "on_step": on_step,
            "is_cancelled": is_cancelled,
            "on_warning": on_warning,
            "shared_batches": shared_batches,
            "ladder": tuple(ladder),
        }
        self._others: dict[str, Network] = {}
        self._stream: DreamStream | None = None
        self._climbed: DreamStream | None = None
        self._tracker: PitchTracker | None = None
        self._guard = StreamGuard()
        self._shape = (0, 0)
        name = network if isinstance(network, str) else network.card.name
        specs = dream_parameters(str(settings.get("objective", "")))
        for key, value in {"network": name, "depth": depth, **settings}.items():
            self._values[key] = check_parameter(key, cast(ParamValue, value), specs, "dream")
        self._settings()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self.parameters:
            return self.get_parameter(name)
        raise AttributeError(f"a Dream has no {name!r}; {nearest_names(name, DREAM_PARAMETERS)}")

    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("_") or name in ("references", "targets"):
            object.__setattr__(self, name, value)
        else:
            self.set_parameter(name, cast(ParamValue, value))

    def __repr__(self) -> str:
        specs = self.parameters
        changed = {k: v for k, v in self._values.items() if k not in specs or v != specs[k].default}
        return "Dream(" + ", ".join(f"{k}={v!r}" for k, v in changed.items()) + ")"

    @property
    def stream_guard(self) -> StreamGuard:
        """What keeps the threads that share this dream apart."""
        return self._guard

    @property
    def latency_samples(self) -> int:
        """Zero: what a window withholds comes back aligned."""
        return 0

    @property
    def tail_seconds(self) -> float:
        """Zero: a dream ends with its sound."""
        return 0.0

    @property
    def parameters(self) -> Mapping[str, ParamSpec]:
        """Every parameter by name, the named weights of its objective among them."""
        return dream_parameters(str(self._values["objective"]))

    def get_parameter(self, name: str) -> ParamValue:
        """Return a parameter's value."""
        specs = self.parameters
        if name not in specs:
            check_parameter(name, 0.0, specs, "dream")
        return self._values.get(name, specs[name].default)

    def set_parameter(self, name: str, value: ParamValue) -> None:
        """Set a parameter; while a stream runs only the depth may change."""
        checked = check_parameter(name, value, self.parameters, "dream")
        if self._stream is not None and name != "depth":
            raise ProcessorError(f"dream.{name} is fixed while a stream runs; call reset() first")
        before = dict(self._values)
        self._values[name] = checked
        try:
            self._settings()
            self.parameters  # noqa: B018 (a new objective may have a weight of a wrong name)
        except InputError:
            self._values = before
            raise
        if name == "network" and checked != before["network"]:
            self._network = None

    @property
    def reference_stems(self) -> frozenset[str]:
        """Names of the other sounds that the objective and the update ask for."""
        with border():
            objective = parse_objective(str(self._values["objective"]))
        target = str(self._values["target"])
        return objective.references | stems_played(objective) | ({target} if target else set())

    @property
    def song_targets(self) -> tuple[str, ...]:
        """Names of what the objective wants over time, but for what is heard in other stems."""
        with border():
            objective = parse_objective(str(self._values["objective"]))
        return tuple(name for name in objective.targets if not name.startswith(STEM))

    def check(self) -> None:
        """Say now what does not fit: network, objective, update and reference names. Loads no weights."""
        with border():
            objective = parse_objective(str(self._values["objective"]))
            card = self._network.card if self._network is not None else get_card(str(self._values["network"]))
            cards = {name: get_card(name) for name in self._other_names()} | {card.name: card}
            try:
                objective.check(card, cards)
            except ClassNotFoundError:  # perhaps a network has it that the objective does not name
                objective.check(card, {one.name: one for one in list_networks()} | cards)
            check_one_hears(objective, card.name)
            resolve_device(self._device_name)
            cards[""] = card
            settings = self._settings()
            objective.check_speed(settings.varispeed_octaves)
            for one in (cards[name] for name in objective.networks):
                check_patch_hop(one, settings.patch_hop)
                settings.check_band(one.band_hz, one.name)
            update = build_update(str(self._values["update"]))
            check_networks(update, [cards[name] for name in objective.networks], settings)
            if isinstance(update, Legacy):
                update.check(self._settings())
        for setting, rate in clocked(self._values).values():
            parse_rate(rate, f"dream.{setting}")
        if update.needs_target and not self._values["target"]:
            raise ProcessorError(
                f"dream: update {self._values['update']!r} needs another sound; set target to a stem's name"
            )

    def check_pitch_source(self) -> None:
        """Say now where nobody is here who could hear the pitch that the update keeps to."""
        if self._keeps_to_pitch and not self._values["f0_hz"]:
            choose_pitch_source(self._pitch_source)

    @property
    def _keeps_to_pitch(self) -> bool:
        return self._values["update"] == "harmonic"

    @property
    def _pitch_source(self) -> PitchSource:
        return cast(PitchSource, self._values["pitch"])

    def open(self) -> None:
        """Check, and load the network now, so that what is missing is said before any sound is read."""
        self.check()
        self.check_pitch_source()
        with border():
            self._load()

    def reset(self) -> None:
        """Forget every sample seen."""
        with self._guard.whole("dream"):
            self._stream = self._tracker = None

    def process(
        self,
        input_array: AudioArray,
        sample_rate: float,
        buffer_size: int = DEFAULT_BUFFER_SIZE,
        reset: bool = True,
        *,
        automation: Mapping[str, Lane] | None = None,
    ) -> AudioArray:
        """Process audio; see the contract. ``automation["depth"]`` moves the depth at every sample.

        For the update `harmonic`, ``automation["f0_hz"]`` tells the pitch, 0 where there is none; without it,
        and where `f0_hz` is not set, `pitch` says who hears it.
        """
        del buffer_size  # a dream has windows of its own
        check_audio(input_array, "dream")
        rate = whole_rate(sample_rate)
        with self._guard.sound("dream", is_whole=reset, begins=self._stream is None):
            return self._process(input_array, rate, reset, automation or {})

    def _process(
        self, input_array: AudioArray, rate: int, is_whole: bool, automation: Mapping[str, Lane]
    ) -> AudioArray:
        if is_whole:
            self._stream = None
        n_channels, n_samples = input_array.shape
        check_lanes(automation, n_samples, self.parameters)
        if self._stream is not None and self._shape != (n_channels, rate):
            raise ProcessorError("dream: a stream must keep its channels and sample rate; call reset() first")
        lane = automation.get("depth")
        depth = np.full(n_samples, self._values["depth"], np.float64) if lane is None else lane
        weights = self._weights
        moving = {name: lane for name, lane in automation.items() if name in (*MOVING_SETTINGS, *weights)}
        moving |= clock_lanes(self._values, automation)
        if self._keeps_to_pitch and (f0_hz := self._pitch_lane(automation, n_samples)) is not None:
            moving["f0_hz"] = f0_hz
        with border():
            if self._stream is None:
                self._tracker = self._open_tracker(rate, has_lane="f0_hz" in moving)
                self._stream = self._climbed = self._open_stream(n_channels, rate, moving)
            lanes = {"depth": depth, **self._hold_lanes(moving, rate)}
            known = (
                [(input_array, lanes)] if self._tracker is None else self._tracker.push(input_array, lanes)
            )
            done = [out for sound, own in known for out in push_blocks(self._stream, sound, own)]
            if is_whole:
                done += self._finish(self._stream)
                self._stream = None
        if not done:
            return np.zeros((n_channels, 0), np.float32)
        return torch.cat(done, 1).cpu().numpy()

    __call__ = process

    def flush(self) -> AudioArray:
        """End the sound and return the samples still withheld."""
        with self._guard.whole("dream"), border():
            stream, self._stream = self._stream, None
            if stream is None:
                return np.zeros((self._shape[0], 0), np.float32)
            return torch.cat(list(self._finish(stream)), 1).cpu().numpy()

    def take_ladder(self) -> dict[int, AudioArray]:
        """Return what was given since the last call, as it was at each depth of the ladder."""
        rungs = {} if self._climbed is None else self._climbed.take_ladder()
        return {depth: sound.cpu().numpy() for depth, sound in rungs.items()}

    def window_grid(self, n_channels: int, sample_rate: int) -> tuple[int, int]:
        """Return the samples from one window to the next, and how much around one is looked at."""
        with border():
            schedule = self._open_stream(n_channels, sample_rate, self._weights).schedule
        return schedule.hop_samples, schedule.margin_samples

    def hear_by(self, other: Dream) -> None:
        """Hear by the networks that another dream has loaded, instead of loading them once more."""
        self._network, self._others = other._network, other._others

    def _finish(self, stream: DreamStream) -> Iterator[torch.Tensor]:
        """End the sound; yield all that is withheld."""
        tracker, self._tracker = self._tracker, None
        for sound, lanes in tracker.finish() if tracker is not None else ():
            yield from push_blocks(stream, sound, lanes)
        yield stream.finish()

    def _pitch_lane(self, automation: Mapping[str, Lane], n_samples: int) -> Lane | None:
        """Return the pitch that is told, or None where somebody is to hear it."""
        fixed_hz = float(cast(float, self._values["f0_hz"]))
        return automation.get("f0_hz", np.full(n_samples, fixed_hz) if fixed_hz else None)

    def _open_tracker(self, sample_rate: int, *, has_lane: bool) -> PitchTracker | None:
        """Return who hears the pitch, or nobody where none is wanted or a lane tells it."""
        if has_lane or not self._keeps_to_pitch:
            return None
        source = choose_pitch_source(self._pitch_source)
        if source == "midi":
            raise ProcessorError(
                "dream: pitch = 'midi', and no notes came with the sound; give the song's MIDI (--midi FILE) "
                "or a lane of f0_hz, or set pitch = 'auto'"
            )
        return PitchTracker(choose_ear(source, self._device_name), sample_rate)

    def _hold_lanes(self, moving: Mapping[str, Lane], sample_rate: int) -> dict[str, Lane]:
        held = dict(moving)
        for name in parameters_in_hz(DREAM_PARAMETERS):
            if name in held and len(held[name]):
                limit_hz = self._hold(name, float(np.max(held[name])), sample_rate)
                held[name] = np.minimum(held[name], limit_hz)
        return held

    def _hold(self, name: str, given_hz: float, sample_rate: int) -> float:
        """Return a frequency that a sound of this rate can have, and tell once where that is another."""
        limit_hz = highest_hz(sample_rate)
        if given_hz <= limit_hz:
            return given_hz
        if name not in self._told:
            self._told.add(name)
            text = describe_held("dream", name, given_hz, sample_rate)
            tell = self._options["on_warning"]
            if tell is None:
                warnings.warn(text, stacklevel=2)
            else:
                tell(text)
        return limit_hz

    def _settings(self) -> DreamSettings:
        fields = {name: self._values[name] for name in DreamSettings.names()}
        integers = {f.name for f in dataclasses.fields(DreamSettings) if f.type == "int"}
        with border():
            for name in integers & fields.keys():
                number = fields[name]
                # Presets write numbers as they like: 2.0 is whole.
                fields[name] = int(number) if isinstance(number, float) and number.is_integer() else number
            return DreamSettings(**fields)  # type: ignore[arg-type]

    def _load(self) -> Network:
        if self._network is None:
            # A network that listens to references is kept apart: it would hear them while others step.
            shared_batches = None if self.reference_stems else self._options["shared_batches"]
            load = load_network if shared_batches is None else shared_batches.networks.load
            device = resolve_device(self._device_name)
            self._network = load(str(self._values["network"]), device=device)
            self._others = {name: load(name, device=device) for name in self._other_names()}
        elif missing := [name for name in self._other_names() if name not in self._others]:
            self._others |= {name: load_network(name, device=self._network.device) for name in missing}
        return self._network

    def _other_names(self) -> tuple[str, ...]:
        """Return the networks that the objective names beside the dream's own."""
        own = str(self._values["network"])
        card = self._network.card if self._network is not None else get_card(own)
        names = parse_objective(str(self._values["objective"])).networks
        return tuple(name for name in names if name not in ("", own, card.name))

    @property
    def _weights(self) -> tuple[str, ...]:
        """Names of the objective's weights."""
        return tuple(name for name in self.parameters if name not in DREAM_PARAMETERS)

    def _open_stream(self, n_channels: int, sample_rate: int, moving: Collection[str]) -> DreamStream:
        self._shape = (n_channels, sample_rate)
        target = str(self._values["target"])
        settings = self._settings()
        self._told: set[str] = set()
        for name in sorted({*parameters_in_hz(DREAM_PARAMETERS)} & {*DreamSettings.names()}):
            held_hz = self._hold(name, float(getattr(settings, name)), sample_rate)
            if held_hz != getattr(settings, name):
                settings = dataclasses.replace(settings, **{name: held_hz})  # type: ignore[arg-type]
        network, objective = self._load(), parse_objective(str(self._values["objective"]))
        heard = heard_in_stems(objective, self.references, network, self._others, sample_rate)
        return open_stream(
            network,
            settings,
            sample_rate,
            n_channels,
            references=self.references,
            networks=self._others,
            target=target or None,
            targets=self.targets | heard,
            weights=still_weights(self._weights, self._values, moving),
            **self._options,
        )
