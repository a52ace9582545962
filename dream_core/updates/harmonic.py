"""Dream in partials of the sound's pitch and in bands of noise: what is dreamed stays in tune.

The sound is heard as partials of its pitch under its own envelope and a rest (see `partials`). What is
optimised is a log-gain ``u`` on the level of each of 32 partials and of 16 bands of noise, at knots 60 ms
apart::

    b = B tanh(u / B),  B = 36 dB
    g = (1 - mix + exp(b)) / (2 - mix)                 partials; a band of noise has exp(b)
    e = l sqrt(sum k P / sum k |g|^2 P)                at every knot: it stays as loud (k is K-weighting)
    y(u) = x + sum over partials and bands of (e g - 1) part
    u <- u + rate * step * 3 dB * clip(G / rms(G), +-3),  G = dJ(y(u)) / du

with the steps of `ascent`, a rate for each knot; ``l`` makes up for what is heard to be lost. Where the sound
lacks a partial, one far below it waits to be turned up; the noise is the sound's rest and, far
below, a pink one. Of these only what the gains add is heard: where ``u`` is zero the output is the input.

Source:
    Engel, Hantrakul, Gu and Roberts 2020, "DDSP: Differentiable Digital Signal Processing".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from dream_core.dsp.stft import k_weighting, soft_band, stft
from dream_core.settings import NO_EXCITATION_DB, DreamSettings
from dream_core.updates.ascent import (
    aim,
    guard_state,
    guarded,
    hear,
    optimise,
    optimiser_state,
    swing,
)
from dream_core.updates.conditioning import condition, gaussian_smooth, onset_strength
from dream_core.updates.contract import State, Window
from dream_core.updates.envelope_guard import excitation
from dream_core.updates.noise_bands import N_BANDS, NoiseBands
from dream_core.updates.partials import (
    POINTS_PER_KNOT,
    Grid,
    Pitch,
    follow_envelope,
    hear_partials,
    pull_back,
    sound_partials,
)

__all__ = ["N_PARTIALS", "Harmonic"]

N_PARTIALS = 32

GAIN_BOUND = 36.0 * math.log(10.0) / 20.0
"""B: the largest gain either way."""

NEPERS_PER_STEP = 3.0 * math.log(10.0) / 20.0
"""A unit step moves the typical level by 3 dB."""

MOST_LOST = 12.0 * math.log(10.0) / 20.0
"""The most that is made up for what parts do to each other: where a pitch is misheard they are not apart."""

SMOOTH_KNOTS = 2.0
"""Levels move together over 120 ms (standard deviation): they swell, they do not flutter."""

FREEDOM = 12.0 * math.log(10.0) / 20.0
"""How far levels may leave the sound's envelope where energy need not be kept."""

SMALLEST = 1e-12
SILENT = 1e-5
"""Below this level (-100 dBFS) the envelope ends: what is divided by it stays small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What a window is made of, and how log-gains on it sound.

    Args:
        grid: When.
        pitch: Whose partials.
        opening: The envelope where there is a pitch, ``(items, 1, samples)``.
        amplitudes: Of the partials, ``(items, rows, partials, points)``.
        weights: How much of each partial may be touched, ``(items, partials, points)``.
        noise: The rest, in bands.
        loudness: What each part counts at each knot, ``(items, partials + bands, knots)``.
        mix: How much of the sound's own partials gives way.
        keeps_energy: Whether each knot stays as loud as it was.
    """

    grid: Grid
    pitch: Pitch
    opening: Tensor
    amplitudes: Tensor
    weights: Tensor
    noise: NoiseBands
    loudness: Tensor
    mix: float
    keeps_energy: bool

    @classmethod
    def of(cls, window: Window, own: State, pitch: Pitch, grid: Grid) -> _Parts:
        """Return the parts of a window, of what its state keeps."""
        weights = _partial_weights(window, pitch, grid)
        noise = NoiseBands.for_window(window, own["noise"], grid)
        return cls(
            grid=grid,
            pitch=pitch,
            opening=own["opening"],
            amplitudes=own["amplitudes"],
            weights=weights,
            noise=noise,
            loudness=own["loudness"],
            mix=window.settings.harmonic_mix,
            keeps_energy=window.settings.energy,
        )

    def log_gains(self, u: Tensor, lost: Tensor) -> Tensor:
        """Return the log-gains that ``u`` stands for, ``(items, partials + bands, knots)``.

        Args:
            u: Unbounded, in the same shape.
            lost: What is made up for at each knot, from :meth:`loss`.
        """
        bounded = GAIN_BOUND * torch.tanh(u / GAIN_BOUND)
        partials, bands = bounded.split([N_PARTIALS, N_BANDS], 1)
        mixed = torch.log((1.0 - self.mix + torch.exp(partials)) / (2.0 - self.mix))
        wanted = torch.cat([mixed, bands], 1)
        before = self.loudness.sum(dim=1, keepdim=True) + SMALLEST
        after = (self.loudness * torch.exp(2.0 * wanted)).sum(dim=1, keepdim=True) + SMALLEST
        rise = 0.5 * torch.log(after / before)
        if not self.keeps_energy:
            return wanted - (rise - torch.clamp(rise, -FREEDOM, FREEDOM))
        return wanted - rise + lost

    def loss(self, own: State, sound: Tensor) -> Tensor:
        """Return what each knot has lost against the undreamed sound, beside what is made up for already."""
        after = self.noise.loudness_of(sound)
        missing = 0.5 * torch.log((own["before"] + SMALLEST) / (after + SMALLEST))
        return torch.clamp(own["lost"] + missing, -MOST_LOST, MOST_LOST)

    def change(self, log_gains: Tensor) -> Tensor:
        """Return what log-gains change in the sound, ``(items, rows, samples)``."""
        partials, bands = log_gains.split([N_PARTIALS, N_BANDS], 1)
        shift = torch.expm1(self._at_points(partials))[:, None] * self.amplitudes
        return self.opening * sound_partials(shift, self.pitch, self.grid) + self.noise.change(bands)

    def backward(self, gradient: Tensor, log_gains: Tensor) -> Tensor:
        """Return the gradient with respect to log-gains, given the one with respect to their change."""
        partials, bands = log_gains.split([N_PARTIALS, N_BANDS], 1)
        of_amplitudes = pull_back(gradient * self.opening, self.pitch, N_PARTIALS, self.grid)
        own = self.amplitudes
        aligned = (of_amplitudes.real * own.real + of_amplitudes.imag * own.imag).sum(dim=1)
        pulled = self.weights * aligned * torch.exp(self._at_points(partials))
        return torch.cat([pulled @ self._from_knots().mT, self.noise.backward(gradient, bands)], 1)

    def _at_points(self, log_gains: Tensor) -> Tensor:
        return self.weights * (log_gains @ self._from_knots())

    def _from_knots(self) -> Tensor:
        return self.grid.from_knots(self.grid.points(self.weights.device).to(self.weights))


class Harmonic:
    """Ascend on the levels of a pitch's partials and of bands of noise; `u` is a log-gain on each."""

    needs_target = False
    needs_pitch = True

    def begin(self, context: Tensor, settings: DreamSettings, sample_rate: int) -> State:
        """Return no state: the first step makes it, which knows the pitch."""
        del context, settings, sample_rate
        return {}

    def step(self, window: Window, state: State) -> tuple[Tensor, State, Tensor]:
        """Take one step."""
        settings = window.settings
        grid, pitch = Grid.of(window.context.shape[-1], window.sample_rate), _pitch_of(window)
        own = dict(state) if state else _begin(window, pitch, grid)
        parts = _Parts.of(window, own, pitch, grid)
        # What is scored is the rows' mean: its gradient is the same in all of them.
        heard = hear(window, window.context + own["change"], own)[:, :1]
        with torch.enable_grad():
            leaf = own["u"].detach().requires_grad_(True)
            log_gains = parts.log_gains(leaf, own["lost"])
            pulled = parts.backward(heard, log_gains.detach())
            (gradient,) = torch.autograd.grad(log_gains, leaf, pulled)
        knot_samples = grid.hop_samples * POINTS_PER_KNOT
        smooth = aim(gaussian_smooth(gradient, 0.0, SMOOTH_KNOTS), window, knot_samples)
        # Levels are smooth already; frames and bins are the mask's.
        plain = replace(settings, smooth_frames=0.0, smooth_bins=0.0)
        knot_s = grid.hop_samples * POINTS_PER_KNOT / window.sample_rate
        move = optimise(condition(smooth, own["u"], plain), own, settings, knot_s)
        if settings.protect_transients > 0:
            move = move * (1.0 - settings.protect_transients * _onsets(window, grid))
        step = swing(window, knot_samples, grid.n_knots)
        own["u"] = own["u"] + step * NEPERS_PER_STEP * move
        self._sound(own, parts, window)
        return window.crop(window.context + own["change"]), own, gradient

    def _sound(self, own: State, parts: _Parts, window: Window) -> None:
        """Work out what the log-gains change now, and make up for what is then heard to be lost."""
        self._change(own, parts, window)
        if window.settings.energy:
            own["lost"] = parts.loss(own, window.context + own["change"])
            self._change(own, parts, window)

    @staticmethod
    def _change(own: State, parts: _Parts, window: Window) -> None:
        own["change"] = guarded(parts.change(parts.log_gains(own["u"], own["lost"])), window, own)


def _pitch_of(window: Window) -> Pitch:
    f0_hz, cycles = (window.lanes.get(name) for name in ("f0_hz", "f0_cycles"))
    if isinstance(f0_hz, Tensor) and isinstance(cycles, Tensor):
        return Pitch.through(f0_hz, cycles, window.sample_rate)
    none = torch.zeros_like(window.context[:, :1])
    return Pitch(f0_hz=none, cycles=none, sample_rate=window.sample_rate)


def _begin(window: Window, pitch: Pitch, grid: Grid) -> State:
    """Hear what the sound is made of; levels begin with its own."""
    settings, sound = window.settings, window.context
    envelope = follow_envelope(sound, window.sample_rate)
    opening = envelope * pitch.voicing()
    flat = sound / torch.clamp(envelope, min=SILENT)
    heard = hear_partials(flat, pitch, N_PARTIALS, grid)
    rest = sound - opening * sound_partials(heard, pitch, grid)
    level = 0.0
    if settings.excitation_db > NO_EXCITATION_DB:
        level = 10.0 ** (settings.excitation_db / 20.0)
        rest = rest + excitation(sound, settings.excitation_db, settings.seed, window.sample_rate)
    u = torch.zeros(len(sound), N_PARTIALS + N_BANDS, grid.n_knots).to(sound)
    own = {
        "opening": opening,
        "amplitudes": _filled(heard, level),
        "noise": stft(rest, window.n_fft, window.hop_samples),
        "u": u,
        "change": torch.zeros_like(sound),
    }
    noise = NoiseBands.for_window(window, own["noise"], grid)
    own["loudness"] = torch.cat([_partial_loudness(own, window, pitch, grid), noise.loudness()], 1)
    own |= {"lost": torch.zeros_like(u[:, :1]), "before": noise.loudness_of(sound)}
    return own | guard_state(settings, sound) | optimiser_state(settings, u, u[:, :1])


def _partial_loudness(own: State, window: Window, pitch: Pitch, grid: Grid) -> Tensor:
    """Return the K-weighted power of each partial around each knot, summed over rows."""
    weights = _partial_weights(window, pitch, grid)
    points = grid.points(weights.device)
    opening = own["opening"][:, :, torch.clamp(points, max=grid.n_samples - 1)]
    power = 0.5 * own["amplitudes"].abs().square().sum(dim=1) * opening.square()
    counts = weights * k_weighting(_partial_frequencies(pitch, grid)).to(weights)
    from_knots = grid.from_knots(points.to(weights))
    near = from_knots / from_knots.sum(dim=1, keepdim=True).clamp(min=1e-6)
    return (counts * power) @ near.mT


def _filled(amplitudes: Tensor, level: float) -> Tensor:
    """Let a faint partial wait where the sound has none; where it has one its phase is kept.

    Phases go with the square of the partial's number, so that partials do not all peak at once. (Schroeder
    1970, "Synthesis of low-peak-factor signals".)
    """
    if level == 0.0:
        return amplitudes
    k = torch.arange(amplitudes.shape[2], device=amplitudes.device, dtype=amplitudes.real.dtype)
    faint = torch.polar(torch.full_like(k, level), -math.pi * k * (k + 1.0) / len(k))[:, None]
    # One row's partial is all rows' partial; a row without it has none.
    size = amplitudes.abs().square().sum(dim=1, keepdim=True).sqrt()
    has = torch.clamp((size / level - 0.25) / 0.75, 0.0, 1.0)
    has = has * has * (3.0 - 2.0 * has)
    return has * amplitudes + (1.0 - has) * faint


def _partial_frequencies(pitch: Pitch, grid: Grid) -> Tensor:
    numbers = torch.arange(1, N_PARTIALS + 1, device=pitch.f0_hz.device).to(pitch.f0_hz)
    return numbers[:, None] * pitch.at(grid)[:, None]


def _partial_weights(window: Window, pitch: Pitch, grid: Grid) -> Tensor:
    """Return how much of each partial lies in the band; none does where there is no pitch."""
    low, high = (
        window.lane_at_frames(edge, grid.hop_samples, grid.n_points, window.margin)
        for edge in ("low_hz", "high_hz")
    )
    high = torch.clamp(torch.as_tensor(high), max=0.5 * window.sample_rate)
    return soft_band(_partial_frequencies(pitch, grid), low, high).to(window.context.dtype)


def _onsets(window: Window, grid: Grid) -> Tensor:
    """Return how much of each knot is new."""
    spectrum = stft(window.context, window.n_fft, window.hop_samples)
    onset = onset_strength(spectrum)
    return nn.functional.adaptive_max_pool1d(onset, grid.n_knots)
