"""Who says the tempo: the song's clock from a MIDI file, what the user said, or a default.

Goal: a tempo that is always stated with its source, and a warning for every doubt.

Conventions: what the user says wins over the session, the session over the MIDI file, the file over a
preset's hint, and 120 BPM in 4/4 is the last resort. Tempo and meter events count on whatever track they are;
the last one at a tick wins.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from bridge.clock.durations import TICKS_PER_BAR_BEAT
from bridge.clock.settings import ClockSettings
from bridge.clock.tempo_map import TempoMap
from bridge.clock.tempo_segments import MAX_BPM, Meter, Tempo, bpm_to_us, check_meter
from bridge.midi.file import MetaEvent, MidiFile, read_midi
from bridge.midi.messages import CUE_POINT, MARKER, SET_TEMPO, TEXT, TIME_SIGNATURE

__all__ = ["build_clock", "build_tempo_map", "read_tempo_map"]

DEFAULT_BPM = 120.0


DEFAULT_METER = (4, 4)


_MAX_WARNINGS = 8


def build_clock(
    midi: MidiFile | None,
    said: ClockSettings,
    *,
    hint_bpm: float | None = None,
    hint_source: str = "preset default",
) -> TempoMap:
    """Build a song's clock from its MIDI file, if it has one, and from what is said.

    Args:
        midi: The file, already read.
        said: What wins over it.
        hint_bpm: A tempo where nobody says one.
        hint_source: Whose hint that is.

    Raises:
        TempoError: A tempo or a meter that makes no sense.
    """
    if midi is not None:
        return build_tempo_map(midi, said, hint_bpm=hint_bpm)
    bpm = said.bpm if said.bpm is not None else hint_bpm
    source = "--bpm" if said.bpm is not None else hint_source if hint_bpm is not None else "default"
    constant = TempoMap.constant(
        DEFAULT_BPM if bpm is None else bpm,
        said.meter or DEFAULT_METER,
        offset_s=said.offset_s,
        source=source,
    )
    return replace(constant, first_bar=said.first_bar)


def read_tempo_map(
    path: Path | str, said: ClockSettings | None = None, *, hint_bpm: float | None = None
) -> TempoMap:
    """Read the tempo map of a MIDI file.

    Args:
        path: The file.
        said: What wins over it.
        hint_bpm: A tempo where nobody says one, such as a preset's hint.

    Raises:
        MidiFileError: The file cannot be read.
        TempoError: A tempo or a meter that makes no sense.
    """
    said = said or ClockSettings()
    return build_tempo_map(read_midi(path, pattern=said.pattern, ppq=said.ppq), said, hint_bpm=hint_bpm)


def build_tempo_map(
    midi: MidiFile, said: ClockSettings | None = None, *, hint_bpm: float | None = None
) -> TempoMap:
    """Build the tempo map of a MIDI file already read; see `read_tempo_map`."""
    said = said or ClockSettings()
    warnings: list[str] = []
    ticks_per_beat = midi.ticks_per_beat or TICKS_PER_BAR_BEAT
    tempos, source = _tempos(midi, said.bpm, hint_bpm, warnings)
    clock = TempoMap(
        tempos=tempos,
        meters=(Meter(tick=0, numerator=4, denominator=4),),
        ticks_per_beat=ticks_per_beat,
        offset_s=said.offset_s,
        ticks_per_second=midi.ticks_per_second,
        first_bar=said.first_bar,
        source=source,
    )
    clock = replace(clock, meters=_meters(midi, clock, said.meter, warnings), warnings=tuple(warnings))
    markers = [event for event in midi.metas if event.kind in (MARKER, CUE_POINT)]
    if said.text_markers and not markers:
        markers = [event for event in midi.metas if event.kind == TEXT and event.track == 0]
    beats = clock.ticks_to_beats([event.tick for event in markers])
    return clock.with_markers(
        (beat, midi.text(event).strip()) for beat, event in zip(beats.tolist(), markers, strict=True)
    )


def _tempos(
    midi: MidiFile, bpm: float | None, hint_bpm: float | None, warnings: list[str]
) -> tuple[tuple[Tempo, ...], str]:
    """Decide who says the tempo; return the tempos and the source."""
    written = _written_tempos(midi, warnings)
    if bpm is not None:
        if written and (len(written) > 1 or written[0].us_per_beat != bpm_to_us(bpm)):
            warnings.append(f"{bpm:g} BPM as given overrides {_range_of(written)} in {midi.name}")
        return (Tempo(tick=0, us_per_beat=bpm_to_us(bpm)),), "--bpm"
    fallback, fallback_source = (DEFAULT_BPM, "default") if hint_bpm is None else (hint_bpm, "preset default")
    opening = Tempo(tick=0, us_per_beat=bpm_to_us(fallback))
    if midi.ticks_per_beat is None:
        ignored = f"; {_range_of(written)} in it does not count" if written else ""
        warnings.append(
            f"{midi.name} counts SMPTE time, not beats{ignored}: beats and bars are at {fallback:g} BPM "
            f"({fallback_source}); set the tempo with --bpm"
        )
        return (opening,), fallback_source
    if not written:
        warnings.append(
            f"no tempo in {midi.name}: {fallback:g} BPM is used ({fallback_source}); set the tempo with --bpm"
        )
        return (opening,), fallback_source
    if written[0].tick > 0:
        warnings.append(
            f"the first tempo in {midi.name} is at tick {written[0].tick}: {fallback:g} BPM is used before it"
        )
        written.insert(0, opening)
    return tuple(written), "midi"


def _written_tempos(midi: MidiFile, warnings: list[str]) -> list[Tempo]:
    """Return the file's tempos in order, the last at a tick, without those that make no sense."""
    by_tick: dict[int, Tempo] = {}
    n_bad = 0
    disputed: list[int] = []
    for event in midi.metas:
        if event.kind != SET_TEMPO:
            continue
        us = int.from_bytes(event.data[:3], "big")
        if len(event.data) < 3 or us == 0:
            n_bad += 1
            continue
        before = by_tick.get(event.tick)
        by_tick[event.tick] = Tempo(tick=event.tick, us_per_beat=Fraction(us))
        if before is not None and before.us_per_beat != us:
            disputed.append(event.tick)
    if n_bad:
        warnings.append(f"{n_bad} tempo events in {midi.name} are cut short or zero; ignored")
    if disputed:
        more = f" and at {len(disputed) - 1} more" if len(disputed) > 1 else ""
        warnings.append(
            f"{midi.name} says two tempos at tick {disputed[0]}{more}: the last one there counts, "
            f"{by_tick[disputed[0]].bpm:.6g} BPM"
        )
    fastest = min(by_tick.values(), key=lambda tempo: tempo.us_per_beat, default=None)
    if fastest is not None and fastest.bpm > MAX_BPM:
        warnings.append(
            f"{midi.name} asks for {fastest.bpm:,.0f} BPM at tick {fastest.tick}: kept, though probably "
            "a mistake; set the tempo with --bpm"
        )
    return list(by_tick.values())


def _range_of(tempos: list[Tempo]) -> str:
    low, high = min(tempo.bpm for tempo in tempos), max(tempo.bpm for tempo in tempos)
    return f"{low:.6g} BPM" if low == high else f"{low:.6g} to {high:.6g} BPM"


def _meters(
    midi: MidiFile, clock: TempoMap, override: tuple[int, int] | None, warnings: list[str]
) -> tuple[Meter, ...]:
    """Return the meters on the clock's grid, warning of those that land within a bar."""
    opening = Meter(tick=0, numerator=DEFAULT_METER[0], denominator=DEFAULT_METER[1])
    written = list(_written_meters([e for e in midi.metas if e.kind == TIME_SIGNATURE], clock, warnings))
    if override is not None:
        given = check_meter(Meter(tick=0, numerator=override[0], denominator=override[1]))
        differing = sorted({str(meter) for meter in written} - {str(given)})
        if differing:
            warnings.append(f"{given} as given overrides {', '.join(differing[:8])} in {midi.name}")
        return (given,)
    if not written or written[0].tick > 0:
        written.insert(0, opening)
    bars, cut_short = clock.first_bar, []
    for meter, following in itertools.pairwise(written):
        bar_ticks = Fraction(4 * clock.ticks_per_beat * meter.numerator, meter.denominator)
        n_bars = (following.tick - meter.tick) / bar_ticks
        bars += -(-n_bars.numerator // n_bars.denominator)
        if n_bars.denominator != 1:
            cut_short.append(f"the meter {following} starts within bar {bars - 1}, which ends there")
    warnings += cut_short[:_MAX_WARNINGS]
    if len(cut_short) > _MAX_WARNINGS:
        warnings.append(f"and {len(cut_short) - _MAX_WARNINGS} more meters start within a bar")
    return tuple(written)


def _written_meters(events: list[MetaEvent], clock: TempoMap, warnings: list[str]) -> Iterable[Meter]:
    by_tick: dict[int, Meter] = {}
    bad: list[MetaEvent] = []
    for event in events:
        numerator, power = (*event.data[:2], 0, 0)[:2]
        if len(event.data) < 2 or not numerator or power > 8:
            bad.append(event)
            continue
        tick = event.tick
        if clock.ticks_per_second is not None:
            tick = round(float(clock.ticks_to_beats(tick)) * clock.ticks_per_beat)
        by_tick[tick] = Meter(tick=tick, numerator=numerator, denominator=1 << power)
    if bad:
        warnings.append(
            f"{len(bad)} meter events make no sense, the first at tick {bad[0].tick} "
            f"(bytes {bad[0].data[:8].hex() or 'none'}); ignored"
        )
    return by_tick.values()
