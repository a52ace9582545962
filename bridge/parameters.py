"""The parameters of processors: what each one means, accepts and how finely it moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bridge.errors import ProcessorError, nearest_names

__all__ = ["ParamSpec", "ParamValue", "check_parameter"]

ParamValue = float | bool | str


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamSpec:
    """Describe one parameter of a processor: what it means, what it accepts, how finely it can move.

    Args:
        name: The target's own name, unit last (``cutoff_hz``).
        default: Value where nothing is said.
        minimum: Lowest value accepted; None where there is no bound, and for choices and switches.
        maximum: Highest value accepted.
        unit: Shown to people: ``dB``, ``Hz``, ``ms``, ``steps`` or nothing.
        curve: How a knob's travel maps to the range. ``log`` for frequencies and times.
        choices: The accepted names, for a parameter that is one of several.
        words: Names accepted beside the numbers of a range: ``oo`` for silence, ``FREE RUN`` for no rate.
        automation: ``sample`` where every sample can have its own value, ``block`` where the value is
            set at the start of each automation block, ``none`` where it is fixed for a render.
        help: One line for people.
    """

    name: str
    default: ParamValue
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    curve: Literal["linear", "log"] = "linear"
    choices: tuple[str, ...] = field(default=())
    words: tuple[str, ...] = field(default=())
    automation: Literal["sample", "block", "none"] = "none"
    help: str = ""

    @property
    def is_continuous(self) -> bool:
        """Whether the parameter is a number with a range, so that a route can reach it."""
        return bool(self.words) or (
            isinstance(self.default, (int, float)) and not isinstance(self.default, bool)
        )


def check_parameter(
    name: str, value: ParamValue, parameters: Mapping[str, ParamSpec], where: str
) -> ParamValue:
    """Return a parameter value in the type its parameter wants, or say what is accepted.

    Args:
        name: Parameter name.
        value: Value in the parameter's own unit.
        parameters: What the processor offers.
        where: Put at the start of an error: file and place, or the processor's name.

    Raises:
        ProcessorError: Unknown name, wrong type, unknown choice or value out of range.
    """
    spec = parameters.get(name)
    if spec is None:
        raise ProcessorError(f"{where}: no parameter {name!r}; {nearest_names(name, parameters)}")
    if spec.choices:
        if not isinstance(value, str) or value not in spec.choices:
            raise ProcessorError(
                f"{where}.{name}: {value!r} is not one of its choices; "
                f"{nearest_names(str(value), spec.choices)}"
            )
        return value
    if isinstance(value, str) and value in spec.words:
        return value
    if isinstance(spec.default, bool):
        if not isinstance(value, bool):
            raise ProcessorError(f"{where}.{name}: {value!r} is not a switch; true or false is accepted")
        return value
    if isinstance(spec.default, str) and not spec.words:
        if not isinstance(value, str):
            raise ProcessorError(f"{where}.{name}: {value!r} is not text; put it in quotes")
        return value
    if isinstance(value, (bool, str)):
        words = f" or one of {', '.join(map(repr, spec.words))}" if spec.words else ""
        raise ProcessorError(f"{where}.{name}: {value!r} is not a number{words}")
    number = float(value)
    low = -float("inf") if spec.minimum is None else spec.minimum
    high = float("inf") if spec.maximum is None else spec.maximum
    if not low <= number <= high:
        unit = f" {spec.unit}" if spec.unit else ""
        raise ProcessorError(f"{where}.{name} = {value} is outside {low:g}..{high:g}{unit}")
    return number
