"""Envelopes and breakpoint contours, laid out as segments along the song.

Everything musical is settled here, once: gates, tempo and meter in, segments on whole samples out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from bridge.arrays import Float64Array, Int64Array
from bridge.clock.durations import Duration, parse_duration, parse_position, parse_rate
from bridge.envelopes.cycle_phase import CyclePhase
from bridge.envelopes.schema import Adsr, Breakpoints
from bridge.envelopes.segments import Contour, Segment, SegmentList
from bridge.envelopes.song import Song, check_marker
from bridge.envelopes.triggers import Gates, horizon_s, to_samples
from bridge.errors import EnvelopeError, InputError

__all__ = ["adsr_contour", "breakpoints_contour"]

MAX_SEGMENTS = 2_000_000
_GATES_AT_ONCE = 4096
_ZERO = Duration(amount=parse_duration("0 s").amount, unit="seconds")


def adsr_contour(modulator: Adsr, gates: Gates, song: Song, sample_rate: float) -> Contour:
    """Lay out an envelope for every gate.

    A gate stays open while any note of a phrase is held. A note into a sounding one starts its attack from
    where the level is; with `retrigger` off it changes nothing.
    """
    order = np.argsort(gates.start, kind="stable")
    start, velocity = gates.start[order], gates.velocity[order]
    phrase_end = _phrase_ends(start, gates.end[order])
    clock = song.tempo_map
    stages = [start / sample_rate]
    for text in (modulator.delay, modulator.attack, modulator.hold, modulator.decay):
        stages.append(clock.advance(stages[-1], parse_duration(text)))
    begin, attacked, held, decayed = (to_samples(stage, sample_rate).tolist() for stage in stages[1:])
    released = to_samples(
        clock.advance(phrase_end / sample_rate, parse_duration(modulator.release)), sample_rate
    )
    peaks = (1.0 - modulator.velocity * (1.0 - velocity)).tolist()
    segments = SegmentList()
    previous_end = -1
    for row, (end, done, peak) in enumerate(zip(phrase_end.tolist(), released.tolist(), peaks, strict=True)):
        if begin[row] >= end or (not modulator.retrigger and end == previous_end):
            continue
        previous_end = end
        level = segments.cut(begin[row])
        floor = modulator.sustain * peak
        stages_of_gate = (
            Segment(begin[row], attacked[row] - begin[row], level, peak, "curve", modulator.attack_curve),
            Segment(attacked[row], held[row] - attacked[row], peak, peak),
            Segment(held[row], decayed[row] - held[row], peak, floor, "curve", modulator.decay_curve),
        )
        segments.extend(segment for segment in stages_of_gate if segment.start < end)
        level = segments.cut(end)
        segments.append(Segment(end, done - end, level, 0.0, "curve", modulator.release_curve))
    return Contour(segments=segments)


def breakpoints_contour(
    modulator: Breakpoints, gates: Gates | None, song: Song, sample_rate: float
) -> Contour:
    """Lay out a drawn contour along the song, in a loop, or from every gate.

    Raises:
        EnvelopeError: Points out of order or at places that the mode cannot use.
    """
    where = f"modulators.{modulator.id}"
    try:
        if modulator.mode == "timeline" and not modulator.loop:
            times = np.array(
                [_locate(modulator, index, song, where) for index in range(len(modulator.points))]
            )
            _check_order(times, modulator, where)
            located = _segments(modulator, to_samples(times, sample_rate).tolist(), 0)
            return Contour(segments=located, before=modulator.points[0].value)
        drawn = _Drawn(modulator, song, sample_rate, where)
        if modulator.mode == "sync":
            segments = drawn.synced()
        elif gates is None:
            start = float(song.tempo_map.beats_to_seconds(0.0))
            segments = drawn.once(start, horizon_s(song))
        else:
            segments = drawn.gated(gates)
    except EnvelopeError:
        raise
    except InputError as error:
        raise EnvelopeError(str(error)) from None
    return Contour(segments=segments, before=modulator.points[0].value if gates is None else 0.0)


class _Drawn:
    """A contour whose points are durations from wherever it starts."""

    def __init__(self, modulator: Breakpoints, song: Song, sample_rate: float, where: str) -> None:
        self._modulator, self._song, self._sample_rate, self._where = modulator, song, sample_rate, where
        self._positions = [
            _duration(point.at, f"{where}.points[{index}].at", modulator.mode)
            for index, point in enumerate(modulator.points)
        ]
        self._length = parse_rate(modulator.length) if modulator.length else self._positions[-1]
        if not self._length.amount:
            raise EnvelopeError(
                f"{where}: its loop has zero length; set length = '1 bars' or move its last point"
            )
        self._n_loops = 0
        self._loop_start = parse_duration(modulator.loop_start)
        self._first_looped = self._index_of(self._loop_start, "loop_start") if self._loop_start.amount else 0
        sustain = modulator.sustain_at
        self._sustain = None if sustain is None else self._index_of(parse_duration(sustain), "sustain_at")

    def synced(self) -> SegmentList:
        """Repeat in time with the song."""
        clock = self._song.tempo_map
        pulse = CyclePhase(cycle=self._length, tempo_map=clock)
        starts = pulse.starts(0.0, horizon_s(self._song), MAX_SEGMENTS)
        self._check_size(len(starts))
        rows = to_samples(self._times(starts, _ZERO), self._sample_rate)
        _check_order(rows[:1], self._modulator, self._where)
        segments = SegmentList()
        for row in rows.tolist():
            segments.cut(row[0])
            segments.extend(_segments(self._modulator, row, 0))
        return segments

    def gated(self, gates: Gates) -> SegmentList:
        """Start anew at every gate; one shot runs to its end before it starts again."""
        segments = SegmentList()
        busy_until, is_one_shot = -np.inf, self._modulator.mode == "one_shot"
        horizon = horizon_s(self._song)
        following = np.append(gates.start[1:] / self._sample_rate, horizon)
        # Many at once: to ask the clock for every point of every gate by itself takes half a minute.
        for first in range(0, len(gates), _GATES_AT_ONCE):
            part = slice(first, first + _GATES_AT_ONCE)
            starts = gates.start[part] / self._sample_rate
            times = self._times(starts, _ZERO)
            _check_order(times, self._modulator, self._where)
            ends, finished = gates.end[part] / self._sample_rate, self._after(starts, self._length)
            columns = (starts.tolist(), ends.tolist(), following[part].tolist(), finished.tolist())
            for row, (start_s, end_s, until_s, finished_s) in enumerate(zip(*columns, strict=True)):
                if is_one_shot and start_s < busy_until:
                    continue
                busy_until = finished_s
                segments.cut(round(start_s * self._sample_rate))
                limit_s = min(end_s, horizon if is_one_shot else until_s, horizon)
                self._play(segments, times[row], finished_s, end_s, limit_s)
                self._check_size(len(segments) // len(self._positions))
        return segments

    def once(self, start_s: float, until_s: float) -> SegmentList:
        """Run from a start, waiting and looping until a time."""
        times = self._times(np.array([start_s]), _ZERO)
        _check_order(times, self._modulator, self._where)
        segments = SegmentList()
        self._play(segments, times[0], float(self._after(start_s, self._length)), until_s, until_s)
        return segments

    def _play(
        self, segments: SegmentList, times: Float64Array, end_s: float, gate_end_s: float, until_s: float
    ) -> None:
        """Run once, its points at `times`, its end at `end_s`; wait or loop while the gate is open."""
        if self._sustain is not None and gate_end_s > times[self._sustain]:
            times = times.copy()
            times[self._sustain + 1 :] += gate_end_s - times[self._sustain]
            segments.extend(self._sustained(times, gate_end_s))
            return
        segments.extend(_segments(self._modulator, to_samples(times, self._sample_rate).tolist(), 0))
        if not self._modulator.loop or self._modulator.mode == "one_shot":
            return
        first = self._first_looped
        span = replace(self._length, amount=self._length.amount - self._loop_start.amount)
        if self._loop_start.amount and (self._length.unit != self._loop_start.unit or span.amount <= 0):
            raise EnvelopeError(f"{self._where}: loop_start must come before length, in the same unit")
        while end_s < until_s:
            times = self._times(np.array([end_s]), self._loop_start)[0]
            rows = to_samples(times[first:], self._sample_rate).tolist()
            segments.cut(rows[0])
            segments.extend(_segments(self._modulator, rows, first))
            self._n_loops += 1  # counted, not looked up: loops shorter than a sample leave nothing behind
            self._check_size(self._n_loops)
            end_s = float(self._after(end_s, span))

    def _after(self, starts_s: npt.ArrayLike, length: Duration) -> Float64Array:
        return self._song.tempo_map.advance(starts_s, length)

    def _sustained(self, times: Float64Array, gate_end_s: float) -> list[Segment]:
        assert self._sustain is not None
        rows = to_samples(times, self._sample_rate).tolist()
        segments = _segments(self._modulator, rows, 0)
        wait = round(gate_end_s * self._sample_rate) - rows[self._sustain]
        value = self._modulator.points[self._sustain].value
        moved = segments[self._sustain]
        waiting = Segment(moved.start, wait, value, value)
        after = moved._replace(start=moved.start + wait, n=max(moved.n - wait, 0))
        return [*segments[: self._sustain], waiting, after, *segments[self._sustain + 1 :]]

    def _times(self, starts_s: Float64Array, taken_off: Duration) -> Float64Array:
        """Return the times of the points of passes that start `taken_off` into the contour.

        Shape:
            ``(k,)`` -> ``(k, points)``.
        """
        clock = self._song.tempo_map
        places = self._positions
        if taken_off.amount:
            places = [
                replace(place, amount=max(place.amount - taken_off.amount, _ZERO.amount)) for place in places
            ]
        return np.stack([clock.advance(starts_s, place) for place in places], 1)

    def _index_of(self, place: Duration, name: str) -> int:
        if place not in self._positions:
            texts = ", ".join(repr(point.at) for point in self._modulator.points)
            raise EnvelopeError(f"{self._where}.{name}: there is no point at {place}; points are at {texts}")
        return self._positions.index(place)

    def _check_size(self, n_passes: int) -> None:
        if n_passes * len(self._positions) > MAX_SEGMENTS:
            raise EnvelopeError(
                f"{self._where}: more than {MAX_SEGMENTS} segments in the song; use a longer loop"
            )


def _phrase_ends(start: Int64Array, end: Int64Array) -> Int64Array:
    """Return, for each gate, when the last of the gates that overlap one after another closes."""
    if not len(start):
        return end
    reach = np.maximum.accumulate(end)
    is_last = np.append(start[1:] > reach[:-1], True)
    lasts = np.flatnonzero(is_last)
    return reach[lasts[np.searchsorted(lasts, np.arange(len(start)))]]


def _segments(modulator: Breakpoints, starts: list[int], first: int) -> list[Segment]:
    """Join points at sample positions; the last one holds."""
    points = modulator.points[first:]
    joined = [
        Segment(start, stop - start, point.value, following.value, point.curve, point.tension, point.steps)
        for point, following, start, stop in zip(points, points[1:], starts, starts[1:], strict=False)
    ]
    return [*joined, Segment(starts[-1], 0, points[-1].value, points[-1].value)]


def _locate(modulator: Breakpoints, index: int, song: Song, where: str) -> float:
    text, clock = modulator.points[index].at, song.tempo_map
    try:
        duration = parse_duration(text)
    except InputError:
        where = f"{where}.points[{index}].at"
        place = parse_position(text, where)
        if place.anchor == "marker":
            check_marker(f"@{place.marker}", song, where)
        return clock.locate(place, song.length_s, where)
    return float(clock.advance(clock.beats_to_seconds(0.0), duration))


def _duration(text: str, where: str, mode: str) -> Duration:
    try:
        return parse_duration(text, where)
    except InputError:
        raise EnvelopeError(
            f"{where}: {text!r} is a place in the song; a contour that loops or is triggered ({mode}) "
            "counts from its own start: give a duration, such as '2 beats'"
        ) from None


def _check_order(times: Float64Array | Int64Array, modulator: Breakpoints, where: str) -> None:
    falls = np.argwhere(np.diff(times) < 0)
    if len(falls):
        index = int(falls[0][-1]) + 1
        earlier, later = modulator.points[index - 1].at, modulator.points[index].at
        raise EnvelopeError(
            f"{where}.points[{index}]: {later!r} comes before {earlier!r}; write points in order"
        )
