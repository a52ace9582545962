"""Several dreams of one sound, added up: layers dreamed apart keep a voice of their own.

The gradient of a sum of objectives is led by the steepest of them; dreams of each one, added up, hold all of
them. `dream_core.dream_each` is the same for whole sounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Unpack, cast

import numpy as np

from bridge.arrays import AudioArray, Lane
from bridge.errors import ProcessorError
from bridge.parameters import ParamSpec, ParamValue, check_parameter
from bridge.processors.catalogue import DREAMS_PARAMETERS, dreams_parameters
from bridge.processors.contract import DEFAULT_BUFFER_SIZE, check_audio
from bridge.processors.dream import Dream
from bridge.processors.dream_lanes import check_lanes
from bridge.processors.dream_parameters import DreamKeywords
from bridge.processors.stream_guard import StreamGuard
from dream_core.loop.pending_steps import StepReport
from dream_core.loop.shared_batches import SharedBatches
from dream_core.networks.card import Network
from dream_core.objectives.targets import Targets
from dream_core.objectives.text import split_each
from dream_core.settings import DEFAULT_DEPTH, DEFAULT_NETWORK

__all__ = ["Dreams"]

_OWN = ("each", "sum")


class Dreams:
    """Let a sound dream once for each of several objectives, and add the dreams up.

    Args:
        network: Name of a network, or a loaded one.
        depth: Steps of each dream, 0..100.
        each: The objectives, ``;`` between them.
        sum: ``changes`` adds to the sound what each dream changes; ``sounds`` adds up the dreams themselves,
            as published, and divides by how many they are, so that the sound stays as loud as it was and
            each change counts that much less.
        device: As for `Dream`, like all that follows.
        references: Other sounds by name.
        targets: Notes over time by name.
        on_step: Called after every step of every window of every dream.
        is_cancelled: Asked before every step.
        on_warning: Called with one line when something had to be given up.
        shared_batches: Shared with dreams of other threads.
        ladder: Depths, in whole steps, at which the sum is kept too: `take_ladder`.
        settings: Parameters of all the dreams, but for the objective.

    Raises:
        ProcessorError: A setting does not exist, does not fit the network or is out of range.

    Source:
        Camara Halac and Delgadino 2020, figures 7 and 8.

    >>> [dream.objective for dream in Dreams(each="layer:block2; layer:block3").dreams]
    ['layer:block2', 'layer:block3']
    """

    is_effect = True
    is_instrument = False
    latency_samples = 0
    tail_seconds = 0.0

    def __init__(
        self,
        network: str | Network = DEFAULT_NETWORK,
        depth: float = DEFAULT_DEPTH,
        *,
        each: str = str(DREAMS_PARAMETERS["each"].default),
        sum: Literal["changes", "sounds"] = "changes",  # noqa: A002 - what presets call it
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
        self.references, self.targets = dict(references or {}), dict(targets or {})

        def build(objective: str) -> Dream:
            own = dreams_parameters(objective)  # a weight that only others have is theirs to know
            known = {name: value for name, value in self._settings.items() if name in own}
            name = str(known.pop("network"))
            dream = Dream(
                name if self._network is None else self._network,
                device=device,
                on_step=on_step,
                is_cancelled=is_cancelled,
                on_warning=on_warning,
                shared_batches=shared_batches,
                ladder=ladder,
                objective=objective,
                **known,  # type: ignore[arg-type]
            )
            dream.references, dream.targets = self.references, self.targets
            return dream

        self._network = None if isinstance(network, str) else network
        self._build = build
        self._each, self._sum = each, sum
        self._settings: dict[str, ParamValue] = {}
        specs = dreams_parameters(each)
        name = network if isinstance(network, str) else network.card.name
        given = {"network": name, "depth": depth, **settings, "sum": sum}
        for key, value in given.items():
            self._settings[key] = check_parameter(key, cast(ParamValue, value), specs, "dreams")
        del self._settings["sum"]
        self.dreams = self._build_all(each)
        self.stream_guard = StreamGuard()
        self._is_open = False
        self._sound: list[AudioArray] = []
        self._waiting: list[list[dict[int, AudioArray]]] = []
        self._rungs: dict[int, list[AudioArray]] = {}
        self._forget()

    def _build_all(self, each: str) -> tuple[Dream, ...]:
        objectives = split_each(each)
        if not objectives:
            raise ProcessorError(
                "dreams: each names no objective; write some, such as each = ['layer:block2', 'layer:block3']"
            )
        return tuple(self._build(objective) for objective in objectives)

    def __repr__(self) -> str:
        return f"Dreams(each={self._each!r}, sum={self._sum!r}, {self._settings!r})"

    def window_grid(self, n_channels: int, sample_rate: int) -> tuple[int, int]:
        """Return the samples from one window to the next, and how much around one is looked at, at most."""
        grids = [dream.window_grid(n_channels, sample_rate) for dream in self.dreams]
        return max(hop for hop, _ in grids), max(margin for _, margin in grids)

    @property
    def parameters(self) -> Mapping[str, ParamSpec]:
        """Every parameter by name, the named weights of all objectives among them."""
        return dreams_parameters(self._each)

    def get_parameter(self, name: str) -> ParamValue:
        """Return a parameter's value."""
        if name in _OWN:
            return self._each if name == "each" else self._sum
        specs = self.parameters
        if name not in specs:
            check_parameter(name, 0.0, specs, "dreams")
        return next(dream.get_parameter(name) for dream in self.dreams if name in dream.parameters)

    def set_parameter(self, name: str, value: ParamValue) -> None:
        """Set a parameter, of all dreams that have it; while a stream runs only the depth may change."""
        checked = check_parameter(name, value, self.parameters, "dreams")
        if self._is_open and name != "depth":
            raise ProcessorError(f"dreams.{name} is fixed while a stream runs; call reset() first")
        if name == "each":
            self.dreams, self._each = self._build_all(str(checked)), str(checked)
        elif name == "sum":
            self._sum = cast(Literal["changes", "sounds"], checked)
        else:
            self._network = self._network if name != "network" else None
            self._settings[name] = checked
            for dream in self.dreams:
                if name in dream.parameters:
                    dream.set_parameter(name, checked)

    @property
    def reference_stems(self) -> frozenset[str]:
        """Names of the other sounds that the dreams ask for."""
        return frozenset[str]().union(*(dream.reference_stems for dream in self.dreams))

    @property
    def song_targets(self) -> tuple[str, ...]:
        """Names of what the objectives want over time, but for what is heard in other stems."""
        return tuple(dict.fromkeys(name for dream in self.dreams for name in dream.song_targets))

    def check(self) -> None:
        """Say now what does not fit, of each dream."""
        for dream in self.dreams:
            dream.check()

    def check_pitch_source(self) -> None:
        """Say now where nobody is here who could hear the pitch."""
        self.dreams[0].check_pitch_source()

    def open(self) -> None:
        """Check, and load the network once for all dreams."""
        first, *others = self.dreams
        first.open()
        for dream in others:
            # One that listens to references is kept apart from threads that share its network.
            if not self.reference_stems:
                dream.hear_by(first)
            dream.open()

    def reset(self) -> None:
        """Forget every sample seen."""
        with self.stream_guard.whole("dreams"):
            for dream in self.dreams:
                dream.reset()
            self._forget()

    def process(
        self,
        input_array: AudioArray,
        sample_rate: float,
        buffer_size: int = DEFAULT_BUFFER_SIZE,
        reset: bool = True,
        *,
        automation: Mapping[str, Lane] | None = None,
    ) -> AudioArray:
        """Process audio; see the contract. All lanes of `Dream` move all dreams alike."""
        check_audio(input_array, "dreams")
        lanes = automation or {}
        check_lanes(lanes, input_array.shape[1], self.parameters)
        with self.stream_guard.sound("dreams", is_whole=reset, begins=not self._is_open):
            if reset or not self._is_open:
                self._forget()
                self._share_network()
            self._is_open = not reset
            self._sound.append(input_array.copy())
            for dream, waiting in zip(self.dreams, self._waiting, strict=True):
                own = {name: lane for name, lane in lanes.items() if name in dream.parameters}
                out = dream.process(input_array, sample_rate, buffer_size, reset, automation=own)
                waiting.append({0: out, **dream.take_ladder()})
            return self._add_up(input_array[:, :0])

    __call__ = process

    def flush(self) -> AudioArray:
        """End the sound and return the samples still withheld."""
        with self.stream_guard.whole("dreams"):
            for dream, waiting in zip(self.dreams, self._waiting, strict=True):
                out = dream.flush()
                waiting.append({0: out, **dream.take_ladder()})
            empty = self._sound[0][:, :0] if self._sound else np.zeros((0, 0), np.float32)
            done = self._add_up(empty)
            rungs = self._rungs
            self._forget()
            self._rungs = rungs
            return done

    def take_ladder(self) -> dict[int, AudioArray]:
        """Return what was given since the last call, as it was at each depth of the ladder."""
        rungs, self._rungs = self._rungs, {}
        return {depth: np.concatenate(pieces, axis=1) for depth, pieces in rungs.items()}

    def _share_network(self) -> None:
        first, *others = self.dreams
        if others and not self.reference_stems:
            first.open()
            for dream in others:
                dream.hear_by(first)

    def _forget(self) -> None:
        self._is_open = False
        self._sound, self._rungs = [], {}
        self._waiting = [[] for _ in self.dreams]

    def _add_up(self, empty: AudioArray) -> AudioArray:
        """Return the sums of what all dreams have given; keep what some are still to give."""
        joined = [_join(waiting) for waiting in self._waiting]
        n_ready = min(one[0].shape[1] for one in joined)
        sound = np.concatenate([empty, *self._sound], axis=1)
        self._sound = [sound[:, n_ready:]]
        self._waiting = [[{key: one[:, n_ready:] for key, one in parts.items()}] for parts in joined]
        sums = {
            key: self._summed(sound[:, :n_ready], [one[key][:, :n_ready] for one in joined])
            for key in joined[0]
        }
        for depth, summed in sums.items():
            if depth:
                self._rungs.setdefault(depth, []).append(summed)
        return sums[0]

    def _summed(self, sound: AudioArray, dreamed: Sequence[AudioArray]) -> AudioArray:
        change = np.zeros(sound.shape, np.float32)
        for one in dreamed:
            change += one - sound
        if self._sum == "sounds":
            change /= np.float32(len(dreamed))
        return sound + change


def _join(pieces: Sequence[Mapping[int, AudioArray]]) -> dict[int, AudioArray]:
    return {key: np.concatenate([piece[key] for piece in pieces], axis=1) for key in pieces[0]}
