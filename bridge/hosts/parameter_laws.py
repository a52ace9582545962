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
from dataclasses import dataclass, replace
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
_MOST_WORDS, _FEWEST_NUMBERS = 2, 8
_IGNORED_TITLE = re.compile(r"MIDI (CC |Ch\. \d+ )")
"""JUCE and DPF plugins offer every controller of every channel as a parameter of such a name."""

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


class _Word(NamedTuple):
    """A stretch of a travel that shows a word.

    Args:
        text: The word.
        low: First position that shows it.
        high: Last position that shows it.
    """

    text: str
    low: float
    high: float

    @property
    def position(self) -> float:
        """The position that is set for the word: the end of the travel it stands at, else its middle."""
        if self.low <= 0.0 or self.high >= 1.0:
            return 0.0 if self.low <= 0.0 else 1.0
        return (self.low + self.high) / 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedParameterMap:
    """One parameter with its law.

    Args:
        index: The plugin's index for it.
        spec: What people see.
        law: How position and value belong together.
        steps: How many intervals the travel has; 0 where it is continuous.
        table: Positions and values, both ascending in position: what a ``table`` law interpolates.
        words: Where the travel shows a word instead of a number.
    """

    index: int
    spec: ParamSpec
    law: MappingLaw
    steps: int
    table: tuple[tuple[float, ...], tuple[float, ...]]
    words: tuple[_Word, ...] = ()

    def to_raw(self, value: ParamValue) -> np.float32:
        """Return the position for a checked value in the parameter's own unit.

        Raises:
            ProcessorError: The parameter moves in steps and the value lies between two.
        """
        word = next((word for word in self.words if word.text == value), None)
        if word is not None:
            return np.float32(word.position)
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
        word = next((word for word in self.words if word.low <= position <= word.high), None)
        if word is not None:
            return word.text
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
        if not base or _IGNORED_TITLE.match(parameter.title):
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
    values, words = readings.values, _words(hosted)
    law, table = _recognise(readings, hosted.steps)
    plain = HostedParameterMap(
        index=index,
        spec=ParamSpec(name=name, default=0.0),
        law=law,
        steps=hosted.steps,
        table=table,
        words=words,
    )
    spec = _spec(
        name,
        hosted,
        default=plain.to_value(hosted.default_raw),
        minimum=float(values.min()),
        maximum=float(values.max()),
        unit=hosted.label or readings.unit,
        is_log=law == "log",
        words=tuple(dict.fromkeys(word.text for word in words)),
    )
    return replace(plain, spec=spec)


def _build_choice(name: str, index: int, hosted: HostedParameter, texts: list[str]) -> HostedParameterMap:
    """Name the positions of a list; a continuous parameter without numbers is offered as its bare travel."""
    is_list = 0 < hosted.steps == len(hosted.texts) - 1 and len(texts) == len(hosted.texts)
    if not is_list and not (hosted.role == "program" and len(texts) == 1):
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
    words: tuple[str, ...] = (),
) -> ParamSpec:
    return ParamSpec(
        name=name,
        default=default,
        minimum=minimum,
        maximum=maximum,
        unit=unit,
        curve="log" if is_log else "linear",
        choices=choices,
        words=words,
        automation="block" if hosted.is_automatable else "none",
        help=hosted.title,
    )


def _numbers(hosted: HostedParameter) -> _Readings | None:
    """Read the texts as numbers of one unit, or None where they are words.

    A display that changes unit on its way (``900 Hz``, ``1.20 kHz``) is read in the smaller one. Words at a
    few positions among numbers do not make words of the rest; in a short list of names they do.
    """
    rows = []
    for raw, text in hosted.texts:
        quantity = parse_parameter_text(text)
        if quantity is not None:
            rows.append((raw, *quantity, _last_place(text)))
    n_words = len({text.strip() for _, text in hosted.texts if parse_parameter_text(text) is None})
    if len(rows) < 2 or n_words > _MOST_WORDS or (n_words and len(rows) < _FEWEST_NUMBERS):
        return None
    raws, values, units, places = zip(*rows, strict=True)
    unit, factors = units[0], np.ones(len(rows))
    if len(set(units)) > 1:
        known = [_FACTORS[unit.lower()] for unit in units if unit.lower() in _FACTORS]
        if len(known) < len(units) or len({base for base, _ in known}) > 1:
            return None
        unit, factors = known[0][0], np.array([factor for _, factor in known])
    return _Readings(np.array(raws), np.array(values) * factors, np.array(places) * factors, unit)


def _words(hosted: HostedParameter) -> tuple[_Word, ...]:
    """Find the stretches of a travel of numbers that show a word."""
    words: list[_Word] = []
    is_going_on = False
    for raw, text in hosted.texts:
        word = text.strip()
        if parse_parameter_text(text) is not None:
            is_going_on = False
        elif is_going_on and words[-1].text == word:
            words[-1] = words[-1]._replace(high=raw)
        else:
            words.append(_Word(word, raw, raw))
            is_going_on = True
    return tuple(words)


def _last_place(text: str) -> float:
    """Return what the last digit shown stands for: 0.01 where the text is -6.25 dB."""
    found = re.search(r"\.(\d+)", text)
    return float(10.0 ** -len(found.group(1))) if found else 1.0


_Table = tuple[tuple[float, ...], tuple[float, ...]]


def _recognise(readings: _Readings, steps: int) -> tuple[Literal["linear", "log", "table"], _Table]:
    """Say which law the displayed values follow, to within what the display rounds off, and its points.

    A linear travel of which words take the ends is a table of two points.
    """
    raws, values = readings.raws, readings.values
    low, high = float(values[0]), float(values[-1])
    whole: _Table = tuple(raws.tolist()), tuple(values.tolist())
    if low == high:
        return "table", whole
    is_complete = raws[0] == 0.0 and raws[-1] == 1.0
    rounding = 1.01 * readings.places
    positions = np.floor(raws * (steps + 1)).clip(max=steps) / steps if steps else raws
    shares = (positions - positions[0]) / (positions[-1] - positions[0])
    if (np.abs(low + shares * (high - low) - values) <= rounding).all():
        ends = ((float(positions[0]), float(positions[-1])), (low, high))
        return ("linear" if is_complete else "table"), ends
    may_be_log = is_complete and not steps and low > 0 and high > 0
    if may_be_log and (np.abs(low * (high / low) ** raws - values) <= rounding).all():
        return "log", ((0.0, 1.0), (low, high))
    return "table", whole


def _inverse_interp(lane: Lane, raws: Sequence[float], values: Sequence[float]) -> Lane:
    """Find positions for values on a table that rises or falls."""
    xs, ys = np.array(raws), np.array(values)
    order = np.argsort(ys, kind="stable")
    positions: Lane = np.interp(lane, ys[order], xs[order])
    return positions
