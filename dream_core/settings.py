"""Everything a dream can be told, in one frozen record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from dream_core.errors import SettingError
from dream_core.names import nearest_names

if TYPE_CHECKING:
    from dream_core.objectives.objective import Objective

__all__ = [
    "DEFAULT_DEPTH",
    "DEFAULT_NETWORK",
    "DEPTH_LIMIT",
    "F0_RANGE_HZ",
    "HOP_DIVISORS",
    "MOVING_SETTINGS",
    "RANGES",
    "SIGNALS",
    "TRANSFORM_LENGTHS",
    "WEIGHT_RANGE",
    "DreamSettings",
    "Normalisation",
    "Optimiser",
    "Resynthesis",
    "StepRule",
    "StereoMode",
]

StereoMode = Literal["linked", "mid_side", "independent"]
Normalisation = Literal["frame", "band", "window"]
Optimiser = Literal["adaptive", "plain", "adam"]
Resynthesis = Literal["phase", "griffin_lim", "griffin_lim_random", "griffin_lim_full"]


class StepRule(Protocol):
    """An update given as an object: anything that fits :class:`dream_core.updates.contract.Update`."""

    @property
    def needs_target(self) -> bool:
        """Whether it wants another sound."""
        ...


DEPTH_LIMIT = 100.0
"""The deepest dream accepted, in steps."""

DEFAULT_DEPTH = 5.0
"""Default depth, in steps."""

DEFAULT_NETWORK = "timbre"
"""Which network listens where nobody says."""

MOVING_SETTINGS = ("step", "low_hz", "high_hz")
"""Settings that, like the depth, may have a value of their own at every sample."""

F0_RANGE_HZ = (0.0, 8000.0)
"""Pitches that a lane of `f0_hz` may hold; 0 where there is none."""

SIGNALS: Mapping[str, tuple[float, float]] = {"cycles": (-1e7, 1e7), "f0_hz": F0_RANGE_HZ}
"""What else may be said at every sample: `cycles` is how often what the dream moves in has come round."""

WEIGHT_RANGE = (0.0, 1.0)
"""What a named weight of an objective may be."""

RANGES: Mapping[str, tuple[float, float]] = {
    "step": (0.0, 10.0),
    "low_hz": (0.0, 96000.0),
    "high_hz": (0.0, 96000.0),
    "smooth_frames": (0.0, 32.0),
    "smooth_bins": (0.0, 32.0),
    "varispeed_octaves": (0.0, 2.0),
    "octaves": (1.0, 5.0),
    "tv_time": (0.0, 10.0),
    "tv_frequency": (0.0, 10.0),
    "momentum": (0.0, 0.95),
    "protect_transients": (0.0, 1.0),
    "excitation_db": (-96.0, -12.0),
    "harmonic_mix": (0.0, 1.0),
    "threshold_db": (-96.0, 0.0),
    "knee_db": (0.0, 48.0),
    "seed": (0.0, 2.0**31),
    "window_s": (0.5, 60.0),
    "fade_s": (0.0, 0.5),
    "patch_hop": (0.0, 4096.0),
    "motion": (0.0, 1.0),
    "balance": (0.0, 1.0),
    "peak_guard": (0.0, 1.0),
    "sharpness": (0.1, 16.0),
}
"""What is accepted for each number."""

LONGEST_FADE_S = 0.5

NO_EXCITATION_DB = -96.0
"""At this level there is none at all."""

TRANSFORM_LENGTHS = (512, 1024, 2048, 4096, 8192)
HOP_DIVISORS = (4, 8, 16)


def _either(numbers: tuple[int, ...]) -> str:
    *most, last = (str(number) for number in numbers)
    return f"{', '.join(most)} or {last}"


def _is_objective(value: object) -> bool:
    if isinstance(value, str):
        return False  # and Torch is not loaded for it
    from dream_core.objectives.objective import Objective

    return isinstance(value, Objective)


def _is_update(value: object) -> bool:
    offered = ("needs_target", "begin", "step")
    return not isinstance(value, type) and all(hasattr(value, name) for name in offered)


@dataclass(frozen=True, slots=True, kw_only=True)
class DreamSettings:
    """What to dream and how.

    Args:
        objective: What is maximised, as :mod:`dream_core.objectives.terms` writes it, or an `Objective`.
        update: How a gradient becomes the next sound: a name from :func:`dream_core.list_updates`, a cut
            spelt out, ``cut:OPERAND:MASK:PHASE:add[:BASE]``, or an object as `dream_core.updates.contract`
            says.
        step: Size of one step in the update's own unit; 1.0 is what it was tuned for. 0..10.
        low_hz: Lowest frequency the dream may touch; below the network's band means the network's band.
        high_hz: Highest frequency the dream may touch; 0 means the upper edge of the network's band.
        stereo: ``linked`` moves all channels alike and keeps the image; ``mid_side`` and ``independent``
            dream them apart.
        jitter: Shift the network's patch grid at every step, so that no frame is always at a patch's edge.
        patch_hop: From one patch to the next, in frames of the network; 0 takes the network's own. Smaller is
            finer in time, and costs as much more. At most the network's patch, 0..4096.
        varispeed_octaves: The network hears each step as a copy resampled by at most this many octaves,
            slower or faster, drawn from the seed: the octaves of image dreaming. The gradient comes back
            through the resampler to the sound itself: no detail is lost that had to be put back. 0..2.
        octaves: How many masks of different frame lengths take turns, from tones to attacks (``mask`` alone).
            1..5.
        normalisation: Over what a gradient is scaled to unit size: each frame, each third of an octave
            (``band``) or the window.
        motion: How far the dream may move in time: 1 lets every frame go its own way, 0 moves all within
            half a second alike. Networks hear frames on a grid of their own, so a free dream of a held note
            is a tremolo at a rate of theirs. With a lane of `cycles` steps swing in time with those. 0..1.
        balance: How tightly the sound's balance is held: thirds of an octave move by at most
            ``24 ** (1 - balance)`` dB, so by 24 dB at 0 (as far as any gain goes), 6 dB at .44, 1 dB at 1
            (``mask`` alone).
        smooth_frames: For ``mask``: smooths the gradient over this many frames (standard deviation). 0..32.
        smooth_bins: The same over frequency bins. 0..32.
        tv_time: How hard gains that jump in time are pulled together. 0..10.
        tv_frequency: The same for neighbouring frequencies. 0..10.
        optimiser: ``adaptive`` ascends along the gradient, faster in frames whose direction stays and slower
            where it turns; ``plain`` takes steps of one size; ``adam`` scales each bin by its own history.
        momentum: How much of the steps before goes into the next one; ``adam`` has its own. 0..0.95.
        energy: Keeps each frame as loud as it was.
        protect_transients: How much of a step is withheld where a sound begins. 0..1.
        excitation_db: Level of a noise below the sound that ``mask`` may turn up, for partials that the sound
            lacks; what is not turned up is not heard. -96..-12, -96 for none.
        harmonic_mix: What ``harmonic`` does with the sound's own partials: 0 adds the new ones to them, 1
            puts the new ones in their place. 0..1.
        resynthesis: How ``mel`` comes back to sound: by the sound's own phases, by phases that fit the
            magnitudes (``griffin_lim``, from the sound's own on; ``griffin_lim_random``, from anywhere), or
            all of it as it was published (``griffin_lim_full``).
        sharpness: For ``hear``: how much louder what a network answers to most is than the rest; the power to
            which its answer, 0..1, is taken. 0.1..16.
        threshold_db: Where a spectral cut begins, below the loudest bin. -96..0.
        knee_db: How soft the cut is. 0..48.
        guard: Holds the change below the sound's own envelope, so that no onset is heard before it is
            played and silence stays silent.
        peak_guard: How high the peaks of the change may be, as a share of the sound's own within 20 ms: the
            partials of an attack, turned up in phase, are a click that no rule about power sees. 0..1, 0 for
            no limit.
        context: Lets the networks hear a patch of the sound on both sides of a window, so that it is heard
            at its edges as elsewhere.
        seed: Chooses the jitter and the excitation; the same seed gives the same samples.
        window_s: Length of the windows the sound is dreamed in. 0.5..60.
        fade_s: Cross-fade between windows, in which one window's timbre becomes the next one's. 0 takes an
            eighth of a window, half a second at most. 0..0.5, at most a quarter of a window.
        n_fft: Length of the transform at 44.1 and 48 kHz; other rates scale it to the same duration.
        hop_divisor: The hop is ``n_fft / hop_divisor``: 4, 8 or 16. (At 2 squared windows leave gaps.)
    """

    objective: str | Objective = "class:auto"
    update: str | StepRule = "mask"
    step: float = 1.0
    low_hz: float = 0.0
    high_hz: float = 0.0
    stereo: StereoMode = "linked"
    jitter: bool = True
    patch_hop: int = 0
    varispeed_octaves: float = 0.0
    octaves: int = 1
    normalisation: Normalisation = "frame"
    motion: float = 0.1
    balance: float = 0.5
    smooth_frames: float = 4.0
    smooth_bins: float = 1.0
    tv_time: float = 0.0
    tv_frequency: float = 0.0
    optimiser: Optimiser = "adaptive"
    momentum: float = 0.5
    energy: bool = True
    protect_transients: float = 0.0
    excitation_db: float = -30.0
    harmonic_mix: float = 1.0
    resynthesis: Resynthesis = "phase"
    sharpness: float = 1.0
    threshold_db: float = -30.0
    knee_db: float = 6.0
    guard: bool = True
    peak_guard: float = 1.0
    context: bool = True
    seed: int = 0
    window_s: float = 4.0
    fade_s: float = 0.0
    n_fft: int = 4096
    hop_divisor: int = 4

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.name == "objective" and _is_objective(value):
                continue
            if setting.name == "update" and _is_update(value):
                continue
            for kind, what in ((bool, "true or false"), (int, "a whole number"), (str, "a text")):
                is_kind = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
                if type(setting.default) is kind and not is_kind:
                    raise SettingError(f"{setting.name} = {value!r}; {what} is accepted")
        for name, (low, high) in RANGES.items():
            self._check_range(name, low, high)
        self._check_range("fade_s", 0.0, self.window_s / 4)
        for name, lengths in (("n_fft", TRANSFORM_LENGTHS), ("hop_divisor", HOP_DIVISORS)):
            if getattr(self, name) not in lengths:
                raise SettingError(f"{name} = {getattr(self, name)}; {_either(lengths)} is accepted")
        for name, kinds in (
            ("stereo", StereoMode),
            ("normalisation", Normalisation),
            ("optimiser", Optimiser),
            ("resynthesis", Resynthesis),
        ):
            value, accepted = getattr(self, name), get_args(kinds)
            if value not in accepted:
                raise SettingError(f"{name} = {value!r}; {nearest_names(value, accepted)}")
        if 0 < self.high_hz <= self.low_hz:
            raise SettingError(
                f"the band {self.low_hz:g}..{self.high_hz:g} Hz is empty; low_hz must be below high_hz"
            )

    def _check_range(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise SettingError(f"{name} = {value!r} is not a number; {low:g}..{high:g} is accepted")
        if not low <= value <= high:
            raise SettingError(f"{name} = {value:g} is outside {low:g}..{high:g}")

    def n_fft_at(self, sample_rate: float) -> int:
        """Return the transform's length at a sample rate: the same duration, to a power of two.

        >>> DreamSettings().n_fft_at(96000)
        8192
        """
        return int(max(256, self.n_fft * 2 ** round(math.log2(sample_rate / 46050.0))))

    @property
    def cross_fade_s(self) -> float:
        """How long windows overlap.

        >>> DreamSettings(window_s=2.0).cross_fade_s
        0.25
        """
        return self.fade_s or min(LONGEST_FADE_S, self.window_s / 8)

    def hop_at(self, sample_rate: float) -> int:
        """Return the hop at a sample rate."""
        return self.n_fft_at(sample_rate) // self.hop_divisor

    def check_band(self, band_hz: tuple[float, float], network: str) -> tuple[float, float]:
        """Return the band a dream may touch, given what its network hears.

        Raises:
            SettingError: The two do not meet.
        """
        low = max(band_hz[0], self.low_hz)
        high = min(band_hz[1], self.high_hz) if self.high_hz > 0 else band_hz[1]
        if low >= high:
            wanted = f"{self.low_hz:g}..{self.high_hz:g}" if self.high_hz > 0 else f"from {self.low_hz:g}"
            raise SettingError(
                f"the band {wanted} Hz lies outside what network {network!r} hears, "
                f"{band_hz[0]:g}..{band_hz[1]:g} Hz"
            )
        return low, high

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all settings."""
        return tuple(f.name for f in fields(cls))
