"""Dream by turning the sound's own spectrum up and down: phase stays coherent, silence stays silent.

The sound's complex short-time spectrum ``X`` is kept; what is optimised is a log-gain ``u`` on it::

    M = exp(B tanh(u / B)),  B = 24 dB
    e = sqrt(sum_f k |X|^2 / sum_f k |M X|^2)          in every frame: it stays as loud (k is K-weighting)
    y(u) = x + istft((e M - 1) X)
    u <- u + rate * step * 2 dB * clip(G / rms(G), +-3),  G = dJ(y(u)) / du
    rate <- rate * exp(0.7 (cos(G, steps before) - 0.3))     in every frame, 0.1 to 3

So a frame whose direction stays goes fast, and one that is thrown about settles.

Outside the dream's band the gain is exactly one; where ``u`` is zero the output is the input.

With octaves there are several masks, from long frames (tones) to short ones (attacks), which take turns; what
each changes is added to the same sound.

Source:
    Baydin et al. 2018, "Online learning rate adaptation with hypergradient descent": the multiplicative rule,
    here for each frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dream_core.conditioning import clip_deviations, condition, envelope_guard, onset_strength
from dream_core.settings import DreamSettings
from dream_core.spectral import bin_frequencies_hz, istft, k_weighting, stft
from dream_core.updates import State, Window

__all__ = ["Mask"]

GAIN_BOUND = 24.0 * math.log(10.0) / 20.0
"""B: the largest gain either way, in nepers."""

NEPERS_PER_STEP = 2.0 * math.log(10.0) / 20.0
"""A unit step moves the typical bin by 2 dB."""

MOST_LOST = 3.0 * math.log(10.0) / 20.0
"""The most that is made up for what overlapping frames do to each other, in nepers."""

ADAM_BETAS = (0.9, 0.99)

GROWTH = 0.7
"""How fast a frame's steps grow while its direction stays, in nepers a step."""

KEPT = 0.3
"""From which agreement with the steps before on they grow; below it they shrink."""

RATES = (0.1, 3.0)
"""How small and how large they get."""


@dataclass(frozen=True, slots=True)
class _Octave:
    """One of the masks: its transform, and its names in the state."""

    index: int
    n_fft: int
    hop_samples: int

    def key(self, name: str) -> str:
        return f"{name}{self.index}"


def _octave(index: int, settings: DreamSettings, sample_rate: int) -> _Octave:
    """Return an octave of the mask; the first has the longest frames, the middle one the setting's own."""
    doublings = (settings.octaves - 1) // 2 - index if settings.octaves > 1 else 0
    n_fft = max(256, int(settings.n_fft_at(sample_rate) * 2.0**doublings))
    return _Octave(index, n_fft, n_fft // settings.hop_divisor)


class Mask:
    """Ascend on a bounded, energy-preserving log-gain of the sound's own spectrum."""

    needs_target = False

    def begin(self, context: Tensor, settings: DreamSettings, sample_rate: int) -> State:
        """Return flat gains and the sound's spectrum, for every octave."""
        state: State = {}
        for index in range(settings.octaves):
            octave = _octave(index, settings, sample_rate)
            spectrum = stft(context, octave.n_fft, octave.hop_samples)
            flat = torch.zeros(
                spectrum.shape[0], *spectrum.shape[2:], device=context.device, dtype=context.dtype
            )
            state |= {octave.key("spectrum"): spectrum, octave.key("u"): flat}
            state[octave.key("lost")] = torch.zeros_like(flat[:, :1])
            if settings.momentum > 0 or settings.optimiser != "plain":
                state[octave.key("velocity")] = flat.clone()
            if settings.optimiser == "adaptive":
                state[octave.key("rate")] = torch.ones_like(flat[:, :1])
            if settings.optimiser == "adam":
                state[octave.key("power")] = flat.clone()
                state[octave.key("taken")] = torch.zeros(len(flat), 1, 1, device=context.device)
            if settings.octaves > 1:
                state[octave.key("change")] = torch.zeros_like(context)
        return state

    def step(self, window: Window, state: State) -> tuple[Tensor, State, Tensor]:
        """Take one step."""
        settings = window.settings
        octave = _octave(window.step_index % settings.octaves, settings, window.sample_rate)
        spectrum = state[octave.key("spectrum")]
        around = window.context
        for index in range(settings.octaves):
            if settings.octaves > 1 and index != octave.index:
                around = around + state[f"change{index}"]
        base = window.crop(around)
        u = state[octave.key("u")]
        leaf = u.detach().requires_grad_(True)
        sound = base + window.crop(self.change(leaf, spectrum, window, octave, state[octave.key("lost")]))
        (gradient,) = torch.autograd.grad(window.score(sound.mean(dim=1)).sum(), leaf)
        after = dict(state)
        move = self._optimise(condition(gradient, u, settings), after, octave, settings)
        if settings.protect_transients > 0:
            # Every frame that overlaps an onset holds back, not only the one it falls into.
            reach = settings.hop_divisor // 2
            onset = nn.functional.max_pool1d(onset_strength(spectrum), 2 * reach + 1, 1, padding=reach)
            move = move * (1.0 - settings.protect_transients * onset)
        step = window.at_frames(window.step, octave.hop_samples, u.shape[-1], window.margin)
        after[octave.key("u")] = u + step * NEPERS_PER_STEP * move
        with torch.no_grad():
            lost = self._lost(after[octave.key("u")], spectrum, around, window, octave)
            after[octave.key("lost")] = lost
            change = self.change(after[octave.key("u")], spectrum, window, octave, lost)
        if settings.octaves > 1:
            after[octave.key("change")] = change
        return base + window.crop(change), after, gradient

    def change(self, u: Tensor, spectrum: Tensor, window: Window, octave: _Octave, lost: Tensor) -> Tensor:
        """Return what log-gains ``u`` change in the sound, margins and all.

        Args:
            u: The log-gain, in nepers.
            spectrum: The undreamed sound's.
            window: The window.
            octave: Which mask it is.
            lost: What is to be made up for in each frame, in nepers.
        """
        weights = self._weights(u, window, octave)
        log_gain = self._log_gain(u, spectrum, weights, window, octave) + weights * lost
        change = self._synthesise(log_gain, spectrum, window, octave)
        if not window.settings.guard:
            return change
        with torch.no_grad():
            scale = envelope_guard(window.context, change, window.sample_rate)
        return change * scale

    def _lost(self, u: Tensor, spectrum: Tensor, around: Tensor, window: Window, octave: _Octave) -> Tensor:
        """Return what each frame loses where overlapping frames, or octaves, do not agree.

        Shape:
            ``(items, 1, frames)``, in nepers.
        """
        if not window.settings.energy:
            return torch.zeros_like(u[:, :1])
        weights = self._weights(u, window, octave)
        log_gain = self._log_gain(u, spectrum, weights, window, octave)
        sound = around + self._synthesise(log_gain, spectrum, window, octave)
        loudness = self._loudness(weights, window, octave)
        heard = _power(stft(sound, octave.n_fft, octave.hop_samples), loudness)
        lost = 0.5 * torch.log((_power(spectrum, loudness) + 1e-12) / (heard + 1e-12))
        return torch.clamp(lost, -MOST_LOST, MOST_LOST)

    def _log_gain(
        self, u: Tensor, spectrum: Tensor, weights: Tensor, window: Window, octave: _Octave
    ) -> Tensor:
        """Return bounded gains that leave each frame as loud as it was; outside the band exactly one."""
        log_gain = weights * GAIN_BOUND * torch.tanh(u / GAIN_BOUND)
        if not window.settings.energy:
            return log_gain
        power = self._loudness(weights, window, octave) * _bin_power(spectrum)
        before = power.sum(dim=1, keepdim=True)
        after = (power * torch.exp(2.0 * log_gain)).sum(dim=1, keepdim=True)
        return log_gain + weights * 0.5 * torch.log((before + 1e-12) / (after + 1e-12))

    @staticmethod
    def _weights(u: Tensor, window: Window, octave: _Octave) -> Tensor:
        return window.band_weights(octave.n_fft, octave.hop_samples, u.shape[-1], window.margin)

    @staticmethod
    def _loudness(weights: Tensor, window: Window, octave: _Octave) -> Tensor:
        frequencies_hz = bin_frequencies_hz(octave.n_fft, window.sample_rate, weights.device)
        return weights * k_weighting(frequencies_hz).to(weights.dtype)[:, None]

    @staticmethod
    def _synthesise(log_gain: Tensor, spectrum: Tensor, window: Window, octave: _Octave) -> Tensor:
        shift = torch.expm1(log_gain)[:, None] * spectrum
        return istft(shift, octave.n_fft, octave.hop_samples, window.context.shape[-1])

    @staticmethod
    def _optimise(direction: Tensor, state: State, octave: _Octave, settings: DreamSettings) -> Tensor:
        if settings.optimiser == "adam":
            first, second = ADAM_BETAS
            n_taken = state[octave.key("taken")] + 1.0
            state[octave.key("taken")] = n_taken
            velocity = first * state[octave.key("velocity")] + (1.0 - first) * direction
            power = second * state[octave.key("power")] + (1.0 - second) * direction.square()
            state[octave.key("velocity")], state[octave.key("power")] = velocity, power
            scale = torch.sqrt(power / (1.0 - second**n_taken)) + 1e-3
            return clip_deviations(velocity / (1.0 - first**n_taken) / scale)
        if settings.momentum == 0 and settings.optimiser == "plain":
            return direction
        before = state[octave.key("velocity")]
        # Written so that a constant direction keeps its size: momentum smooths, it does not speed up.
        velocity = torch.lerp(direction, before, settings.momentum)
        state[octave.key("velocity")] = velocity
        if settings.optimiser == "plain":
            return velocity
        rate = state[octave.key("rate")]
        sizes = torch.linalg.vector_norm(direction, dim=1, keepdim=True)
        sizes = sizes * torch.linalg.vector_norm(before, dim=1, keepdim=True)
        agreement = (direction * before).sum(dim=1, keepdim=True) / torch.clamp(sizes, min=1e-12)
        grown = torch.clamp(rate * torch.exp(GROWTH * (agreement - KEPT)), *RATES)
        rate = state[octave.key("rate")] = torch.where(sizes > 0, grown, rate)
        return velocity * rate


def _bin_power(spectrum: Tensor) -> Tensor:
    return (spectrum.real.square() + spectrum.imag.square()).sum(dim=1)


def _power(spectrum: Tensor, loudness: Tensor) -> Tensor:
    return (loudness * _bin_power(spectrum)).sum(dim=1, keepdim=True)
