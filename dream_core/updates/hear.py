"""Hear the layer itself: of the sound, what a network answers to is played, and nothing else.

Where in time and frequency the network answers to the objective (:mod:`dream_core.objectives.answers`) is
laid over the sound's own spectrum as a gain::

    M = ((a - min a) / (max a - min a)) ** sharpness,    A(x) = istft(M X)

One forward pass a step, and no ascent; a step cross-fades from the sound to what is heard of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dream_core.dsp.stft import bin_frequencies_hz, istft, stft
from dream_core.errors import SettingError
from dream_core.networks.card import NetworkCard
from dream_core.objectives.answers import Answer
from dream_core.objectives.look import Look
from dream_core.objectives.parse import parse_objective
from dream_core.settings import DreamSettings
from dream_core.updates.contract import State, Window
from dream_core.updates.network_grid import along, band_positions
from dream_core.updates.steps import cross_fade

__all__ = ["Hear"]


class Hear:
    """Play what a network answers to, or what it does not.

    Args:
        is_inverted: Plays the rest, with the gain ``1 - M``.
    """

    needs_target = False

    def __init__(self, *, is_inverted: bool = False) -> None:
        self._is_inverted = is_inverted

    @staticmethod
    def check_networks(cards: Sequence[NetworkCard], settings: DreamSettings) -> None:
        """Raise where there is no one answer to play.

        Raises:
            SettingError: Several networks listen, or the objective or the settings ask for more than they
                hear in the sound as it is.
        """
        if len(cards) > 1:
            names = " and ".join(card.name for card in cards)
            raise SettingError(
                f"update 'hear' plays what one network answers to; the objective asks {names}. Name terms of "
                "one network; several nodes play several answers"
            )
        objective = parse_objective(settings.objective)
        if objective.compares_moments:
            raise SettingError(
                f"update 'hear' plays what a network answers to in the sound itself; {objective.text!r} "
                "compares it with another at the same moment. Name a layer, channel or class, or use update "
                "'mask'"
            )
        if settings.varispeed_octaves:
            raise SettingError(
                "update 'hear' plays what is heard at the sound's own speed; varispeed_octaves = "
                f"{settings.varispeed_octaves:g}, 0 is accepted"
            )

    def begin(self, context: Tensor, settings: DreamSettings, sample_rate: int) -> State:
        """Return no state."""
        del context, settings, sample_rate
        return {}

    def step(self, window: Window, state: State) -> tuple[Tensor, State, Tensor]:
        """Take one step."""
        look = window.look
        assert look is not None  # `check_networks` has seen to that
        n_fft, hop = window.n_fft, window.hop_samples
        spectrum = stft(window.current, n_fft, hop)
        sound = window.surrounded(window.current) if window.settings.context else window.current
        n_around = window.margin if window.settings.context else 0
        before_s = n_around / window.sample_rate
        answers = look.answers(sound.mean(dim=1), n_around)
        times_s = torch.arange(spectrum.shape[-1], dtype=torch.float64) * hop / window.sample_rate + before_s
        answer = _over_time(answers, times_s)
        # Silence that fills up a last window is no part of the sound: it has no say in what is least.
        n_sound = torch.arange(spectrum.shape[-1], device=spectrum.device) * hop
        gain = _unit(answer, n_sound < window.n_valid).pow(window.settings.sharpness)
        if self._is_inverted:
            gain = 1.0 - gain
        gain = _over_bins(gain, look, bin_frequencies_hz(n_fft, window.sample_rate, torch.device("cpu")))
        weights = window.band_weights(n_fft, hop, spectrum.shape[-1])
        heard = istft((gain * weights)[:, None] * spectrum, n_fft, hop, window.current.shape[-1])
        return cross_fade(window, heard), state, gain


def _over_time(answers: Sequence[Answer], times_s: Tensor) -> Tensor:
    """Return patches' answers at instants, ``(items, bands, times)``; where patches overlap, their mean.

    A patch counts less towards its ends, where a network sees half of what surrounds a place.
    """
    first = answers[0].values
    total = first.new_zeros(len(first), first.shape[2], len(times_s))
    weight = torch.full_like(times_s, 1e-9)
    for answer in answers:
        place = (times_s - answer.start_s) / answer.duration_s
        n_times = answer.values.shape[1]
        count = torch.clamp(torch.minimum(place, 1.0 - place), min=0.0)
        values = along(answer.values.mT, place * n_times - 0.5, dim=-1)
        total = total + values * count.to(values)
        weight = weight + count
    return _filled(total / weight.to(total), weight > 1e-6)


def _filled(values: Tensor, is_known: Tensor) -> Tensor:
    """Let what is known first and last hold beyond the patches' ends."""
    known = torch.nonzero(is_known).flatten()
    if not len(known) or len(known) == len(is_known):
        return values
    places = torch.arange(len(is_known)).clamp(int(known[0]), int(known[-1]))
    return values[..., places.to(values.device)]


def _unit(answer: Tensor, is_sound: Tensor) -> Tensor:
    """Return an answer from 0, where it is least, to 1 in each item; 0 everywhere where it is the same.

    Args:
        answer: ``(items, bands, times)``.
        is_sound: Which times count, ``(items, 1, times)``; others are held to 0..1.
    """
    low = torch.where(is_sound, answer, torch.inf).amin(dim=(1, 2), keepdim=True)
    high = torch.where(is_sound, answer, -torch.inf).amax(dim=(1, 2), keepdim=True)
    answer = torch.minimum(torch.maximum(answer, low), high)
    span = high - low
    is_flat = span == 0  # so that what is not a number stays none, and is told
    return torch.where(is_flat, 0.0, (answer - low) / torch.where(is_flat, 1.0, span))


def _over_bins(gain: Tensor, look: Look, frequencies_hz: Tensor) -> Tensor:
    """Return gains of a network's bands at frequencies, ``(items, bins, times)``."""
    n_bands = gain.shape[1]
    if n_bands == 1 or look.ear.mel_hearing is None:
        return nn.functional.interpolate(gain.mean(dim=1, keepdim=True).mT, size=len(frequencies_hz)).mT
    return along(gain, band_positions(look.spec, frequencies_hz, n_bands), dim=1)
