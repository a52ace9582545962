"""What processors there are and what they accept: data that needs neither Torch nor pedalboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from bridge.errors import ProcessorError, nearest_names
from bridge.parameters import ParamSpec
from bridge.processors.dream_parameters import PitchSource
from bridge.processors.grow_places import GROW_PARAMETERS
from bridge.processors.noise import NOISE_PARAMETERS
from bridge.processors.pedalboard_table import BUILTINS
from dream_core.objectives.text import split_each, weight_names
from dream_core.settings import (
    DEFAULT_DEPTH,
    DEFAULT_NETWORK,
    DEPTH_LIMIT,
    F0_RANGE_HZ,
    HOP_DIVISORS,
    MOVING_SETTINGS,
    RANGES,
    SIGNALS,
    TRANSFORM_LENGTHS,
    WEIGHT_RANGE,
    DreamSettings,
    Normalisation,
    Optimiser,
    PictureOrder,
    PicturePlanes,
    Resynthesis,
    StereoMode,
)

__all__ = [
    "DREAMING",
    "DREAMS_PARAMETERS",
    "DREAM_PARAMETERS",
    "dream_parameters",
    "dreams_parameters",
    "processor_parameters",
    "processor_titles",
]

DREAMING = ("dream", "dreams")
"""The processors that dream."""

_DEFAULTS = DreamSettings()
_RANGES = {
    **RANGES,
    "n_fft": (TRANSFORM_LENGTHS[0], TRANSFORM_LENGTHS[-1]),
    "hop_divisor": (HOP_DIVISORS[0], HOP_DIVISORS[-1]),
}


def _setting(name: str, unit: str, text: str) -> ParamSpec:
    low, high = _RANGES[name]
    return ParamSpec(
        name=name,
        default=getattr(_DEFAULTS, name),
        minimum=low,
        maximum=high,
        unit=unit,
        curve="log" if unit == "Hz" else "linear",
        automation="sample" if name in MOVING_SETTINGS else "none",
        help=text,
    )


def _choice(name: str, kinds: object, text: str) -> ParamSpec:
    return ParamSpec(name=name, default=getattr(_DEFAULTS, name), choices=get_args(kinds), help=text)


_SPECS = (
    ParamSpec(name="network", default=DEFAULT_NETWORK, help="which network listens; `reverie networks list`"),
    ParamSpec(
        name="depth",
        default=DEFAULT_DEPTH,
        minimum=0.0,
        maximum=DEPTH_LIMIT,
        unit="steps",
        automation="sample",
        help="how many steps have been taken at an instant",
    ),
    ParamSpec(
        name="objective",
        default="class:auto",
        help="what is maximised: layer:, sum:, layer_l2:, channel:, neuron:, direction:, class:, "
        "probability:, logit:, peak:TERM, guided:, style:, content:, invert:, axis:, diverse:; and sums",
    ),
    ParamSpec(name="update", default="mask", help="how a gradient becomes the next sound"),
    _setting("step", "", "size of a step; 1 is what the update was tuned for"),
    ParamSpec(name="target", default="", help="the stem that targeted updates take their sound from"),
    _setting("low_hz", "Hz", "lowest frequency the dream may touch"),
    _setting("high_hz", "Hz", "highest frequency the dream may touch; 0: the network's"),
    _choice("stereo", StereoMode, "which channels are dreamed together"),
    ParamSpec(name="jitter", default=True, help="shift the network's patch grid at every step"),
    _setting("patch_hop", "frames", "from one patch of the network to the next; 0: the network's own"),
    _setting("varispeed_octaves", "octaves", "how far each step is heard at another speed"),
    _setting("octaves", "", "how many masks of different frame lengths, used in turn"),
    _choice("normalisation", Normalisation, "over what a gradient is scaled to unit size"),
    _setting("motion", "", "how far the dream may move in time: 0 held steady, 1 free"),
    ParamSpec(
        name="motion_rate",
        default="",
        help="moves in time with the song instead, as 1/8, 1/4T, 2 bars or 2 Hz; empty: with nothing",
    ),
    ParamSpec(
        name="cycles",
        default=0.0,
        minimum=SIGNALS["cycles"][0],
        maximum=SIGNALS["cycles"][1],
        automation="sample",
        help="how often that has come round, where it is moved; a render knows it from motion_rate",
    ),
    _setting("balance", "", "thirds of an octave move by at most 24 ** (1 - balance) dB"),
    _setting("smooth_frames", "frames", "smooths the gradient in time"),
    _setting("smooth_bins", "bins", "smooths the gradient in frequency"),
    _setting("tv_time", "", "smooths jumps of the gains in time"),
    _setting("tv_frequency", "", "pulls gains of neighbouring frequencies together"),
    _choice("optimiser", Optimiser, "how steps follow the gradient"),
    _setting("momentum", "", "how much of the last step goes into the next"),
    ParamSpec(name="energy", default=True, help="keep each frame as loud as it was"),
    _setting("protect_transients", "", "how much of a step is withheld where a sound begins"),
    _setting("excitation_db", "dB", "noise below the sound that a mask may turn up; -96: none"),
    _setting("harmonic_mix", "", "harmonic: 0 adds the new partials to the sound's own, 1 replaces those"),
    ParamSpec(
        name="pitch",
        default="auto",
        choices=get_args(PitchSource),
        help="harmonic: who tells the pitch: crepe, pyin, the song's midi; auto: crepe, else pyin",
    ),
    ParamSpec(
        name="f0_hz",
        default=0.0,
        minimum=F0_RANGE_HZ[0],
        maximum=F0_RANGE_HZ[1],
        unit="Hz",
        curve="log",
        automation="sample",
        help="harmonic: the pitch itself, where it is set or moved; 0: nobody sets it",
    ),
    _choice("resynthesis", Resynthesis, "mel: how frames become sound again"),
    _setting("sharpness", "", "hear: how much louder what the network answers to most is than the rest"),
    _setting("threshold_db", "dB", "where a spectral cut begins, below the loudest bin"),
    _setting("knee_db", "dB", "how soft the cut is"),
    ParamSpec(name="guard", default=True, help="hold the change below the sound's own envelope"),
    _setting("peak_guard", "", "how high a change's peaks may be, as a share of the sound's; 0: any"),
    ParamSpec(
        name="row",
        default=_DEFAULTS.row,
        help="picture: a row of pixels, in samples (512), as a note's period (A1) or a length as 1/16",
    ),
    ParamSpec(
        name="rows",
        default=0.0,
        minimum=SIGNALS["rows"][0],
        maximum=SIGNALS["rows"][1],
        automation="sample",
        help="picture: how many rows have passed, where it is moved; a render knows it from row",
    ),
    _setting("picture_height", "rows", "picture: rows of all channels; 0: whatever holds the window"),
    _choice("planes", PicturePlanes, "picture: what its three colours are"),
    _choice("order", PictureOrder, "picture: how its rows are laid out"),
    ParamSpec(name="context", default=True, help="let the network hear the sound around each window"),
    _setting("seed", "", "chooses the jitter and the excitation"),
    _setting("window_s", "s", "length of the windows the sound is dreamed in"),
    _setting("fade_s", "s", "cross-fade between windows; 0: an eighth of a window, half a second at most"),
    _setting("n_fft", "samples", "length of the transform at 44.1 and 48 kHz"),
    _setting("hop_divisor", "", "the hop is n_fft divided by this"),
)

DREAM_PARAMETERS: Mapping[str, ParamSpec] = {spec.name: spec for spec in _SPECS}


_SPECS_OF_EACH = (
    ParamSpec(
        name="each",
        default="channel:block4:auto; channel:block5:auto; channel:embedding:auto",
        help="what each dream maximises; as a list, or with ; between them",
    ),
    ParamSpec(
        name="sum",
        default="changes",
        choices=("changes", "sounds"),
        help="adds up what the dreams change, or the dreams themselves, which leaves a share of each change",
    ),
)

DREAMS_PARAMETERS: Mapping[str, ParamSpec] = {
    spec.name: spec for spec in (*_SPECS_OF_EACH, *_SPECS) if spec.name != "objective"
}


def dreams_parameters(each: str) -> Mapping[str, ParamSpec]:
    """Return the parameters of several dreams that are added up, with the named weights of all of them.

    Raises:
        ProcessorError: A weight has the name of another parameter.

    >>> dreams_parameters("{air}*class:flute; layer:block2")["air"].maximum
    1.0
    """
    known = dream_parameters(*split_each(each))
    for name in (known.keys() - DREAM_PARAMETERS.keys()) & DREAMS_PARAMETERS.keys():
        raise ProcessorError(f"a weight cannot be called {name!r}: dreams have a parameter of that name")
    return {**DREAMS_PARAMETERS, **{name: known[name] for name in known if name not in DREAM_PARAMETERS}}


def dream_parameters(*objectives: str) -> Mapping[str, ParamSpec]:
    """Return the parameters of a dream: those that all have, and the named weights of its objectives.

    Raises:
        ProcessorError: A weight has the name of another parameter.

    >>> dream_parameters("{air}*class:flute")["air"].maximum
    1.0
    """
    names = {name: objective for objective in objectives for name in weight_names(objective)}
    for name, objective in names.items():
        if name in DREAM_PARAMETERS or name == "mix":
            raise ProcessorError(
                f"objective {objective!r}: a weight cannot be called {name!r}, a dream has a parameter of "
                f"that name; write another, as {{{name}_share}}"
            )
    low, high = WEIGHT_RANGE
    weights = {
        name: ParamSpec(
            name=name,
            default=low,
            minimum=low,
            maximum=high,
            automation="sample",
            help=f"how much the terms count that {{{name}}} stands before",
        )
        for name in names
    }
    return {**DREAM_PARAMETERS, **weights} if weights else DREAM_PARAMETERS


def processor_titles() -> dict[str, str]:
    """Return every processor a preset can use and what it does."""
    return {
        "dream": "gradient ascent on what a network hears",
        "dreams": "several dreams of one sound, added up",
        "grow": "a network that learnt one sound plays on",
        "noise": "white, pink or brown noise",
        "vst3": "a hosted VST3 plugin",
        **{name: builtin.title for name, builtin in BUILTINS.items()},
    }


def processor_parameters(use: str) -> Mapping[str, ParamSpec]:
    """Return the parameters of a processor by the name presets use.

    Raises:
        ProcessorError: No processor has that name.

    >>> sorted(processor_parameters("gain"))
    ['gain_db']
    """
    if use == "dream":
        return DREAM_PARAMETERS
    if use == "dreams":
        return DREAMS_PARAMETERS
    if use == "grow":
        return GROW_PARAMETERS
    if use == "noise":
        return NOISE_PARAMETERS
    if use in BUILTINS:
        return {spec.name: spec for spec in BUILTINS[use].parameters}
    raise ProcessorError(f"no processor is called {use!r}; {nearest_names(use, processor_titles())}")
