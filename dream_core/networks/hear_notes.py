"""What `notes` hears in a whole sound, frame by frame: probabilities of notes, onsets and contours.

The network hears two seconds at a time, and hears less well at their edges. Patches overlap by 30 frames, as
published; 15 frames at both ends of each are thrown away, so that what is left joins without a seam. The grid
is fixed from the first sample: what is heard does not depend on how the sound is cut into blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dream_core.dsp.resample import resample
from dream_core.errors import SettingError
from dream_core.networks.card import Network
from dream_core.networks.notes import CARD, KEYS, N_FRAMES, PATCH_SAMPLES, Notes
from dream_core.networks.notes_frontend import BINS_PER_OCTAVE, HOP_SAMPLES

__all__ = ["FRAME_S", "NoteFrames", "NoteListener", "hear_note_frames", "hear_notes", "join_frames"]

FRAME_S = HOP_SAMPLES / CARD.sample_rate
"""From one frame to the next: 11.6 ms; the first lies at the first sample."""

EDGE_FRAMES = 15
"""What is thrown away at both ends of a patch."""

_KEPT_FRAMES = N_FRAMES - 2 * EDGE_FRAMES
_KEPT_SAMPLES = _KEPT_FRAMES * HOP_SAMPLES
_LEAD_SAMPLES = EDGE_FRAMES * HOP_SAMPLES
_BATCH_PATCHES = 4

_BINS_PER_KEY = BINS_PER_OCTAVE // 12
_SINE_POWER = 0.25
"""Of a full-scale sine in its bin, where the transform's gain is 1."""

_POWER_FLOOR = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NoteFrames:
    """What is heard in some frames of a sound, the lowest pitch first.

    Args:
        notes: ``(88, frames)`` probability that a piano key sounds.
        onsets: ``(88, frames)`` probability that it begins.
        contours: ``(264, frames)`` probability of a pitch, three bins a semitone; bin ``3 k + 1`` is key
            ``k`` in tune.
        level_db: ``(88, frames)`` of the sound at the key's pitch: 0 is a full-scale sine. What the network
            itself hears knows no level.
    """

    notes: Tensor
    onsets: Tensor
    contours: Tensor
    level_db: Tensor

    def __len__(self) -> int:
        return self.notes.shape[1]


class NoteListener:
    """Hear notes in a sound that arrives in blocks; memory does not grow with the sound.

    Args:
        network: `notes`, on its device.

    Raises:
        SettingError: Another network.
    """

    def __init__(self, network: Network) -> None:
        if not isinstance(network, Notes):
            raise SettingError(
                f"network {network.card.name!r} does not tell frame by frame which notes sound; 'notes' does "
                "(reverie networks get notes)"
            )
        self._network = network
        gain = network.constant_q.gain
        self._waiting = torch.zeros(_LEAD_SAMPLES, dtype=gain.dtype, device=gain.device)
        self._n_heard = 0
        self._n_told = 0

    def push(self, sound: Tensor) -> Iterator[NoteFrames]:
        """Take the next samples, mono at 22,050 Hz; yield what is known of frames since."""
        self._n_heard += len(sound)
        self._waiting = torch.cat([self._waiting, sound.detach().to(self._waiting)])
        n_ready = (len(self._waiting) - PATCH_SAMPLES) // _KEPT_SAMPLES + 1
        while n_ready > 0:
            n_patches = min(n_ready, _BATCH_PATCHES)
            yield self._hear(n_patches)
            n_ready -= n_patches

    def finish(self) -> Iterator[NoteFrames]:
        """End the sound; yield the frames that are left."""
        n_frames = math.ceil(self._n_heard / HOP_SAMPLES)
        while (n_left := n_frames - self._n_told) > 0:
            n_patches = min(math.ceil(n_left / _KEPT_FRAMES), _BATCH_PATCHES)
            n_wanted = (n_patches - 1) * _KEPT_SAMPLES + PATCH_SAMPLES
            self._waiting = nn.functional.pad(self._waiting, (0, max(0, n_wanted - len(self._waiting))))
            yield _first_frames(self._hear(n_patches), n_left)

    @torch.no_grad()
    def _hear(self, n_patches: int) -> NoteFrames:
        patches = self._waiting.unfold(0, PATCH_SAMPLES, _KEPT_SAMPLES)[:n_patches]
        power = self._network.hear_power(patches)
        notes, onsets, contours = self._network.hear_frames(power)
        level_db = _key_levels(power, self._network.constant_q.gain)
        self._waiting = self._waiting[n_patches * _KEPT_SAMPLES :].clone()
        self._n_told += n_patches * _KEPT_FRAMES
        middle = slice(EDGE_FRAMES, EDGE_FRAMES + _KEPT_FRAMES)
        return NoteFrames(
            **{
                name: heard[..., middle].transpose(0, 1).flatten(1)
                for name, heard in (
                    ("notes", notes),
                    ("onsets", onsets),
                    ("contours", contours),
                    ("level_db", level_db),
                )
            }
        )


def hear_notes(network: Network, sound: Tensor, sample_rate: int) -> tuple[Tensor, float]:
    """Hear which notes sound in a sound, frame by frame.

    No gradient passes: what comes is a target for others, as large as the sound is long.

    Args:
        network: `notes`, as :func:`dream_core.load_network` gives it.
        sound: Mono, full scale 1, on any device.
        sample_rate: Hz, of the sound.

    Shape:
        ``(samples,)`` -> ``(88, frames)``, a frame for every 256 samples at 22,050 Hz that have begun.

    Returns:
        The probability that each piano key sounds, A-1 first, and the seconds from frame to frame; the first
        frame is at the first sample. Silence is 0.1, as learnt.

    Raises:
        SettingError: Another network, or a sound that is not mono.

    Source:
        Bittner et al. 2022, "A lightweight instrument-agnostic model for polyphonic note transcription and
        multipitch estimation".
    """
    return hear_note_frames(network, sound, sample_rate).notes, FRAME_S


def hear_note_frames(network: Network, sound: Tensor, sample_rate: int) -> NoteFrames:
    """Hear notes, onsets and contours in a sound; see `hear_notes`, which is enough for most."""
    listener = NoteListener(network)
    if sound.ndim != 1:
        raise SettingError(f"sound has shape {tuple(sound.shape)}; mono is accepted, (samples,)")
    with torch.no_grad():
        heard = resample(sound.detach().to(listener._waiting), sample_rate, CARD.sample_rate)
    return join_frames([*listener.push(heard), *listener.finish()])


def join_frames(pieces: list[NoteFrames]) -> NoteFrames:
    """Join frames in order of time; none at all are those of a sound without samples.

    >>> join_frames([]).notes.shape
    torch.Size([88, 0])
    """
    if not pieces:
        keys, contours = torch.zeros(len(KEYS), 0), torch.zeros(len(KEYS) * _BINS_PER_KEY, 0)
        return NoteFrames(notes=keys, onsets=keys, contours=contours, level_db=keys)
    return NoteFrames(
        notes=torch.cat([piece.notes for piece in pieces], dim=1),
        onsets=torch.cat([piece.onsets for piece in pieces], dim=1),
        contours=torch.cat([piece.contours for piece in pieces], dim=1),
        level_db=torch.cat([piece.level_db for piece in pieces], dim=1),
    )


def _first_frames(frames: NoteFrames, n_frames: int) -> NoteFrames:
    return NoteFrames(
        notes=frames.notes[:, :n_frames],
        onsets=frames.onsets[:, :n_frames],
        contours=frames.contours[:, :n_frames],
        level_db=frames.level_db[:, :n_frames],
    )


def _key_levels(power: Tensor, gain: Tensor) -> Tensor:
    """Return how loud the sound is at each key's pitch.

    Shape:
        ``(n, 1, time, 309)``, gain ``(309,)`` -> ``(n, 88, time)``.
    """
    sine = power[:, 0] / (gain.square() * _SINE_POWER)
    # A key is its own bin and those beside it; where a key is out of tune the loudest of the three is.
    wide = nn.functional.max_pool1d(nn.functional.pad(sine.flatten(0, 1), (1, 0)), 3, 1)
    levels = wide.unflatten(0, sine.shape[:2])[..., : len(KEYS) * _BINS_PER_KEY : _BINS_PER_KEY]
    return 10.0 * torch.log10(levels + _POWER_FLOOR).transpose(1, 2)
