"""What can be chosen of each kind of network: names, defaults and limits, read from text or from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeVar

from dream_core.errors import SettingError
from dream_core.names import nearest_names

__all__ = [
    "KeysOptions",
    "MelCnnOptions",
    "MelConv2dOptions",
    "MelFullOptions",
    "MelOptions",
    "MelTimbralOptions",
    "MelVggOptions",
    "WaveFilterbankOptions",
    "WaveOptions",
    "WavePlainOptions",
    "parse_options",
    "read_options",
]

T = TypeVar("T")

_MOST_WIDTHS = 8


def _ranged(default: Any, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


def _choice(default: str, *others: str) -> Any:
    return field(default=default, metadata={"choices": (default, *others)})


@dataclass(frozen=True, slots=True, kw_only=True)
class MelOptions:
    """What every network on mel patches can be told.

    Args:
        frontend: ``log_mel``; ``power_mel``, mel bands of power without a logarithm, 44 frames of 2048
            samples, 300 bands at 22.05 kHz; or ``musicnn``, that network's bands.
        n_mels: Bands; 0 takes what the front end usually has.
        patch_frames: Length of what it looks at; 0 takes as much as a segment holds, 96 frames at most.
        dropout: Share of what is left out before the last layer, while training.
    """

    frontend: str = _choice("log_mel", "power_mel", "musicnn")
    n_mels: int = _ranged(0, 0, 512)
    patch_frames: int = _ranged(0, 0, 1024)
    dropout: float = _ranged(0.25, 0.0, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class MelCnnOptions(MelOptions):
    """A small `timbre`.

    Args:
        widths: Channels of every block.
        depths: Convolutions in every block.
        embedding: Width of the layer under the logits.
    """

    widths: tuple[int, ...] = _ranged((24, 48, 96, 160), 1, 4096)
    depths: tuple[int, ...] = _ranged((1, 1, 1, 1), 1, 64)
    embedding: int = _ranged(128, 1, 16384)


@dataclass(frozen=True, slots=True, kw_only=True)
class MelFullOptions(MelOptions):
    """Kernels that span all bands.

    Args:
        widths: Channels of the convolutions.
    """

    widths: tuple[int, ...] = _ranged((128, 128, 192), 1, 4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class MelTimbralOptions(MelOptions):
    """musicnn's filters, a quarter as many.

    Args:
        frontend: As that of the others; here musicnn's by default.
        timbral: Filters of each of two heights.
        temporal: Filters of each of three lengths.
        middle: Channels of the three convolutions over time.
        penultimate: Width of the layer under the logits.
    """

    frontend: str = _choice("musicnn", "log_mel", "power_mel")
    timbral: int = _ranged(51, 1, 1024)
    temporal: int = _ranged(13, 1, 1024)
    middle: int = _ranged(16, 1, 1024)
    penultimate: int = _ranged(50, 1, 4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class MelVggOptions(MelOptions):
    """Small kernels, many of them.

    Args:
        widths: Channels of the four stages.
        n1: Convolutions in the first stage; `n2` to `n4` likewise.
        n2: Of the second.
        n3: Of the third.
        n4: Of the fourth.
        activation: What follows each convolution.
        pool: How each stage halves time and frequency.
        conv_dropout: Share of channels left out after each stage, while training.
    """

    widths: tuple[int, ...] = _ranged((64, 128, 256, 512), 1, 4096)
    n1: int = _ranged(1, 1, 9)
    n2: int = _ranged(1, 1, 9)
    n3: int = _ranged(1, 1, 9)
    n4: int = _ranged(1, 1, 9)
    activation: str = _choice("silu", "relu")
    pool: str = _choice("mean", "max", "stride", "blur")
    conv_dropout: float = _ranged(0.1, 0.0, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class MelConv2dOptions(MelOptions):
    """Blocks of equal width, flattened.

    Args:
        blocks: How many.
        filters: Channels of each.
        dense: Hidden layers after them.
        dense_units: Width of each.
        activation: What follows each convolution and hidden layer.
        pool: How each block halves time and frequency.
        conv_dropout: Share of channels left out after each block, while training.
    """

    blocks: int = _ranged(4, 0, 7)
    filters: int = _ranged(69, 1, 1024)
    dense: int = _ranged(0, 0, 2)
    dense_units: int = _ranged(64, 1, 4096)
    activation: str = _choice("silu", "relu")
    pool: str = _choice("mean", "max", "stride", "blur")
    conv_dropout: float = _ranged(0.1, 0.0, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysOptions(MelOptions):
    """Which piano keys sound, frame by frame; needs a set with notes.

    Args:
        frontend: ``octave``, 36 bands in every octave from the lowest key up.
        patch_frames: As that of the others; here 48 frames by default, 1.1 s at 22.05 kHz.
        contours: Channels of the convolutions on bands.
        widths: Channels of the convolutions on keys.
    """

    frontend: str = _choice("octave")
    contours: int = _ranged(16, 1, 512)
    widths: tuple[int, ...] = _ranged((32, 32), 1, 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveOptions:
    """What every network on the waveform can be told.

    Args:
        patch_samples: Length of what it looks at; 0 takes a segment, or 1.02 s if that is less.
        antialias: Whether a low-pass stands before each step that leaves out samples.
        dropout: Share of what is left out before the last layer, while training.
    """

    patch_samples: int = _ranged(0, 0, 1 << 18)
    antialias: bool = True
    dropout: float = _ranged(0.25, 0.0, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaveFilterbankOptions(WaveOptions):
    """A bank of filters that are learnt.

    Args:
        filters: Complex filters.
        widths: Channels of the convolutions on their magnitudes.
    """

    filters: int = _ranged(64, 1, 512)
    widths: tuple[int, ...] = _ranged((96, 128, 192), 1, 4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class WavePlainOptions(WaveOptions):
    """Convolutions on samples.

    Args:
        widths: Channels of the five convolutions.
    """

    widths: tuple[int, ...] = _ranged((48, 64, 96, 128, 192), 1, 4096)


def parse_options(shape: type[T], texts: Mapping[str, str], where: str) -> T:
    """Read options from text, ``widths=64,128`` and the like.

    Args:
        shape: Which options there are.
        texts: Values by name.
        where: Whose they are, for messages.

    Raises:
        SettingError: Naming every option that does not exist or is out of its limits.

    >>> parse_options(MelFullOptions, {"widths": "64,128"}, "mel_full").widths
    (64, 128)
    """
    known = {one.name: one for one in _fields(shape)}
    values = {
        name: _from_text(text, known[name].default) if name in known else text for name, text in texts.items()
    }
    try:
        return read_options(shape, values)
    except ValueError as error:
        raise SettingError(f"{where}: {error}") from None


def read_options(shape: type[T], values: Mapping[str, Any]) -> T:
    """Build options from values, if each of them is known and within its limits.

    Raises:
        ValueError: Naming all that are not.
    """
    known = {one.name: one for one in _fields(shape)}
    checked, mistakes = {}, []
    for name, value in values.items():
        if name not in known:
            mistakes.append(f"there is no {str(name)[:40]!r}; {nearest_names(str(name), known)}")
            continue
        problem = _problem(known[name], value)
        if problem:
            mistakes.append(f"{name} = {_shown(value)}: {problem}")
        checked[name] = tuple(value) if isinstance(value, list) else value
    if mistakes:
        raise ValueError("; ".join(mistakes))
    return shape(**checked)


def _fields(shape: type) -> tuple[Field[Any], ...]:
    return fields(shape)


def _from_text(text: str, default: Any) -> Any:
    """Return what a text says where it can be read; the text itself is refused later, by name."""
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}.get(text.lower(), text)
        if isinstance(default, tuple):
            return tuple(int(part) for part in text.split(","))
        return text if isinstance(default, str) else type(default)(text)
    except ValueError:
        return text


def _problem(one: Field[Any], value: Any) -> str:
    """Say what is wrong with a value, or nothing."""
    default = one.default
    if "choices" in one.metadata:
        choices = one.metadata["choices"]
        return "" if value in choices else nearest_names(str(value)[:40], choices)
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false is needed"
    low, high = one.metadata["low"], one.metadata["high"]
    if isinstance(default, tuple):
        is_list = isinstance(value, list | tuple) and 1 <= len(value) <= _MOST_WIDTHS
        if is_list and all(_is_number(part, int, low, high) for part in value):
            return ""
        return f"1 to {_MOST_WIDTHS} whole numbers from {low} to {high} are needed, as in 64,128"
    kind = "a whole number" if isinstance(default, int) else "a number"
    types = int if isinstance(default, int) else (int, float)
    return "" if _is_number(value, types, low, high) else f"{kind} from {low} to {high} is needed"


def _is_number(value: Any, types: Any, low: float, high: float) -> bool:
    return isinstance(value, types) and not isinstance(value, bool) and low <= value <= high


def _shown(value: Any) -> str:
    return repr(value)[:40]
