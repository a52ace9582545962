"""What a user says of a song's time, and what a file's name says."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler

from bridge.clock.tempo_segments import Meter, bpm_to_us, check_meter
from bridge.errors import TempoError

__all__ = ["ClockSettings", "bpm_from_name", "parse_meter"]


def _read_bpm(given: object) -> object:
    if not isinstance(given, str):
        return given
    matched = re.fullmatch(r"(\d{1,6}(?:([.,])\d{1,9})?)\s*(bpm)?", given.strip(), re.IGNORECASE)
    if matched is None or matched[2] == "," or matched[3]:
        meant = f"write {matched[1].replace(',', '.')}" if matched else "such as 120 or 87.5"
        raise TempoError(
            f"bpm = {given!r} is not a number; quarter notes a minute from 1 to 1000 are accepted, {meant}"
        )
    return float(given)


def _check_bpm(bpm: float | None) -> float | None:
    if bpm is not None:
        bpm_to_us(bpm)
    return bpm


def _read_meter(given: object) -> object:
    if isinstance(given, str):
        return parse_meter(given)
    match given:
        case [int(numerator), int(denominator)]:
            check_meter(Meter(tick=0, numerator=numerator, denominator=denominator))
    return given


class ClockSettings(BaseModel):
    """Say of a song's time what its files do not, or say wrongly; a job's keys and options of the same names.

    Raises:
        TempoError: A value that makes no sense.

    >>> ClockSettings(bpm=128, meter="7/8").meter
    (7, 8)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bpm: Annotated[float | None, BeforeValidator(_read_bpm), AfterValidator(_check_bpm)] = Field(
        default=None, description="Quarter notes per minute, 1 to 1000; overrides the MIDI file's tempo."
    )
    meter: Annotated[tuple[int, int] | None, BeforeValidator(_read_meter)] = Field(
        default=None, description="Such as 7/8; overrides the MIDI file's."
    )
    offset_s: float = Field(
        default=0.0, description="Where the MIDI file's first tick sounds in the stems, in seconds."
    )
    first_bar: int = Field(default=1, description="Number of the first bar; 0 where it is a pick-up.")
    pattern: int | None = Field(
        default=None, ge=1, description="Which track of a type 2 MIDI file to read, from 1."
    )
    ppq: int | None = Field(
        default=None, ge=1, description="Ticks per quarter note, if the MIDI file says 0."
    )
    text_markers: bool = Field(
        default=False, description="Use texts of the first MIDI track as markers if the file has none."
    )

    @model_validator(mode="wrap")
    @classmethod
    def _say_it_as_ours(cls, data: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return validate(data)
        except ValidationError as error:
            if cls is not ClockSettings:  # what has more fields says itself what is wrong with which
                raise
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            raise TempoError(f"{name} = {first['input']!r}: {first['msg'].lower()}") from None


def parse_meter(text: str, where: str = "meter") -> tuple[int, int]:
    """Read a meter such as ``7/8``.

    Raises:
        TempoError: Not a meter.

    >>> parse_meter("7/8")
    (7, 8)
    """
    matched = re.fullmatch(r"\s*(\d{1,3})\s*/\s*(\d{1,3})\s*", text)
    if not matched:
        raise TempoError(f"{where}: {text!r} is not a meter; '4/4', '7/8' and the like are accepted")
    meter = check_meter(Meter(tick=0, numerator=int(matched[1]), denominator=int(matched[2])))
    return meter.numerator, meter.denominator


def bpm_from_name(name: str) -> float | None:
    """Return the tempo that a file's name states, or None.

    >>> bpm_from_name("drums_128bpm.wav"), bpm_from_name("take 5.wav")
    (128.0, None)
    """
    matched = re.search(r"(?<![\d.])(\d{2,3}(?:\.\d{1,3})?)[ _-]?bpm(?![a-z])", name, re.IGNORECASE)
    return float(matched[1]) if matched else None
