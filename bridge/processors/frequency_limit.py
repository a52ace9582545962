"""The highest frequency a sound can be told of: filters above half of its rate give infinities, not sound.

Every parameter in Hz is held below that, and whoever set it is told.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge.parameters import ParamSpec, ParamValue

__all__ = ["describe_held", "highest_hz", "hold_params", "parameters_in_hz"]

_SHARE_OF_RATE = 0.49


def highest_hz(sample_rate: float) -> float:
    """Return the highest frequency a parameter may have at a sample rate: a little below its half.

    >>> highest_hz(16000)
    7840.0
    """
    return _SHARE_OF_RATE * sample_rate


def parameters_in_hz(parameters: Mapping[str, ParamSpec]) -> tuple[str, ...]:
    """Return the names of the parameters that are frequencies."""
    return tuple(name for name, spec in parameters.items() if spec.unit == "Hz")


def hold_params(
    params: Mapping[str, ParamValue], parameters: Mapping[str, ParamSpec], sample_rate: float
) -> dict[str, ParamValue]:
    """Return the values a node is built with at a sample rate: its frequencies held, its defaults' too.

    Args:
        params: What a preset sets.
        parameters: What the processor offers.
        sample_rate: Hz.
    """
    limit = highest_hz(sample_rate)
    held = dict(params)
    for name in parameters_in_hz(parameters):
        if float(params.get(name, parameters[name].default)) > limit:
            held[name] = limit
    return held


def describe_held(where: str, name: str, given_hz: float, sample_rate: float) -> str:
    """Return one line for a frequency that is held."""
    return (
        f"{where}: {name} = {given_hz:g} Hz is too high for sound at {sample_rate:g} Hz; "
        f"{highest_hz(sample_rate):g} Hz is used"
    )
