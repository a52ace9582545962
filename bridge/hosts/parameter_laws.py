"""A plugin's 0..1 travel in real units, exactly.

VST3 parameters are positions in 0..1. What people and presets say is -6 dB or 250 ms, and the only thing
every plugin offers for that is the text it displays. From its texts at a few dozen positions a *law* is
recognised: linear, logarithmic, stepped, named choices, or, where none of these fits, a table. Linear and
logarithmic laws are then exact formulas, so that a value is not rounded to what the display happens to
show.

Names follow pedalboard: the title and the unit in snake case, ``gain_db``, ``cutoff_hz``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.arrays import Lane
from bridge.errors import ProcessorError
from bridge.hosts.contract import HostedParameter
from bridge.parameters import ParamSpec, ParamValue

__all__ = ["HostedParameterMap", "build_parameters", "parameter_name", "parse_parameter_text"]

_QUANTITY = re.compile(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s].*)?$")
_FACTORS = {"khz": ("Hz", 1e3), "hz": ("Hz", 1.0), "ms": ("ms", 1.0), "s": ("ms", 1e3), "sec": ("ms", 1e3)}
_SWITCH_ON = {"on", "yes", "true", "enabled"}
_SWITCH_OFF = {"off", "no", "false", "disabled"}
_IGNORED_TITLE = "MIDI CC "
"""JUCE plugins offer every controller of every channel as a parameter of such a name: noise to people."""

MappingLaw = Literal["linear", "log", "table", "choice", "switch"]


def parameter_name(title: str, label: str) -> str:
    """Spell a plugin's parameter as presets write it.

    >>> parameter_name("Low-Cut Freq", "Hz")
    'low_cut_freq_hz'
    >>> parameter_name("Osc #2", "")
    'osc_sharp2'
    """
    text = f"{title} {label}" if label and not label.startswith(":") else title
    text = text.lower().replace("#", "_sharp").replace("♯", "_sharp").replace("♭", "_flat")
    return re.sub(r"[^a-z0-9]+", "_", text).strip("_")


def parse_parameter_text(text: str) -> tuple[float, str] | None:
    """Split what a plugin displays into number and unit; None where it is not a number.

    >>> parse_parameter_text("-6.00 dB")
    (-6.0, 'dB')
    >>> parse_parameter_text("Hall") is None
    True
    """
    found = _QUANTITY.match(text)
    return (float(found.group(1)), (found.group(2) or "").strip()) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedParameterMap:
    """One parameter with its law.

    Args:
        index: The plugin's index for it.
        spec: What people see.
        law: How position and value belong together.
        steps: How many intervals the travel has; 0 where it is continuous.
        table: Positions and values, both ascending in position: what a ``table`` law interpolates.
    """

    index: int
    spec: ParamSpec
    law: MappingLaw
    steps: int
    table: tuple[tuple[float, ...], tuple[float, ...]]

    def to_raw(self, value: ParamValue) -> np.float32:
        """Return the position for a checked value in the parameter's own unit.

        Raises:
            ProcessorError: The parameter moves in steps and the value lies between two.
        """
        if self.law == "choice":
            return np.float32(self.spec.choices.index(str(value)) / max(1, len(self.spec.choices) - 1))
        raw = float(self.lane_to_raw(np.array([value], np.float64))[0])
        if self.steps and self.law != "switch":
            nearest = self.to_value(np.float32(raw))
            if abs(float(nearest) - float(value)) > 1e-6 * max(1.0, abs(float(value))):
                raise ProcessorError(
                    f"{self.spec.name} = {value} lies between two steps; the nearest is {float(nearest):g}"
                )
        return np.float32(raw)

    def lane_to_raw(self, lane: Lane) -> npt.NDArray[np.float32]:
        """Return the positions for a lane: real units, 0/1 for a switch, 0, 1, 2 ... for choices."""
        if self.law == "switch":
            return (lane >= 0.5).astype(np.float32)
        if self.law == "choice":
            last = len(self.spec.choices) - 1
            return (np.clip(np.round(lane), 0, last) / max(1, last)).astype(np.float32)
        low, high = self.table[1][0], self.table[1][-1]
        if self.law == "table":
            raw = _inverse_interp(lane, *self.table)
        elif self.law == "log":
            raw = np.log(lane / low) / np.log(high / low)
        else:
            raw = (lane - low) / (high - low)
        if self.steps:
            raw = np.round(raw * self.steps) / self.steps
        return np.clip(raw, 0.0, 1.0).astype(np.float32)

    def to_value(self, raw: float | np.float32) -> ParamValue:
        """Return the value at a position, in the parameter's own unit."""
        position = min(1.0, max(0.0, float(raw)))
        if self.law == "switch":
            return position >= 0.5
        if self.law == "choice":
            n_choices = len(self.spec.choices)
            return self.spec.choices[min(n_choices - 1, int(position * n_choices))]
        if self.steps:
            position = min(self.steps, int(position * (self.steps + 1))) / self.steps
        if self.law == "table":
            return float(np.interp(position, *self.table))
        low, high = self.table[1]
        if self.law == "log":
            return float(low * (high / low) ** position)
        return float(low + position * (high - low))


def build_parameters(hosted: Sequence[HostedParameter]) -> dict[str, HostedParameterMap]:
    """Give every parameter of a plugin a name, a range and a law.

    Two parameters of one name get ``_2``, ``_3`` after it, in the plugin's order.
    """
    parameters: dict[str, HostedParameterMap] = {}
    for index, parameter in enumerate(hosted):
        base = parameter_name(parameter.title, parameter.label)
        if not base or parameter.title.startswith(_IGNORED_TITLE):
            continue
        name, count = base, 1
        while name in parameters:
            count += 1
            name = f"{base}_{count}"
        parameters[name] = _build_parameter(name, index, parameter)
    return parameters


def _build_parameter(name: str, index: int, hosted: HostedParameter) -> HostedParameterMap:
    texts = list(dict.fromkeys(text.strip() for _, text in hosted.texts))
    folded = {text.lower() for text in texts}
    if len(texts) == 2 and folded & _SWITCH_ON and folded & _SWITCH_OFF:
        spec = _spec(name, hosted, default=hosted.default_raw >= 0.5)
        return HostedParameterMap(
            index=index, spec=spec, law="switch", steps=1, table=((0.0, 1.0), (0.0, 1.0))
        )

    readings = _numbers(hosted)
    if readings is None:
        return _build_choice(name, index, hosted, texts)
    raws, values = readings.raws, readings.values
    law = _recognise(readings, hosted.steps)
    table = (
        ((0.0, 1.0), (float(values[0]), float(values[-1])))
        if law != "table"
        else (tuple(raws), tuple(values))
    )
    plain = HostedParameterMap(
        index=index, spec=ParamSpec(name=name, default=0.0), law=law, steps=hosted.steps, table=table
    )
    spec = _spec(
        name,
        hosted,
        default=float(plain.to_value(hosted.default_raw)),
        minimum=float(values.min()),
        maximum=float(values.max()),
        unit=hosted.label or readings.unit,
        is_log=law == "log",
    )
    return HostedParameterMap(index=index, spec=spec, law=law, steps=hosted.steps, table=table)


def _build_choice(name: str, index: int, hosted: HostedParameter, texts: list[str]) -> HostedParameterMap:
    """Name the positions of a list; a continuous parameter without numbers is offered as its bare travel."""
    is_list = 0 < hosted.steps == len(hosted.texts) - 1 and len(texts) == len(hosted.texts)
    if not is_list:
        spec = _spec(name, hosted, default=hosted.default_raw, minimum=0.0, maximum=1.0)
        return HostedParameterMap(
            index=index, spec=spec, law="linear", steps=hosted.steps, table=((0.0, 1.0), (0.0, 1.0))
        )
    default = texts[min(len(texts) - 1, int(hosted.default_raw * len(texts)))]
    spec = _spec(name, hosted, default=default, choices=tuple(texts))
    return HostedParameterMap(
        index=index, spec=spec, law="choice", steps=hosted.steps, table=((0.0, 1.0), (0.0, 1.0))
    )


class _Readings(NamedTuple):
    """What a plugin displays at some positions: the values, and what the last digit of each stands for."""

    raws: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]
    places: npt.NDArray[np.float64]
    unit: str


def _spec(
    name: str,
    hosted: HostedParameter,
    *,
    default: ParamValue,
    minimum: float | None = None,
    maximum: float | None = None,
    unit: str = "",
    is_log: bool = False,
    choices: tuple[str, ...] = (),
) -> ParamSpec:
    return ParamSpec(
        name=name,
        default=default,
        minimum=minimum,
        maximum=maximum,
        unit=unit,
        curve="log" if is_log else "linear",
        choices=choices,
        automation="block" if hosted.is_automatable else "none",
        help=hosted.title,
    )


def _numbers(hosted: HostedParameter) -> _Readings | None:
    """Read the texts as numbers of one unit, or None where they are words.

    A display that changes unit on its way (``900 Hz``, ``1.20 kHz``) is read in the smaller one.
    """
    rows = []
    for raw, text in hosted.texts:
        quantity = parse_parameter_text(text)
        if quantity is not None:
            rows.append((raw, *quantity, _last_place(text)))
        elif not re.match(r"^\s*[-+]?inf", text, re.IGNORECASE):
            return None
    if len(rows) < 2:
        return None
    raws, values, units, places = zip(*rows, strict=True)
    unit, factors = units[0], np.ones(len(rows))
    if len(set(units)) > 1:
        known = [_FACTORS[unit.lower()] for unit in units if unit.lower() in _FACTORS]
        if len(known) < len(units) or len({base for base, _ in known}) > 1:
            return None
        unit, factors = known[0][0], np.array([factor for _, factor in known])
    return _Readings(np.array(raws), np.array(values) * factors, np.array(places) * factors, unit)


def _last_place(text: str) -> float:
    """Return what the last digit shown stands for: 0.01 where the text is -6.25 dB."""
    found = re.search(r"\.(\d+)", text)
    return float(10.0 ** -len(found.group(1))) if found else 1.0


def _recognise(readings: _Readings, steps: int) -> Literal["linear", "log", "table"]:
    """Say which law the displayed values follow, to within what the display rounds off."""
    raws, values = readings.raws, readings.values
    low, high = values[0], values[-1]
    if raws[0] != 0.0 or raws[-1] != 1.0 or low == high:
        return "table"
    rounding = 1.01 * readings.places
    positions = np.floor(raws * (steps + 1)).clip(max=steps) / steps if steps else raws
    if (np.abs(low + positions * (high - low) - values) <= rounding).all():
        return "linear"
    if not steps and low > 0 and high > 0 and (np.abs(low * (high / low) ** raws - values) <= rounding).all():
        return "log"
    return "table"


def _inverse_interp(lane: Lane, raws: Sequence[float], values: Sequence[float]) -> Lane:
    """Find positions for values on a table that rises or falls."""
    xs, ys = np.array(raws), np.array(values)
    order = np.argsort(ys, kind="stable")
    positions: Lane = np.interp(lane, ys[order], xs[order])
    return positions
