"""Dream on the log-mel picture itself, tens of cheap steps, and come back to sound where it is heard.

The network's own frames ``m`` of the window are kept between steps; no front end is in the loop::

    m <- clamp(m + step * 0.05 g / std(g), silence, loudest + 6 dB),  g = dJ(m) / dm

Back to sound, only for steps that are heard, as `resynthesis` says:

- ``phase``: bands become magnitudes ``W`` by inversion; the sound's own spectrum is turned up and down by
  ``W / W0``, with ``W0`` the same inversion of the undreamed frames; then once more by what is heard to be
  missing. Its phases stay.
- ``griffin_lim``, ``griffin_lim_random``: the magnitudes ``W`` alone, with phases that fit them, found from
  the sound's own ones or from anywhere.
- ``griffin_lim_full``: the published chain. Ascent on the bands' powers, without a logarithm, along the
  gradient of length one; clipped to 0..1, where 1 is full power for a network that hears powers as they are,
  and four times the loudest of the window for others; then ``griffin_lim_random``.

Pictures dreamed so are not of any sound: their overlapping frames contradict each other. Most of what they
gained survives all the same. A dream of ``mel`` is the stronger one, one of ``mask`` the cleaner.

Source:
    Spiteri 2022, "Auditory DeepDreamer", 3.4 and 3.7; Balke and Dittmar, and Stamenovic, whom it follows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dream_core.dsp.resample import resample
from dream_core.dsp.stft import bin_frequencies_hz, istft, k_weighting, stft
from dream_core.errors import SettingError
from dream_core.frontend.log_mel import FrontendSpec, mel_filterbank
from dream_core.networks.card import NetworkCard
from dream_core.objectives.look import Look
from dream_core.resynthesis.griffin_lim import griffin_lim
from dream_core.resynthesis.mel_inversion import mel_to_magnitude
from dream_core.settings import DreamSettings
from dream_core.updates.ascent import aim, guard_state, guarded, swing_at
from dream_core.updates.conditioning import clip_deviations, gaussian_smooth
from dream_core.updates.contract import State, Window
from dream_core.updates.network_grid import along, band_centres_hz, frame_middle_s, matching_n_fft

__all__ = ["Mel"]

NEPERS_PER_STEP = 0.05
"""A unit step moves the typical band by .43 dB."""

MOST_RISE = 2.0
"""How far above the loudest band of the window any may rise: 6 dB."""

MOST_NEPERS = 36.0 * math.log(10.0) / 20.0
"""How far a bin of the sound's own spectrum is turned up or down."""

N_TURNS = 2
"""How often gains are worked out: once from the frames alone, then from what came of it."""

_SILENT = 1e-7  # of the loudest bin: nothing is to be turned up there


class Mel:
    """Ascend on the frames that the network looks at; see the module."""

    needs_target = False
    needs_frames = True
    changes_original = True

    @staticmethod
    def check_networks(cards: Sequence[NetworkCard], settings: DreamSettings) -> None:
        """Raise where there is no one picture to ascend on.

        Raises:
            SettingError: Several networks listen, or one that looks at no log-mel frames, or settings ask for
                what only sound has.
        """
        if len(cards) > 1:
            names = " and ".join(card.name for card in cards)
            raise SettingError(
                f"update 'mel' ascends on what one network looks at; the objective asks {names}. Name terms "
                "of one network, or use update 'mask'"
            )
        for card in cards:
            if card.looks == "waveform":
                raise SettingError(
                    f"update 'mel' ascends on log-mel frames; network {card.name!r} looks at the waveform. "
                    "Use another network (timbre, musicnn, yamnet, image), or update 'mask'"
                )
            if "octaves" in card.name.split(":")[1:]:
                raise SettingError(
                    f"update 'mel' comes back to sound from one transform; network {card.name!r} looks at "
                    f"three. Use {card.name.replace(':octaves', '')!r}, or update 'mask'"
                )
        if settings.varispeed_octaves:
            raise SettingError(
                f"update 'mel' has no sound between its steps that could be heard at another speed; "
                f"varispeed_octaves = {settings.varispeed_octaves:g}, 0 is accepted"
            )

    def begin(self, context: Tensor, settings: DreamSettings, sample_rate: int) -> State:
        """Return no frames yet: what network hears them is known with the first step."""
        del sample_rate
        return guard_state(settings, context)

    def step(self, window: Window, state: State) -> tuple[Tensor, State, Tensor]:
        """Take one step."""
        look, settings = window.look, window.settings
        assert look is not None  # `check_networks` has seen to that
        sound = window.context if settings.context else window.original
        mono = sound.mean(dim=1)
        if "frames" not in state:
            frames = look.hear_frames(mono)
            state = {**state, "frames": frames, "heard": frames}
        ascend = _ascend_on_powers if settings.resynthesis == "griffin_lim_full" else _ascend
        frames, gradient = ascend(window, look, mono, state)
        state = {**state, "frames": frames}
        proposal = window.current
        heard = [index for index, is_heard in enumerate(window.needs_sound) if is_heard]
        if heard:
            change = torch.zeros_like(window.context)
            for index in heard:  # each by itself: what one is does not depend on who else is heard
                change[index] = _change(window, look, state, index)
            change = guarded(change, window, state)
            is_heard = torch.tensor(window.needs_sound, device=change.device)[:, None, None]
            proposal = torch.where(is_heard, window.original + window.crop(change), proposal)
        return proposal, state, gradient


def _unit(spec: FrontendSpec) -> float:
    """Return a unit step in the frames' own unit."""
    unit = NEPERS_PER_STEP * spec.power
    return unit / math.log(10.0) if spec.compress == "log10" else unit


def _touched(window: Window, look: Look, n_frames: int) -> Tensor:
    """Return how much of each band of each frame the dream may move, ``(items or 1, frames or 1, mels)``."""
    centres_hz = band_centres_hz(look.spec).to(window.current)
    low, high = (_at_frames(window, name, n_frames, look) for name in ("low_hz", "high_hz"))
    return ((centres_hz >= low) & (centres_hz <= high)).to(window.current.dtype)


def _at_frames(window: Window, name: str, n_frames: int, look: Look) -> float | Tensor:
    """Return a setting that may move at the middles of the network's frames, ``(items, frames, 1)``."""
    value = window.lanes[name]
    if not isinstance(value, Tensor):
        return value
    hop_samples = look.spec.hop_samples * window.sample_rate / look.spec.sample_rate
    before = 0 if window.settings.context else window.margin
    first = before + frame_middle_s(look.spec) * window.sample_rate
    places = torch.arange(n_frames, device=value.device, dtype=torch.float64) * hop_samples + first
    return value[:, 0, torch.clamp(places.round().long(), 0, value.shape[-1] - 1)][..., None]


def _ascend(window: Window, look: Look, mono: Tensor, state: State) -> tuple[Tensor, Tensor]:
    """Return the frames after a step, and the gradient that led there."""
    spec, frames = look.spec, state["frames"]
    gradient = look.frames_gradient(mono, frames) * _touched(window, look, frames.shape[1])
    hop_samples = round(spec.hop_samples * window.sample_rate / spec.sample_rate)
    settings = window.settings
    if settings.energy:  # what follows from being brought back to the same loudness
        gradient = gradient - _loudness_shares(spec, frames) * gradient.sum(dim=2, keepdim=True)
    followed = gaussian_smooth(gradient.mT, settings.smooth_bins, settings.smooth_frames)
    followed = aim(followed, window, hop_samples).mT
    # In proportion first: squares of very small numbers are zero.
    largest = followed.abs().amax(dim=(1, 2), keepdim=True)
    followed = followed / torch.where(largest > 0, largest, 1.0)
    deviation = followed.std(dim=(1, 2), keepdim=True)
    step = _at_frames(window, "step", frames.shape[1], look)
    if "cycles" in window.lanes:
        cycles = torch.as_tensor(_at_frames(window, "cycles", frames.shape[1], look))
        step = step * swing_at(cycles).to(frames)
    moved = frames + step * _unit(spec) * clip_deviations(followed / (deviation + 1e-12))
    loudest = spec.bands_in(state["heard"]).amax(dim=(1, 2), keepdim=True)
    most = spec.compressed(loudest * MOST_RISE**spec.power)
    moved = torch.clamp(moved, min=spec.silence).minimum(most)
    return (_as_loud(spec, moved, state["heard"]) if settings.energy else moved), gradient


def _as_loud(spec: FrontendSpec, frames: Tensor, heard: Tensor) -> Tensor:
    """Return frames as loud as those heard, each by a gain of its own."""
    loudness, wanted = (_loudnesses(spec, one).sum(dim=2, keepdim=True) for one in (frames, heard))
    gain = torch.where(loudness > 0, wanted / torch.where(loudness > 0, loudness, 1.0), 1.0)
    return spec.compressed(spec.bands_in(frames) * (gain if spec.power == 2 else torch.sqrt(gain)))


def _loudnesses(spec: FrontendSpec, frames: Tensor) -> Tensor:
    """Return how much each band adds to the loudness of its frame."""
    return k_weighting(band_centres_hz(spec)).to(frames) * _powers(spec, frames)


def _loudness_shares(spec: FrontendSpec, frames: Tensor) -> Tensor:
    """Return each band's share of the loudness of its frame; of nothing, none."""
    each = _loudnesses(spec, frames)
    whole = each.sum(dim=2, keepdim=True)
    return torch.where(whole > 0, each / torch.where(whole > 0, whole, 1.0), 0.0)


def _ascend_on_powers(window: Window, look: Look, mono: Tensor, state: State) -> tuple[Tensor, Tensor]:
    """Return the frames after a step as it was published, and the gradient that led there."""
    spec, frames = look.spec, state["frames"]
    powers = _powers(spec, frames).detach().requires_grad_(True)
    seen = spec.compressed(powers if spec.power == 2 else torch.sqrt(powers + 1e-20))
    (gradient,) = torch.autograd.grad(look.score_frames(mono, seen).sum(), powers)
    gradient = gradient * _touched(window, look, frames.shape[1])
    length = torch.linalg.vector_norm(gradient, dim=(1, 2), keepdim=True)
    step = _at_frames(window, "step", frames.shape[1], look)
    loudest = _powers(spec, state["heard"]).amax(dim=(1, 2), keepdim=True)
    full = torch.ones_like(loudest) if spec.compress == "none" else loudest * MOST_RISE**2
    moved = powers.detach() + step * full * gradient / torch.where(length > 0, length, 1.0)
    moved = torch.clamp(moved, min=0.0).minimum(full)
    return spec.compressed(moved if spec.power == 2 else torch.sqrt(moved)), gradient


def _powers(spec: FrontendSpec, frames: Tensor) -> Tensor:
    bands = spec.bands_in(frames)
    return bands if spec.power == 2 else bands.square()


def _change(window: Window, look: Look, state: State, index: int) -> Tensor:
    """Return what the dreamed frames of an item change in its rows, margins and all ``(rows, samples)``."""
    how = window.settings.resynthesis
    make = _by_own_phase if how == "phase" else _by_griffin_lim
    return make(window, look, state["frames"][index], state["heard"][index], index)


def _magnitudes(spec: FrontendSpec, frames: Tensor) -> Tensor:
    """Return the magnitudes ``(..., bins, frames)`` of a network's frames."""
    bank = mel_filterbank(
        spec.n_mels, spec.n_fft, spec.sample_rate, spec.f_min_hz, spec.f_max_hz, mel=spec.mel
    )
    found = mel_to_magnitude(spec.bands_in(frames), bank.to(frames.device)).mT
    return torch.sqrt(found) if spec.power == 2 else found


def _by_own_phase(window: Window, look: Look, frames: Tensor, heard: Tensor, index: int) -> Tensor:
    spec, rate = look.spec, window.sample_rate
    n_fft = matching_n_fft(spec, rate)
    hop = n_fft // 4
    rows = window.context[index]
    spectrum = stft(rows, n_fft, hop)
    old = _magnitudes(spec, heard)
    floor = _SILENT * torch.clamp(old.max(), min=_SILENT)
    change, wanted = torch.zeros_like(rows), frames
    for turn in range(N_TURNS):
        if turn:  # what is heard now falls short here and goes too far there
            made = rows + change if window.settings.context else window.crop(rows + change)
            there = look.hear_frames(made.mean(dim=0, keepdim=True))[0]
            wanted = torch.clamp(wanted + frames - there, min=spec.silence)
        nepers = torch.log((_magnitudes(spec, wanted) + floor) / (old + floor))
        gain = _at_transform(window, spec, nepers.clamp(-MOST_NEPERS, MOST_NEPERS), n_fft, index)
        change = istft((torch.exp(gain) - 1.0) * spectrum, n_fft, hop, rows.shape[-1])
    return change


def _at_transform(window: Window, spec: FrontendSpec, nepers: Tensor, n_fft: int, index: int) -> Tensor:
    """Return log-gains of a network's bins and frames at those of the session's transform, in the band."""
    rate, hop = window.sample_rate, n_fft // 4
    n_frames = 1 + window.context.shape[-1] // hop
    first_s = frame_middle_s(spec) + (0.0 if window.settings.context else window.margin / rate)
    times_s = torch.arange(n_frames, dtype=torch.float64) * hop / rate
    frequencies_hz = bin_frequencies_hz(n_fft, rate, torch.device("cpu")).double()
    nepers = along(nepers, (times_s - first_s) * spec.sample_rate / spec.hop_samples, dim=1)
    nepers = along(nepers, frequencies_hz * spec.n_fft / spec.sample_rate, dim=0)
    weights = window.band_weights(n_fft, hop, n_frames, window.margin)
    return nepers * weights[min(index, len(weights) - 1)]


def _by_griffin_lim(window: Window, look: Look, frames: Tensor, heard: Tensor, index: int) -> Tensor:
    spec, settings, rate = look.spec, window.settings, window.sample_rate
    rows = window.context[index]
    sound = rows if settings.context else window.crop(rows)
    own = look.hear_frames(sound)  # each row is changed as their sum is
    magnitude = _magnitudes(spec, torch.clamp(own + frames - heard, min=spec.silence))
    n_samples = (magnitude.shape[-1] - 1) * spec.hop_samples
    there = resample(sound, rate, spec.sample_rate)
    # The first frame's middle lies so far behind the start.
    lead = spec.window_samples // 2 - spec.lead_samples
    phase = None
    if settings.resynthesis == "griffin_lim":
        phase = _own_phase(there, spec, lead, n_samples)
    made = griffin_lim(
        magnitude,
        spec.n_fft,
        spec.hop_samples,
        n_samples,
        window_samples=spec.window_samples,
        phase=phase,
        seed=settings.seed,
    )
    # Before the first frame's middle, and after the last one's, the sound itself.
    n_there = there.shape[-1]
    kept = torch.cat([there[:, :lead], made, there[:, lead + n_samples :]], dim=-1)[:, :n_there]
    back = resample(kept, spec.sample_rate, rate)
    short = rows.shape[-1] if settings.context else sound.shape[-1]
    back = torch.nn.functional.pad(back, (0, max(0, short - back.shape[-1])))[:, :short]
    if not settings.context:
        back = torch.nn.functional.pad(back, (window.margin, window.margin))
        rows = torch.nn.functional.pad(sound, (window.margin, window.margin))
    n_fft, hop = window.n_fft, window.hop_samples
    difference = stft(back - rows, n_fft, hop)
    weights = window.band_weights(n_fft, hop, difference.shape[-1], window.margin)
    return istft(difference * weights[min(index, len(weights) - 1)], n_fft, hop, rows.shape[-1])


def _own_phase(sound: Tensor, spec: FrontendSpec, lead: int, n_samples: int) -> Tensor:
    """Return the phases of a sound at the network's rate, in its frames."""
    behind = sound[:, lead : lead + n_samples]
    behind = torch.nn.functional.pad(behind, (0, n_samples - behind.shape[-1]))
    window = torch.hann_window(spec.window_samples, dtype=torch.float64).to(sound)
    spectrum = torch.stft(
        behind,
        spec.n_fft,
        spec.hop_samples,
        spec.window_samples,
        window,
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    return spectrum.angle()
