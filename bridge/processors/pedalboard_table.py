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
    text: str,
    default: float,
    minimum: float,
    maximum: float,
    unit: str = "",
    curve: Literal["linear", "log"] = "linear",
    automation: Literal["block", "none"] = "block",
) -> ParamSpec:
    return ParamSpec(
        name=name,
        default=default,
        minimum=minimum,
        maximum=maximum,
        unit=unit,
        curve=curve,
        automation=automation,
        help=text,
    )


def _builtin(class_name: str, title: str, *parameters: ParamSpec) -> Builtin:
    return Builtin(class_name=class_name, title=title, parameters=parameters)


def _cutoff(name: str, default: float, text: str = "corner frequency, where it is 3 dB down") -> ParamSpec:
    return _number(name, text, default, 10.0, 20000.0, "Hz", "log")


def _threshold(default: float, maximum: float, text: str) -> ParamSpec:
    return _number("threshold_db", text, default, -100.0, maximum, "dB")


_MIX = _number("mix", "how much of the output is the effect's; 0 is the input", 0.5, 0.0, 1.0)
_ATTACK = _number("attack_ms", "how soon it acts", 1.0, 0.0, 1000.0, "ms")
_RELEASE = _number("release_ms", "how soon it lets go", 100.0, 1.0, 5000.0, "ms", "log")
_Q = _number("q", "width of the band: higher is narrower", 0.7071067690849304, 0.05, 50.0, curve="log")
_BAND_GAIN = _number("gain_db", "gain of the band", 0.0, -60.0, 60.0, "dB")


def _band(text: str) -> tuple[ParamSpec, ParamSpec, ParamSpec]:
    return _cutoff("cutoff_frequency_hz", 440.0, text), _BAND_GAIN, _Q


_LADDER_MODES = ("LPF12", "HPF12", "BPF12", "LPF24", "HPF24", "BPF24")

BUILTINS: dict[str, Builtin] = {
    "bitcrush": _builtin(
        "Bitcrush", "fewer bits", _number("bit_depth", "bits that are kept", 8.0, 0.0, 32.0, "bits")
    ),
    "chorus": _builtin(
        "Chorus",
        "modulated short delay",
        _number("rate_hz", "speed of the modulation", 1.0, 0.0, 100.0, "Hz"),
        _number("depth", "depth of the modulation", 0.25, 0.0, 1.0),
        _number("centre_delay_ms", "delay in the middle of the modulation", 7.0, 1.0, 100.0, "ms"),
        _number("feedback", "how much goes round again", 0.0, -1.0, 1.0),
        _MIX,
    ),
    "clipping": _builtin(
        "Clipping", "hard clipping", _threshold(-6.0, 0.0, "level at which peaks are cut off")
    ),
    "compressor": _builtin(
        "Compressor",
        "dynamic range compressor",
        _threshold(0.0, 20.0, "level above which it acts"),
        _number("ratio", "dB in for one dB out above the threshold", 1.0, 1.0, 100.0, curve="log"),
        _ATTACK,
        _RELEASE,
    ),
    "delay": _builtin(
        "Delay",
        "digital delay",
        _number("delay_seconds", "time between repeats", 0.5, 0.0, 30.0, "s"),
        _number("feedback", "how much of each repeat is repeated", 0.0, 0.0, 1.0),
        _MIX,
    ),
    "distortion": _builtin(
        "Distortion",
        "tanh waveshaper",
        _number("drive_db", "gain into the waveshaper", 25.0, 0.0, 100.0, "dB"),
    ),
    "gain": _builtin("Gain", "gain", _number("gain_db", "gain", 1.0, -120.0, 60.0, "dB")),
    "high_shelf_filter": _builtin(
        "HighShelfFilter", "high shelf", *_band("where the shelf begins, going up")
    ),
    "highpass_filter": _builtin(
        "HighpassFilter", "high-pass, 6 dB per octave", _cutoff("cutoff_frequency_hz", 50.0)
    ),
    "invert": _builtin("Invert", "polarity inversion"),
    "ladder_filter": _builtin(
        "LadderFilter",
        "Moog-style ladder",
        ParamSpec(
            name="mode",
            default="LPF12",
            choices=_LADDER_MODES,
            help="low-, high- or band-pass, 12 or 24 dB per octave",
        ),
        _cutoff("cutoff_hz", 200.0),
        _number("resonance", "peak at the corner frequency", 0.0, 0.0, 1.0),
        _number("drive", "gain into the filter's saturation", 1.0, 1.0, 100.0, curve="log"),
    ),
    "limiter": _builtin(
        "Limiter", "soft limiter", _threshold(-10.0, 0.0, "level that is not exceeded"), _RELEASE
    ),
    "low_shelf_filter": _builtin("LowShelfFilter", "low shelf", *_band("where the shelf begins, going down")),
    "lowpass_filter": _builtin(
        "LowpassFilter", "low-pass, 6 dB per octave", _cutoff("cutoff_frequency_hz", 50.0)
    ),
    "mp3_compressor": _builtin(
        "MP3Compressor",
        "MP3 compression",
        # LAME refuses 10 itself, and starts over, without a sound, whenever the quality moves.
        _number(
            "vbr_quality",
            "LAME's quality of variable bit rate: 0 is best",
            2.0,
            0.0,
            9.999,
            automation="none",
        ),
    ),
    "noise_gate": _builtin(
        "NoiseGate",
        "gate",
        _threshold(-100.0, 0.0, "level below which it closes"),
        _number("ratio", "dB out for one dB in below the threshold", 10.0, 1.0, 100.0, curve="log"),
        _ATTACK,
        _RELEASE,
    ),
    "peak_filter": _builtin("PeakFilter", "parametric bell", *_band("middle of the bell")),
    "phaser": _builtin(
        "Phaser",
        "all-pass sweep",
        _number("rate_hz", "speed of the sweep", 1.0, 0.0, 99.0, "Hz"),
        _number("depth", "depth of the sweep", 0.5, 0.0, 1.0),
        _cutoff("centre_frequency_hz", 1300.0, "middle of the sweep"),
        # Beyond 0.9 a quick sweep grows without end: to NaN within seconds at 1, at every rate.
        _number("feedback", "how much goes round again", 0.0, -0.9, 0.9),
        _MIX,
    ),
    "pitch_shift": _builtin(
        "PitchShift",
        "pitch at the same length",
        # It hears the whole sound at once (see `pedalboard_plugin`), so nothing can move meanwhile.
        _number("semitones", "how far the pitch moves", 0.0, -72.0, 72.0, "st", automation="none"),
    ),
    "reverb": _builtin(
        "Reverb",
        "Freeverb",
        _number("room_size", "how long it rings", 0.5, 0.0, 1.0),
        _number("damping", "how much sooner the highs die away", 0.5, 0.0, 1.0),
        _number("wet_level", "level of the reverberation", 0.33, 0.0, 1.0),
        _number("dry_level", "level of the sound itself", 0.4, 0.0, 1.0),
        _number("width", "stereo width of the reverberation", 1.0, 0.0, 1.0),
        _number("freeze_mode", "from 0.5 on it rings for ever", 0.0, 0.0, 1.0),
    ),
}
"""Processor name to effect: the names presets use."""
