"""The published package dreamsound 0.1.6.3, mistakes and all, so that old work can be made again.

The canonical updates do what its papers say. This one does what its code does: the inverse transform is not
normalised (six times too loud), the complex product swaps real and imaginary parts (which turns every frame
around and moves it into the half that is cut off, some 140 dB down), thresholds are absolute, and unflipped
calls filter the gradient instead of the sound.

Conventions: float64, mono ``(..., samples)``; output types and the flip are the package's:

====  =====================================================================================
type  what it does
====  =====================================================================================
0     adds the gradient; flipped it changes nothing
1     multiplies both compressed spectra; flipped with their roles exchanged
2     adds the gradient where the sound is loud; flipped the sound where the gradient is; with a target
      the sound where the target is, added to the gradient; flipped the gradient, added to the sound
3     the gradient alone; with a target adds the target and what its own gradient lets through
====  =====================================================================================

Source:
    dreamsound 0.1.6.3, module ``dreamsound``; restated from its formulas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dream_core.dsp.framing import cut_frames, overlap_add
from dream_core.errors import SettingError
from dream_core.runtime import widest_float
from dream_core.settings import DreamSettings
from dream_core.updates.contract import State, Window, waveform_gradient

__all__ = ["Legacy", "LegacySettings", "legacy_step", "spectrum_of", "unnormalised_inverse"]

PUBLISHED_NETWORK = "yamnet_22050"
PUBLISHED_RATE = 22050
PUBLISHED_SETTINGS: Mapping[str, object] = {
    "objective": "probability:auto",
    "window_s": 60.0,
    "jitter": False,
    "patch_hop": 0,
    "varispeed_octaves": 0.0,
}
"""What the package does: it hears a sound whole, on one grid, and ascends the class that is heard most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacySettings:
    """The package's own settings, with the defaults of its code.

    Args:
        output_type: 0..3.
        flip: Exchange the roles of sound and gradient.
        step_size: Its eta.
        threshold: Absolute for type 1, relative to the loudest bin otherwise.
        power: Exponent that compresses magnitudes.
        n_fft: Length of the transform.
        window_samples: Length of a frame.
        hop_samples: From one frame to the next.
    """

    output_type: int = 0
    flip: bool = False
    step_size: float = 0.2
    threshold: float = 0.5
    power: float = 1.0 / 8.0
    n_fft: int = 4096
    window_samples: int = 2048
    hop_samples: int = 128

    def __post_init__(self) -> None:
        if self.output_type not in (0, 1, 2, 3):
            raise SettingError(f"output_type = {self.output_type}; 0, 1, 2 or 3 is accepted")


def legacy_step(
    sound: Tensor,
    gradient: Tensor,
    settings: LegacySettings,
    target: Tensor | None = None,
    target_gradient: Tensor | None = None,
) -> Tensor:
    """Take one step as the package does.

    Args:
        sound: Mono.
        gradient: Of the loss with respect to it, divided by its standard deviation.
        settings: The package's settings.
        target: Another sound of the same length.
        target_gradient: The same gradient at the target, for type 3.

    Shape:
        ``(..., samples)`` -> the same, or for types 1, 2 and with a target down to a whole number of frames.
    """
    eta, kind, flip = settings.step_size, settings.output_type, settings.flip
    if kind == 0:
        return sound if flip else sound + eta * gradient
    if kind == 1:
        first, second = (gradient, sound) if flip else (sound, gradient)
        return _combine_1(first, second, settings)
    if kind == 2 and target is None:
        first, second = (sound, gradient) if flip else (gradient, sound)
        return _combine_2(first, second, settings)
    if kind == 2:
        assert target is not None
        first, second = (gradient, sound) if flip else (sound, gradient)
        return _combine_3(first, second, target, settings)
    if target is None:
        return gradient
    assert target_gradient is not None
    first, second = (target, gradient) if flip else (gradient, target)
    drawn = _combine_3(first, second, target_gradient, settings)
    return sound[..., : drawn.shape[-1]] + eta * drawn


def spectrum_of(sound: Tensor, settings: LegacySettings) -> Tensor:
    """Return the spectra of a sound's whole frames, ``(..., frames, bins)``; the tail is dropped."""
    frames = cut_frames(sound, settings.window_samples, settings.hop_samples)
    window = torch.hann_window(settings.window_samples, dtype=sound.dtype, device=sound.device)
    spectrum: Tensor = torch.fft.rfft(frames * window, n=settings.n_fft)
    return spectrum


def unnormalised_inverse(spectrum: Tensor, settings: LegacySettings) -> Tensor:
    """Return the sound of spectra as the package adds frames up: six times too loud."""
    frames = torch.fft.irfft(spectrum, n=settings.n_fft)[..., : settings.window_samples]
    window = torch.hann_window(settings.window_samples, dtype=frames.dtype, device=frames.device)
    n_samples = (frames.shape[-2] - 1) * settings.hop_samples + settings.window_samples
    return overlap_add(frames * window, settings.hop_samples, n_samples)


def _swapped(phase_of: Tensor, magnitude: Tensor) -> Tensor:
    """Multiply as the package does: with real and imaginary parts of the phase exchanged."""
    angle = phase_of.angle()
    return torch.complex(torch.sin(angle) * magnitude, torch.cos(angle) * magnitude)


def _hard(magnitude: Tensor, threshold: float) -> Tensor:
    loudest = magnitude.amax(dim=(-2, -1), keepdim=True)
    return (torch.sign(magnitude / loudest - threshold) + 1.0) / 2.0


def _combine_1(x: Tensor, y: Tensor, settings: LegacySettings) -> Tensor:
    of_x, of_y = spectrum_of(x, settings), spectrum_of(y, settings)
    compressed = of_y.abs() ** settings.power
    passed = compressed * (1.0 + torch.sign(compressed - settings.threshold)) / 2.0 * settings.step_size
    return unnormalised_inverse(_swapped(of_x, of_x.abs() ** settings.power * passed), settings)


def _combine_2(x: Tensor, y: Tensor, settings: LegacySettings) -> Tensor:
    of_x, of_y = spectrum_of(x, settings), spectrum_of(y, settings)
    mask = _hard(of_y.abs(), settings.threshold)
    result = unnormalised_inverse(_swapped(of_x, mask * of_x.abs() ** settings.power), settings)
    return settings.step_size * result + y[..., : result.shape[-1]]


def _combine_3(x: Tensor, y: Tensor, target: Tensor, settings: LegacySettings) -> Tensor:
    of_x, of_target = spectrum_of(x, settings), spectrum_of(target, settings)
    mask = _hard(of_target.abs() ** settings.power, settings.threshold)
    result = unnormalised_inverse(_swapped(of_target, mask * of_x.abs()), settings)
    return settings.step_size * result + y[..., : result.shape[-1]]


class Legacy:
    """The package's step in a window of sound; what its transform cuts off at the end stays as it was.

    Its gradient is the package's own where network, objective and settings are: see `deviations`.

    Args:
        output_type: 0..3.
        flip: Exchange the roles of sound and gradient.
        needs_target: Use a target, for types 2 and 3.
    """

    def __init__(self, output_type: int, *, flip: bool = False, needs_target: bool = False) -> None:
        self.needs_target = needs_target
        self._output_type, self._flip = output_type, flip

    def begin(self, context: Tensor, settings: DreamSettings, sample_rate: int) -> State:
        """Return no state.

        Raises:
            SettingError: The device has no float64.
        """
        del settings, sample_rate
        if widest_float(context.device) != torch.float64:
            raise SettingError(f"legacy updates need float64, which {context.device} lacks; use the cpu")
        return {}

    @staticmethod
    def check(settings: DreamSettings, *, is_moving: bool = False) -> None:
        """Refuse what the package does not have.

        Raises:
            SettingError: A band, or a setting that moves, was asked for.
        """
        if settings.low_hz > 0 or settings.high_hz > 0 or is_moving:
            raise SettingError(
                "the legacy updates reproduce a package that has no band and no step that moves; leave "
                "low_hz and high_hz at 0, do not automate step, low_hz or high_hz, or use another update"
            )

    def deviations(
        self, settings: DreamSettings, objective: str, network: str, sample_rate: int
    ) -> tuple[str, ...]:
        """Return what of a dream is not as the package has it, a phrase each.

        Args:
            settings: The dream's.
            objective: Its text.
            network: The name of the network that listens.
            sample_rate: Hz, of the sound.
        """
        here = {name: getattr(settings, name) for name in PUBLISHED_SETTINGS} | {"objective": objective}
        found = [] if network == PUBLISHED_NETWORK else [f"network = {PUBLISHED_NETWORK} (here {network})"]
        for name, published in PUBLISHED_SETTINGS.items():
            if here[name] != published:
                found.append(f"{name} = {_as_written(published)} (here {_as_written(here[name])})")
        if sample_rate != PUBLISHED_RATE:
            found.append(f"sound at {PUBLISHED_RATE} Hz (here {sample_rate})")
        return tuple(found)

    def step(self, window: Window, state: State) -> tuple[Tensor, State, Tensor]:
        """Take one step; `step` scales the package's own step size.

        Raises:
            SettingError: A band or a moving step was asked for, which the package does not have.
        """
        self.check(window.settings, is_moving=window.is_moving)
        gradient = waveform_gradient(window.current, window.score)
        if self._transforms and window.current.shape[-1] < LegacySettings().window_samples:
            # Too short for one of its frames: its transform would give nothing at all.
            return window.current, state, gradient
        stepped = self._stepped(window, _standardised(gradient, window.n_valid)).to(window.current.dtype)
        rest = window.current[..., stepped.shape[-1] :]
        return torch.cat([stepped, rest], dim=-1), state, gradient

    @property
    def _transforms(self) -> bool:
        return self._output_type > 0

    def _stepped(self, window: Window, gradient: Tensor) -> Tensor:
        step_size = 0.2 * window.settings.step
        settings = LegacySettings(output_type=self._output_type, flip=self._flip, step_size=step_size)
        target, of_target = window.target, None
        if target is not None and self._output_type == 3:
            of_target = _standardised(waveform_gradient(target, window.score), window.n_valid)
        return legacy_step(
            window.current.double(),
            gradient,
            settings,
            None if target is None else target.double(),
            of_target,
        )


def _as_written(value: object) -> str:
    """Return a setting as presets write it."""
    return str(value).lower() if isinstance(value, bool) else str(value).removesuffix(".0")


def _standardised(gradient: Tensor, n_valid: Tensor) -> Tensor:
    """Divide by the population's deviation, over what is sound and not padding; the mean stays."""
    precise = gradient.double()
    is_sound = torch.arange(gradient.shape[-1], device=gradient.device) < n_valid
    count = n_valid * gradient.shape[1]
    mean = (precise * is_sound).sum(dim=(1, 2), keepdim=True) / count
    variance = ((precise - mean).square() * is_sound).sum(dim=(1, 2), keepdim=True) / count
    return precise / (torch.sqrt(variance) + 1e-8)
