"""What pedalboard's built-in effects are called and what their parameters accept, as data.

Kept as a table so that presets can be read, checked and planned without loading pedalboard. Ranges are
pedalboard's own where it has any, else those its effects are made for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bridge.parameters import ParamSpec

__all__ = ["BUILTINS", "Builtin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Builtin:
    """One of pedalboard's effects.

    Args:
        class_name: Its class in pedalboard.
        title: One line for people.
        parameters: In pedalboard's order.
    """

    class_name: str
    title: str
    parameters: tuple[ParamSpec, ...]


def _number(
    name: str,
    default: float,
    minimum: float,
    maximum: float,
    unit: str = "",
    curve: Literal["linear", "log"] = "linear",
) -> ParamSpec:
    return ParamSpec(
        name=name,
        default=default,
        minimum=minimum,
        maximum=maximum,
        unit=unit,
        curve=curve,
        automation="block",
    )


def _builtin(class_name: str, title: str, *parameters: ParamSpec) -> Builtin:
    return Builtin(class_name=class_name, title=title, parameters=parameters)


def _cutoff(name: str, default: float) -> ParamSpec:
    return _number(name, default, 10.0, 20000.0, "Hz", "log")


_MIX = _number("mix", 0.5, 0.0, 1.0)
_ATTACK = _number("attack_ms", 1.0, 0.0, 1000.0, "ms")
_RELEASE = _number("release_ms", 100.0, 1.0, 5000.0, "ms", "log")
_SHELF = (
    _cutoff("cutoff_frequency_hz", 440.0),
    _number("gain_db", 0.0, -60.0, 60.0, "dB"),
    _number("q", 0.7071067690849304, 0.05, 50.0, curve="log"),
)
_LADDER_MODES = ("LPF12", "HPF12", "BPF12", "LPF24", "HPF24", "BPF24")

BUILTINS: dict[str, Builtin] = {
    "bitcrush": _builtin("Bitcrush", "fewer bits", _number("bit_depth", 8.0, 0.0, 32.0, "bits")),
    "chorus": _builtin(
        "Chorus",
        "modulated short delay",
        _number("rate_hz", 1.0, 0.0, 100.0, "Hz"),
        _number("depth", 0.25, 0.0, 1.0),
        _number("centre_delay_ms", 7.0, 1.0, 100.0, "ms"),
        _number("feedback", 0.0, -1.0, 1.0),
        _MIX,
    ),
    "clipping": _builtin("Clipping", "hard clipping", _number("threshold_db", -6.0, -100.0, 0.0, "dB")),
    "compressor": _builtin(
        "Compressor",
        "dynamic range compressor",
        _number("threshold_db", 0.0, -100.0, 20.0, "dB"),
        _number("ratio", 1.0, 1.0, 100.0, curve="log"),
        _ATTACK,
        _RELEASE,
    ),
    "delay": _builtin(
        "Delay",
        "digital delay",
        _number("delay_seconds", 0.5, 0.0, 30.0, "s"),
        _number("feedback", 0.0, 0.0, 1.0),
        _MIX,
    ),
    "distortion": _builtin("Distortion", "tanh waveshaper", _number("drive_db", 25.0, 0.0, 100.0, "dB")),
    "gain": _builtin("Gain", "gain", _number("gain_db", 1.0, -120.0, 60.0, "dB")),
    "high_shelf_filter": _builtin("HighShelfFilter", "high shelf", *_SHELF),
    "highpass_filter": _builtin(
        "HighpassFilter", "6 dB per octave high-pass", _cutoff("cutoff_frequency_hz", 50.0)
    ),
    "invert": _builtin("Invert", "polarity inversion"),
    "ladder_filter": _builtin(
        "LadderFilter",
        "Moog-style ladder",
        ParamSpec(name="mode", default="LPF12", choices=_LADDER_MODES),
        _cutoff("cutoff_hz", 200.0),
        _number("resonance", 0.0, 0.0, 1.0),
        _number("drive", 1.0, 1.0, 100.0, curve="log"),
    ),
    "limiter": _builtin(
        "Limiter", "soft limiter", _number("threshold_db", -10.0, -100.0, 0.0, "dB"), _RELEASE
    ),
    "low_shelf_filter": _builtin("LowShelfFilter", "low shelf", *_SHELF),
    "lowpass_filter": _builtin(
        "LowpassFilter", "6 dB per octave low-pass", _cutoff("cutoff_frequency_hz", 50.0)
    ),
    "mp3_compressor": _builtin("MP3Compressor", "what MP3 leaves", _number("vbr_quality", 2.0, 0.0, 10.0)),
    "noise_gate": _builtin(
        "NoiseGate",
        "gate",
        _number("threshold_db", -100.0, -100.0, 0.0, "dB"),
        _number("ratio", 10.0, 1.0, 100.0, curve="log"),
        _ATTACK,
        _RELEASE,
    ),
    "peak_filter": _builtin("PeakFilter", "parametric bell", *_SHELF),
    "phaser": _builtin(
        "Phaser",
        "all-pass sweep",
        _number("rate_hz", 1.0, 0.0, 99.0, "Hz"),
        _number("depth", 0.5, 0.0, 1.0),
        _cutoff("centre_frequency_hz", 1300.0),
        _number("feedback", 0.0, -1.0, 1.0),
        _MIX,
    ),
    "pitch_shift": _builtin(
        "PitchShift", "pitch at the same length", _number("semitones", 0.0, -72.0, 72.0, "st")
    ),
    "reverb": _builtin(
        "Reverb",
        "Freeverb",
        _number("room_size", 0.5, 0.0, 1.0),
        _number("damping", 0.5, 0.0, 1.0),
        _number("wet_level", 0.33, 0.0, 1.0),
        _number("dry_level", 0.4, 0.0, 1.0),
        _number("width", 1.0, 0.0, 1.0),
        _number("freeze_mode", 0.0, 0.0, 1.0),
    ),
}
"""Processor name to effect: the names presets use."""
