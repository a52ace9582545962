"""Dream by turning the sound's own spectrum up and down: phase stays coherent, silence stays silent.

The sound's complex short-time spectrum ``X`` is kept; what is optimised is a log-gain ``u`` on it::

    M = exp(B tanh(u / B)),  B = 24 dB
    e = sqrt(sum_f k |X|^2 / sum_f k |M X|^2)          in every frame: it stays as loud (k is K-weighting)
    y(u) = x + istft((e M - 1) X)
    u <- u + rate * step * 2 dB * clip(G / rms(G), +-3),  G = dJ(y(u)) / du
    rate <- rate * exp(0.7 (cos(G, steps before) - 0.3))     in every frame, 0.1 to 3

So a frame whose direction stays goes fast, and one that is thrown about settles.

``X`` is the spectrum of the sound and of a noise far below that follows it: of that only what the gains add
is heard, so that a dream finds partials where a pure tone has none.

Outside the dream's band the gain is exactly one; where ``u`` is zero the output is the input.

With octaves there are several masks, from long frames (tones) to short ones (attacks), which take turns; what
each changes is added to the same sound.

The steps themselves, beside what they act on, are those of `ascent`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dream_core.dsp.stft import stft
from dream_core.settings import NO_EXCITATION_DB, DreamSettings
from dream_core.updates.ascent import (
    STEADY_S,
    aim,
    guard_state,
    guarded,
    hear,
    optimise,
    optimiser_state,
    swing,
)
from dream_core.updates.conditioning import condition, onset_strength
from dream_core.updates.contract import State, Window
from dream_core.updates.envelope_guard import excitation
from dream_core.updates.mask_gains import Gains

__all__ = ["Mask"]

NEPERS_PER_STEP = 2.0 * math.log(10.0) / 20.0
"""A unit step moves the typical bin by 2 dB."""

MOST_DRIFT_DB = 24.0
"""How far thirds of an octave move where their balance is not held."""

_WAVEFORMS = ("change", "held")


@dataclass(frozen=True, slots=True)
class _Octave:
    """One of the masks: its transform, and its part of the state."""

    index: int
    n_fft: int
    hop_samples: int

    def pick(self, state: State) -> State:
        """Return this octave's part of a state, its fields with their frames last."""
        index = str(self.index)
        own = {key.removesuffix(index): value for key, value in state.items() if key.endswith(index)}
        return {name: value if name in _WAVEFORMS else value.mT for name, value in own.items()}

    def put(self, own: State) -> State:
        """Undo :meth:`pick`: fields wait with their frames first, as transforms lay them out."""
        waiting = {name: value if name in _WAVEFORMS else value.mT for name, value in own.items()}
        return {f"{name}{self.index}": value for name, value in waiting.items()}


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
        excited = context
        if settings.excitation_db > NO_EXCITATION_DB:
            excited = context + excitation(context, settings.excitation_db, settings.seed, sample_rate)
        for index in range(settings.octaves):
            octave = _octave(index, settings, sample_rate)
            spectrum = stft(excited, octave.n_fft, octave.hop_samples)
            flat, row = torch.zeros_like(spectrum[:, 0].real), torch.zeros_like(spectrum[:, 0, :1].real)
            own = {"spectrum": spectrum, "u": flat, "lost": row, "change": torch.zeros_like(context)}
            if settings.balance > 0:
                own["lost"] = flat
            own |= guard_state(settings, context) | optimiser_state(settings, flat, row)
            state |= octave.put(own)
        return state

    def step(self, window: Window, state: State) -> tuple[Tensor, State, Tensor]:
        """Take one step."""
        settings = window.settings
        octave = _octave(window.step_index % settings.octaves, settings, window.sample_rate)
        own = octave.pick(state)
        others = torch.zeros_like(window.context)
        for index in range(settings.octaves):
            if index != octave.index:
                others = others + state[f"change{index}"]
        around = window.context + others
        gains = Gains.for_window(window, own["spectrum"], octave.n_fft, octave.hop_samples)
        u = own["u"]
        gradient = gains.backward(hear(window, around + own["change"], own), u, own["lost"])
        direction = condition(aim(gradient, window, octave.hop_samples), u, settings)
        move = optimise(direction, own, settings, octave.hop_samples / window.sample_rate)
        if settings.protect_transients > 0:
            # Every frame that overlaps an onset holds back, not only the one it falls into.
            reach = settings.hop_divisor // 2
            onset = nn.functional.max_pool1d(onset_strength(gains.spectrum), 2 * reach + 1, 1, padding=reach)
            move = move * (1.0 - settings.protect_transients * onset)
        step = swing(window, octave.hop_samples, u.shape[-1])
        own["u"] = u + step * NEPERS_PER_STEP * move
        self._sound(own, gains, others, window)
        return window.crop(around + own["change"]), state | octave.put(own), gradient

    @staticmethod
    def _sound(own: State, gains: Gains, others: Tensor, window: Window) -> None:
        """Work out what the log-gains change now."""
        settings = window.settings
        log_gain = gains.log_gain(own["u"])
        if settings.energy:
            own["lost"] = gains.overlap_loss(log_gain, others)
        if settings.balance > 0:
            most_nepers = MOST_DRIFT_DB ** (1.0 - settings.balance) * math.log(10.0) / 20.0
            sigma_frames = STEADY_S * window.sample_rate / gains.hop_samples
            lost = own["lost"] if settings.energy else 0.0
            correction = gains.balance_correction(log_gain + gains.weights * lost, most_nepers, sigma_frames)
            own["lost"] = lost + correction
        if settings.energy or settings.balance > 0:
            log_gain = log_gain + gains.weights * own["lost"]
        own["change"] = guarded(gains.change(log_gain), window, own)
