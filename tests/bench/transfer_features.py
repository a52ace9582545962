"""Hand-made features of a note, and the logistic regression that judges by them and by networks' layers.

Conventions: sounds are mono ``(samples,)`` at 44.1 kHz with a note that begins after a short silence;
its fundamental is known and is no feature itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.optimize
import scipy.signal
import scipy.special
from numpy.typing import NDArray
from transfer_measures import HOP, N_FFT, log_mel_db, power_frames
from transfer_notes import LEAD_S

__all__ = ["Probe", "describe", "fit_probe"]

Array = NDArray[np.float64]
_N_HARMONICS = 16
_N_CEPSTRA = 14
_SUSTAIN_S = (LEAD_S + 0.15, 1.5)
_ATTACK_S = (LEAD_S, LEAD_S + 0.07)
_STRENGTHS = (1e-2, 1e-1, 1.0, 10.0, 100.0)


def describe(sound: NDArray[np.floating], f0_hz: float, sample_rate: int) -> Array:
    """Return a note's features: harmonics, envelope of the spectrum, attack, decay, flux, vibrato, noise."""
    mel = log_mel_db([sound], sample_rate)[0]
    frames = power_frames(sound)
    frame_s = HOP / sample_rate
    begun, struck, first, last = (round(time_s / frame_s) for time_s in (*_ATTACK_S, *_SUSTAIN_S))
    sustain = mel[first:last]
    cepstra = scipy.fft.dct(sustain.mean(axis=0), norm="ortho")[1:_N_CEPSTRA]
    parts = [
        _harmonics(frames[first:last].mean(axis=0), f0_hz, sample_rate),
        cepstra,
        scipy.fft.dct(sustain.std(axis=0), norm="ortho")[:6],
        scipy.fft.dct(mel[begun:struck].mean(axis=0), norm="ortho")[1:8],
        _course(frames.sum(axis=1), frame_s),
        [np.abs(np.diff(sustain, axis=0)).mean()],
        _vibrato(sound, f0_hz, sample_rate),
    ]
    return np.concatenate([np.asarray(part, np.float64) for part in parts])


def _harmonics(power: Array, f0_hz: float, sample_rate: int) -> Array:
    """Return harmonics' levels relative to their sum, their slope an octave, and the level between them."""
    bin_hz = sample_rate / N_FFT
    numbers = np.arange(1, _N_HARMONICS + 1)
    widths = max(1.5 * bin_hz, 0.03 * f0_hz)
    frequencies = np.arange(len(power)) * bin_hz
    levels = np.full(_N_HARMONICS, -60.0)
    taken = np.zeros(len(power), bool)
    sums = np.zeros(_N_HARMONICS)
    for number in numbers:
        inside = np.abs(frequencies - number * f0_hz) <= widths
        sums[number - 1] = power[inside].sum()
        taken |= inside
    total = sums.sum() + 1e-20
    levels = np.maximum(10.0 * np.log10(sums / total + 1e-6), -60.0)
    slope = np.polyfit(np.log2(numbers), levels, 1)[0]
    heard = (frequencies > 0.5 * f0_hz) & (frequencies < (_N_HARMONICS + 0.5) * f0_hz)
    between = 10.0 * np.log10((power[heard & ~taken].sum() + 1e-20) / total + 1e-6)
    above = 10.0 * np.log10((power[frequencies > 5000.0].sum() + 1e-20) / (power.sum() + 1e-20) + 1e-6)
    return np.concatenate([levels, [slope, between, above]])


def _course(power: Array, frame_s: float) -> Array:
    """Return how fast the level rises and then falls: log attack time, dB a second, its modulation."""
    levels = 10.0 * np.log10(power / (power.max() + 1e-20) + 1e-6)
    risen = int(np.argmax(levels > -3.0))
    started = int(np.argmax(levels > -20.0))
    first, last = (round(time_s / frame_s) for time_s in _SUSTAIN_S)
    part = levels[first:last]
    slope, offset = np.polyfit(np.arange(len(part)) * frame_s, part, 1)
    rest = part - (offset + slope * np.arange(len(part)) * frame_s)
    return np.array([np.log((risen - started + 1) * frame_s), slope, rest.std()])


def _vibrato(sound: NDArray[np.floating], f0_hz: float, sample_rate: int) -> Array:
    """Return how far the fundamental moves in pitch and level, in semitones and dB."""
    times = np.arange(len(sound)) / sample_rate
    window = np.hanning(round(4.0 * sample_rate / f0_hz) | 1)
    shifted = np.asarray(sound, np.float64) * np.exp(-2j * np.pi * f0_hz * times)
    step = round(0.01 * sample_rate)
    low = scipy.signal.fftconvolve(shifted, window / window.sum(), mode="same")[::step]
    part = low[round(_SUSTAIN_S[0] * 100) : round(_SUSTAIN_S[1] * 100)]
    turns = np.angle(part[1:] * np.conj(part[:-1]) + 1e-30) * 100.0 / (2.0 * np.pi)
    semitones = 12.0 * np.log2(np.clip(1.0 + turns / f0_hz, 0.5, 2.0))
    levels = 20.0 * np.log10(np.abs(part) + 1e-6)
    middle = np.polyval(np.polyfit(np.arange(len(levels)), levels, 1), np.arange(len(levels)))
    return np.array([min(float(semitones.std()), 2.0), float((levels - middle).std())])


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A regularised logistic regression on standardised features.

    Shape:
        mean and scale ``(features,)``, weights ``(features, classes)``, bias ``(classes,)``.
    """

    mean: Array
    scale: Array
    weights: Array
    bias: Array

    def scores(self, features: Array) -> Array:
        """Return log-probabilities ``(..., classes)`` of features ``(..., features)``."""
        standard = np.clip((features - self.mean) / self.scale, -5.0, 5.0)
        return np.asarray(scipy.special.log_softmax(standard @ self.weights + self.bias, axis=-1))


def fit_probe(features: Array, classes: NDArray[np.int64], groups: NDArray[np.int64]) -> Probe:
    """Fit a probe; how strongly it is regularised is chosen on groups that are left out in turn.

    What counts there is the likelihood: a judge that is right but too sure would outweigh others in a mean.

    Args:
        features: ``(notes, features)``.
        classes: ``(notes,)`` from 0; all count alike, however many notes they have.
        groups: ``(notes,)``: which instrument a note is of.
    """
    folds = groups // 2 % 4
    losses = []
    for strength in _STRENGTHS:
        loss = np.full(len(classes), np.nan)
        for fold in range(4):
            out = folds == fold
            if out.any() and len(np.unique(classes[~out])) == classes.max() + 1:
                scores = _fit(features[~out], classes[~out], strength).scores(features[out])
                loss[out] = -scores[np.arange(out.sum()), classes[out]]
        losses.append(np.mean([np.nanmean(loss[classes == one]) for one in np.unique(classes)]))
    return _fit(features, classes, _STRENGTHS[int(np.argmin(losses))])


def _fit(features: Array, classes: NDArray[np.int64], strength: float) -> Probe:
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    x = np.clip((features - mean) / scale, -5.0, 5.0)
    n_features, n_classes = x.shape[1], int(classes.max()) + 1
    wanted = np.eye(n_classes)[classes]
    shares = (1.0 / np.bincount(classes) / n_classes)[classes][:, None]

    def loss(flat: Array) -> tuple[float, Array]:
        table = flat.reshape(n_features + 1, n_classes)
        logs = scipy.special.log_softmax(x @ table[:-1] + table[-1], axis=1)
        error = shares * (np.exp(logs) - wanted)
        slope = np.concatenate([x.T @ error + strength * table[:-1] / n_features, error.sum(0)[None]])
        value = -(shares * wanted * logs).sum() + 0.5 * strength * (table[:-1] ** 2).sum() / n_features
        return float(value), slope.ravel()

    start = np.zeros((n_features + 1) * n_classes)
    found = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    table = found.reshape(n_features + 1, n_classes)
    return Probe(mean=mean, scale=scale, weights=table[:-1], bias=table[-1])
