"""Turn lanes, notes and the song's clock into events at samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from bridge.arrays import Lane
from bridge.clock.tempo_map import TempoMap
from bridge.errors import ProcessorError
from bridge.hosts.contract import EVENT_DTYPE, EventArray, EventKind, no_events
from bridge.hosts.parameter_laws import HostedParameterMap
from bridge.parameters import ParamSpec

_JUMP = 1.0 / 64.0
"""The share of a travel that a lane crosses in one sample where it jumps: no knob's ramp is so steep."""

__all__ = ["merge_events", "midi_events", "parameter_events", "raw_events", "transport_events"]


def raw_events(values: Mapping[int, float], offset: int = 0) -> EventArray:
    """Return the events that move parameters, by index, at one sample."""
    events = np.zeros(len(values), EVENT_DTYPE)
    events["offset"], events["kind"] = offset, EventKind.PARAMETER
    events["index"], events["value"] = list(values), list(values.values())
    return events


def parameter_events(
    parameter: HostedParameterMap,
    lane: Lane,
    raw_before: float | None,
    raw_now: float,
    position_samples: int,
    block_samples: int,
    where: str,
) -> EventArray:
    """Return the events that take a parameter along a lane.

    The lane is read at the start of every block of the grid, counted from the start of the stream, so that
    the chunks it arrives in make no difference; and at every sample at which it jumps, so that a step is
    heard on its sample: a switch or a choice that changes, or a move within one sample of more than a 64th
    of the travel. Where the value stays, nothing happens and nothing is paid.

    Args:
        parameter: What moves.
        lane: One value a sample, in the parameter's own unit.
        raw_before: Position the lane had at the sample before its first; None at the start of a stream.
        raw_now: Position of the parameter before the first sample.
        position_samples: Where in the stream the lane begins.
        block_samples: The grid.
        where: Put at the start of an error.

    Raises:
        ProcessorError: The lane leaves the parameter's range, or is not finite.
    """
    offsets = np.arange(-position_samples % block_samples, len(lane), block_samples)
    if block_samples > 1:
        offsets = np.union1d(offsets, _jumps(parameter, lane, raw_before))
    values = lane[offsets]
    _check_range(parameter.spec, values, offsets + position_samples, where)
    raws = parameter.lane_to_raw(values)
    moves = (
        np.flatnonzero(raws != np.concatenate([[np.float32(raw_now)], raws[:-1]])) if len(raws) else offsets
    )
    events = np.zeros(len(moves), EVENT_DTYPE)
    events["offset"], events["kind"] = offsets[moves], EventKind.PARAMETER
    events["index"], events["value"] = parameter.index, raws[moves]
    return events


def _jumps(parameter: HostedParameterMap, lane: Lane, raw_before: float | None) -> npt.NDArray[np.int64]:
    """Return the samples at which a lane jumps."""
    changes = np.flatnonzero(np.diff(lane, prepend=np.nan))  # the first counts: what was before is not here
    if len(changes) == 1 and raw_before is None:
        return changes[:0]
    with np.errstate(all="ignore"):  # what is out of range is refused by its caller, with the place
        raws = parameter.lane_to_raw(lane[changes]).astype(np.float64)
        before = parameter.lane_to_raw(lane[np.maximum(changes - 1, 0)]).astype(np.float64)
    if len(changes):
        before[0] = raws[0] if raw_before is None else raw_before
    least = 0.0 if parameter.law in ("switch", "choice") else _JUMP
    return changes[np.abs(raws - before) > least]


def _check_range(spec: ParamSpec, values: Lane, positions: npt.NDArray[np.int64], where: str) -> None:
    if spec.choices:
        low, high = 0.0, len(spec.choices) - 1.0
    else:
        low = 0.0 if spec.minimum is None else float(spec.minimum)
        high = 1.0 if spec.maximum is None else float(spec.maximum)
    slack = 1e-9 * max(1.0, abs(low), abs(high))
    is_wrong = ~((values >= low - slack) & (values <= high + slack))
    if is_wrong.any():
        first = int(np.flatnonzero(is_wrong)[0])
        raise ProcessorError(
            f"{where}.{spec.name}: its automation reaches {values[first]:g} at sample {positions[first]}; "
            f"{low:g}..{high:g} is accepted"
        )


def midi_events(messages: Iterable[tuple[float, bytes]], sample_rate: float, where: str) -> EventArray:
    """Return the events that play MIDI messages.

    Args:
        messages: Seconds from the start of the stream, and the message's one to three bytes.
        sample_rate: Hz.
        where: Put at the start of an error.

    Raises:
        ProcessorError: A message that is not a channel message, or a time before the start.
    """
    rows = [(round(time_s * sample_rate), message) for time_s, message in messages]
    for offset, message in rows:
        if offset < 0 or not 1 <= len(message) <= 3 or not 0x80 <= message[0] < 0xF0:
            raise ProcessorError(
                f"{where}: {message.hex(' ')} at sample {offset} cannot be played; channel messages of up to "
                "three bytes at or after the start are"
            )
    rows.sort(key=lambda row: row[0])
    events = np.zeros(len(rows), EVENT_DTYPE)
    events["kind"] = EventKind.MIDI
    events["offset"] = [offset for offset, _ in rows]
    events["index"] = [int.from_bytes(message, "little") for _, message in rows]
    return events


def transport_events(
    tempo_map: TempoMap, sample_rate: float, position_samples: int, n_samples: int, block_samples: int
) -> EventArray:
    """Return the events that tell a plugin where the song is, at the start of every block."""
    offsets = np.arange(-position_samples % block_samples, n_samples, block_samples)
    if not len(offsets):
        return no_events()
    beats = tempo_map.samples_to_beats(offsets + position_samples, sample_rate)
    events = np.zeros(len(offsets), EVENT_DTYPE)
    events["offset"], events["kind"] = offsets, EventKind.TRANSPORT
    events["value"], events["value2"] = tempo_map.bpm_at(beats), beats
    meters = [tempo_map.meter_at(float(beat)) for beat in beats]
    events["index"] = [meter.numerator for meter in meters]
    events["detail"] = [meter.denominator for meter in meters]
    return events


def merge_events(*parts: EventArray) -> EventArray:
    """Return all events in the order of their samples; at one sample, in the order given."""
    present = [part for part in parts if len(part)]
    if not present:
        return no_events()
    if len(present) == 1:
        return present[0]
    merged = np.concatenate(present)
    return merged[np.argsort(merged["offset"], kind="stable")]
