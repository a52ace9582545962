"""From the grammar to sources: every modulator and macro of a preset, ready to be asked.

Order: macros, then modulators, then what combines them; a cycle among those is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import assert_never

import numpy as np

from bridge.arrays import BoolArray, Float64Array
from bridge.clock.durations import parse_duration, parse_rate
from bridge.envelopes.combine import Bipolar, Combined, Constant
from bridge.envelopes.contours import adsr_contour, breakpoints_contour
from bridge.envelopes.curve import Curve
from bridge.envelopes.cycle_phase import CyclePhase
from bridge.envelopes.follower import FollowerSource, follower_curve
from bridge.envelopes.grid import Grid
from bridge.envelopes.hearing import hearing_curve, hearing_measure
from bridge.envelopes.midi_map import mapped_lane
from bridge.envelopes.midi_sources import midi_source
from bridge.envelopes.oscillators import Counter, Fade, LfoSource, StepSource
from bridge.envelopes.schema import (
    Adsr,
    Breakpoints,
    Combine,
    Follower,
    Hearing,
    Lfo,
    Macro,
    MacroModulator,
    MidiModulator,
    Modulator,
    Steps,
    Trigger,
)
from bridge.envelopes.smoothing import Smoothed
from bridge.envelopes.song import Song, duration_samples
from bridge.envelopes.triggers import Gates, build_gates, to_samples
from bridge.envelopes.waveforms import stable_hash
from bridge.errors import EnvelopeError, nearest_names

__all__ = ["Source", "Sources", "build_sources"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Something that moves: a pure function of time.

    Args:
        key: Name under which a grid remembers its values.
        curve: What it is.
        is_bipolar: Whether values run -1..1 instead of 0..1.
    """

    key: str
    curve: Curve
    is_bipolar: bool = False

    def at(self, grid: Grid) -> Float64Array:
        """Return the value at each instant; they are not to be changed."""
        values = grid.cache.get(self.key)
        if values is None:
            values = grid.cache[self.key] = self.curve.at(grid)
        return values

    def breaks(self, points: Grid) -> BoolArray:
        """Return between which instants it is not smooth."""
        return self.curve.breaks(points)


Sources = Mapping[str, Source]


def build_sources(
    *,
    modulators: Sequence[Modulator],
    macros: Sequence[Macro],
    midi_map: Mapping[str, str],
    macro_values: Mapping[str, float],
    song: Song,
    sample_rate: float,
    seed: int,
    stem: str,
    followers: Mapping[str, FollowerSource] | None,
    warnings: list[str],
) -> dict[str, Source]:
    """Build every source by name: modulators, ``<id>.right`` of oscillators in stereo, ``macro.<id>``.

    Raises:
        EnvelopeError: Names twice or unknown, cycles, or places that do not exist.
    """
    builder = _Builder(song, sample_rate, seed, stem, followers, warnings)
    ids = [modulator.id for modulator in modulators]
    for names, kind in ((ids, "modulators"), ([macro.id for macro in macros], "macros")):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise EnvelopeError(f"{kind}: the id {twice[0]!r} is used twice; give each its own")
    _check_macros(macros, midi_map, macro_values)
    for macro in macros:
        value = macro_values.get(macro.id, macro.value)
        keys = [key for key, target in midi_map.items() if target == f"macro.{macro.id}"]
        builder.add_macro(macro.id, value, keys)
    for modulator in _in_order(modulators, macros):
        builder.add(modulator)
    return builder.sources


class _Builder:
    """Turn modulators into sources, one after another."""

    def __init__(
        self,
        song: Song,
        sample_rate: float,
        seed: int,
        stem: str,
        followers: Mapping[str, FollowerSource] | None,
        warnings: list[str],
    ) -> None:
        self.sources: dict[str, Source] = {}
        self._song, self._sample_rate, self._seed = song, sample_rate, seed
        self._stem, self._followers, self._warnings = stem, followers, warnings

    def add_macro(self, macro_id: str, value: float, keys: Sequence[str]) -> None:
        """Add a knob, moved by MIDI where it is mapped."""
        name = f"macro.{macro_id}"
        if not 0.0 <= value <= 1.0:
            raise EnvelopeError(f"{name} = {value:g} is outside 0..1")
        lane = (
            mapped_lane(keys, value, self._song, self._sample_rate, f"midi_map -> {name}", self._warnings)
            if keys
            else None
        )
        self.sources[name] = Source(key=name, curve=lane or Constant(value))

    def add(self, modulator: Modulator) -> None:
        """Add a modulator."""
        self._check_swing(modulator)
        is_bipolar = modulator.polarity == "bipolar"
        curve = self._curve(modulator)
        if is_bipolar and not isinstance(modulator, (Combine, Lfo)):  # which see to it themselves
            curve = Bipolar(curve)
        self._add_source(modulator, curve, is_bipolar)
        if isinstance(modulator, Lfo) and modulator.stereo_phase:
            right = self._lfo(modulator, modulator.stereo_phase)
            self._add_source(modulator, right, is_bipolar, f"{modulator.id}.right")

    def _check_swing(self, modulator: Modulator) -> None:
        """Warn where a swing has nothing to swing."""
        if modulator.swing == 50.0:
            return
        where = f"modulators.{modulator.id}.swing"
        if not isinstance(modulator, (Lfo, Steps)):
            self._warnings.append(f"{where} does nothing: only lfo and steps swing, not {modulator.type}")
        elif parse_rate(modulator.rate).unit == "seconds":
            self._warnings.append(f"{where} does nothing: rate = {modulator.rate!r} does not follow the beat")

    def _add_source(self, modulator: Modulator, curve: Curve, is_bipolar: bool, name: str = "") -> None:
        # The steps of a MIDI lane are smoothed where they are made, in closed form; its lines are not.
        is_smooth = isinstance(modulator, MidiModulator) and modulator.interpolate == "hold"
        if modulator.smooth is not None and not is_smooth:
            tau = duration_samples(modulator.smooth, self._song, self._sample_rate)
            curve = Smoothed(source=curve, tau_samples=tau) if tau > 0 else curve
        name = name or modulator.id
        self.sources[name] = Source(key=name, curve=curve, is_bipolar=is_bipolar)

    def _curve(self, modulator: Modulator) -> Curve:
        where = f"modulators.{modulator.id}"
        if isinstance(modulator, Lfo):
            return self._lfo(modulator, 0.0)
        if isinstance(modulator, Steps):
            return self._steps(modulator)
        if isinstance(modulator, Adsr):
            return adsr_contour(
                modulator, self._gates(modulator, modulator.trigger), self._song, self._sample_rate
            )
        if isinstance(modulator, Breakpoints):
            is_gated = modulator.mode in ("trigger", "one_shot")
            starts = self._gates(modulator, modulator.trigger) if is_gated else None
            return breakpoints_contour(modulator, starts, self._song, self._sample_rate)
        if isinstance(modulator, Follower):
            source = self._follower(modulator.stem, where)
            if source is None:
                return Constant(1.0)
            return follower_curve(modulator, source, self._song, self._sample_rate, where)
        if isinstance(modulator, Hearing):
            source = self._follower(modulator.stem, where)
            return Constant(1.0) if source is None else self._heard(modulator, source, where)
        if isinstance(modulator, MidiModulator):
            return midi_source(modulator, self._song, self._sample_rate, where, self._warnings)
        if isinstance(modulator, MacroModulator):
            return self.sources[f"macro.{modulator.macro}"]
        if isinstance(modulator, Combine):
            return Combined(modulator.op, tuple(self.sources[name] for name in modulator.inputs))
        assert_never(modulator)

    def _heard(self, modulator: Hearing, source: FollowerSource, where: str) -> Curve:
        measure = hearing_measure(modulator)
        if measure not in source.heard:
            raise EnvelopeError(
                f"{where}: nobody listened to stem {modulator.stem or self._stem!r} for it; hand what is "
                "heard to FollowerSource"
            )
        return hearing_curve(modulator, source.heard[measure], self._song, self._sample_rate)

    def _lfo(self, modulator: Lfo, ahead_degrees: float) -> LfoSource:
        counter, fade = self._counter(modulator, modulator.delay, modulator.fade_in, 1)
        return LfoSource(
            shape=modulator.shape,
            counter=counter,
            phase=(modulator.phase + ahead_degrees) / 360.0,
            width=modulator.width,
            seed=stable_hash(self._seed, modulator.seed, modulator.id),
            fade=fade,
            is_bipolar=modulator.polarity == "bipolar",
        )

    def _steps(self, modulator: Steps) -> StepSource:
        counter, fade = self._counter(modulator, "0 ms", "0 ms", len(modulator.steps))
        return StepSource(
            values=np.array(modulator.steps),
            counter=counter,
            direction=modulator.direction,
            gate=modulator.gate,
            glide=modulator.glide,
            seed=stable_hash(self._seed, modulator.seed, modulator.id),
            fade=fade,
        )

    def _counter(
        self, modulator: Lfo | Steps, delay: str, fade_in: str, n_once: int
    ) -> tuple[Counter, Fade | None]:
        """Settle where a repeating source counts from, and how it comes in."""
        clock, swing_grid = self._song.tempo_map, parse_rate(modulator.swing_grid)
        is_swung = modulator.swing != 50.0
        if is_swung and swing_grid.unit != "beats":
            raise EnvelopeError(
                f"modulators.{modulator.id}.swing_grid: a note value is accepted, such as '1/16'"
            )
        pulse = CyclePhase(
            cycle=parse_rate(modulator.rate),
            tempo_map=clock,
            swing=modulator.swing / 100.0,
            swing_grid=Fraction(swing_grid.amount) if is_swung else None,
        )
        delay_length, fade_length = parse_duration(delay), parse_duration(fade_in)
        is_triggered = modulator.mode in ("trigger", "one_shot")
        if is_triggered:
            start_s = self._gates(modulator, modulator.trigger).start / self._sample_rate
        else:
            start_s = np.array([0.0 if modulator.mode == "free" else float(clock.beats_to_seconds(0.0))])
        begun_s = clock.advance(start_s, delay_length)
        fade = None
        if is_triggered or delay_length.amount or fade_length.amount:
            starts = to_samples(start_s, self._sample_rate)
            fade = Fade(
                starts=starts,
                delay_samples=(to_samples(begun_s, self._sample_rate) - starts).astype(np.float64),
                fade_samples=(clock.advance(begun_s, fade_length) - begun_s) * self._sample_rate,
            )
        if not is_triggered:
            origin = float(pulse.at(0.0)) if modulator.mode == "free" else 0.0
            return Counter(pulse=pulse, origin=origin), fade
        counter = Counter(
            pulse=pulse,
            starts=to_samples(start_s, self._sample_rate),
            start_cycles=pulse.at(begun_s),
            is_one_shot=modulator.mode == "one_shot",
            n_once=n_once,
        )
        return counter, fade

    def _gates(self, modulator: Modulator, trigger: Trigger) -> Gates:
        where = f"modulators.{modulator.id}.trigger"
        follower = self._follower(trigger.stem, where) if trigger.on == "audio" else None
        return build_gates(trigger, self._song, self._sample_rate, follower, modulator.id, self._warnings)

    def _follower(self, stem: str | None, where: str) -> FollowerSource | None:
        """Return how loud a stem is and what is heard in it; None while nothing is measured yet."""
        if self._followers is None:
            return None
        name = stem or self._stem
        if name not in self._followers:
            raise EnvelopeError(
                f"{where}: no stem {name!r} to follow; {nearest_names(name, self._followers)}"
            )
        return self._followers[name]


def _check_macros(macros: Sequence[Macro], midi_map: Mapping[str, str], values: Mapping[str, float]) -> None:
    known = [macro.id for macro in macros]
    mapped = [
        (f"midi_map.{key}", target[6:]) for key, target in midi_map.items() if target.startswith("macro.")
    ]
    for where, name in [*mapped, *((f"macro.{name}", name) for name in values)]:
        if name not in known:
            raise EnvelopeError(f"{where}: there is no macro {name!r}; {nearest_names(name, known)}")


def _in_order(modulators: Sequence[Modulator], macros: Sequence[Macro]) -> list[Modulator]:
    """Sort modulators so that what others take as input comes first."""
    by_id = {modulator.id: modulator for modulator in modulators}
    macro_names = {f"macro.{macro.id}" for macro in macros}
    stereo = {f"{m.id}.right" for m in modulators if isinstance(m, Lfo) and m.stereo_phase}
    ordered: list[Modulator] = []
    done: set[str] = set()

    def visit(modulator: Modulator, path: tuple[str, ...]) -> None:
        if modulator.id in path:
            circle = " -> ".join((*path[path.index(modulator.id) :], modulator.id))
            raise EnvelopeError(f"modulators.{modulator.id}: its inputs form a cycle: {circle}")
        if modulator.id in done:
            return
        inputs: tuple[str, ...] = ()
        if isinstance(modulator, Combine):
            inputs = modulator.inputs
        elif isinstance(modulator, MacroModulator):
            inputs = (f"macro.{modulator.macro}",)
        for name in inputs:
            if name not in by_id and name not in macro_names and name not in stereo:
                known = nearest_names(name, [*by_id, *macro_names, *stereo])
                raise EnvelopeError(f"modulators.{modulator.id}: there is no source {name!r}; {known}")
            if name not in macro_names:
                visit(by_id[name.removesuffix(".right")], (*path, modulator.id))
        done.add(modulator.id)
        ordered.append(modulator)

    for modulator in modulators:
        visit(modulator, ())
    return ordered
