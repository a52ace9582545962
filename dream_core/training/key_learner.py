"""Keys are learnt from notes whose times are known: moved, mixed and changed anew."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dream_core.errors import SettingError
from dream_core.frontend.log_mel import FrontendSpec, LogMel
from dream_core.names import name_key
from dream_core.networks.kinds import trained
from dream_core.networks.kinds.key_body import BANDS_PER_KEY, KEYS, LOWEST_HZ, KeyBody
from dream_core.networks.kinds.options import KeysOptions, parse_options
from dream_core.training import augmentation
from dream_core.training.key_evaluation import HeardKeys, hear_key_rows, key_loss
from dream_core.training.learner import Learner, Rows, plain_card
from dream_core.training.segment_notes import SegmentNotes
from dream_core.training.segment_rows import draw_rows
from dream_core.training.segments import Segments

__all__ = ["learn_keys"]

_LEVEL_DBFS = -20.0
_LEVEL_SPREAD_DB = 30.0
_WINDOW_S = 0.186
"""Long enough to tell semitones apart from 100 Hz up; below, harmonics do."""

_PATCH_FRAMES = 48
_VOICES = 3
"""So many segments sound together at most."""

_VOICE_SHARES = (0.4, 0.35, 0.25)
_ONE_VOICE = (1.0, 0.0, 0.0)

_MOVED_KEYS = 12.0
_DETUNED_KEYS = 0.5
_LOWER_DB = 12.0


def learn_keys(texts: Mapping[str, str], segments: Segments, name: str) -> Learner:
    """Return what the loop trains to hear keys.

    Args:
        texts: Options of the kind, as text.
        segments: A set whose notes are known.
        name: What the network will be called.

    Raises:
        SettingError: An option does not exist, or the set has no notes.
    """
    options = parse_options(KeysOptions, texts, trained.KEYS_KIND)
    notes = segments.notes
    if notes is None:
        raise SettingError(
            f"kind {trained.KEYS_KIND}: the data set does not say which keys are down when; prepare one with "
            "a notes.csv beside its table, as `reverie data render` writes it"
        )
    spec = _frontend(options, segments.sample_rate)
    card = replace(
        plain_card(name, segments),
        title="Which of a piano's 88 keys sound, frame by frame.",
        classes=tuple(name_key(key) for key in KEYS),
    )
    network = trained.build(card, trained.MelShape(kind=trained.KEYS_KIND, frontend=spec, options=options))
    sounds = _Sounds(segments, notes, spec, LogMel(spec, dtype=torch.float32))

    def hear(module: nn.Module, rows: Rows, device: torch.device) -> HeardKeys:
        return hear_key_rows(module, sounds.plain, sounds.truth, rows, device)

    return Learner(
        _Frames(network).float().to(memory_format=torch.channels_last),
        sounds.batches,
        sounds.plain,
        lambda learnt: trained.fold(learnt.network),
        cast(Any, trained.write),
        loss=key_loss,
        hear=hear,
    )


class _Frames(nn.Module):
    """A network's logits of keys in every frame, in place of one for the whole patch."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, patches: Tensor) -> Tensor:
        network = cast(Any, self.network)
        heard: Tensor = cast(KeyBody, network.body).hear_frames(network.levels(patches))
        return heard


def _frontend(options: KeysOptions, rate: int) -> FrontendSpec:
    """Return bands of a third of a key, the lowest key's middle one at its frequency, up to half the rate."""
    window = 1 << round(math.log2(_WINDOW_S * rate))
    per_octave = 12 * BANDS_PER_KEY
    most = math.floor(per_octave * math.log2(rate / 2.0 / LOWEST_HZ))
    n_mels = options.n_mels or most
    if n_mels > most:
        raise SettingError(f"keys: n_mels = {n_mels}: {most} bands reach up to half of {rate} Hz")
    n_frames = options.patch_frames or _PATCH_FRAMES
    return FrontendSpec(
        sample_rate=rate,
        window_samples=window,
        hop_samples=window // 8,
        n_fft=window,
        n_mels=n_mels,
        f_min_hz=LOWEST_HZ * 2.0 ** (-2 / per_octave),
        f_max_hz=LOWEST_HZ * 2.0 ** ((n_mels - 1) / per_octave),
        patch_frames=n_frames,
        patch_hop_frames=max(1, n_frames // 2),
        mel="octave",
        centred=True,
    )


@dataclass(frozen=True, slots=True)
class _Sounds:
    """Gives patches of a set and which keys are down in their frames."""

    segments: Segments
    notes: SegmentNotes
    spec: FrontendSpec
    log_mel: LogMel

    @property
    def frames_s(self) -> NDArray[np.float64]:
        """When each frame has its middle."""
        hop_s = self.spec.hop_samples / self.spec.sample_rate
        return np.arange(self.spec.patch_frames, dtype=np.float64) * np.float64(hop_s)

    def plain(self, rows: Rows) -> Tensor:
        """Return segments from their start, as they are but for their level."""
        n_samples = self.spec.patch_samples
        sounds = self.segments.sounds(rows)[:, :n_samples]
        sounds = nn.functional.pad(sounds, (0, n_samples - sounds.shape[1]))
        with torch.no_grad():
            heard: Tensor = self.log_mel(augmentation.level_to(sounds, torch.tensor(_LEVEL_DBFS)))
        return heard

    def truth(self, rows: Rows) -> Tensor:
        """Return which keys are down in the frames of `plain`."""
        return torch.stack([self.notes.down(int(row), KEYS, self.frames_s) for row in rows])

    def batches(
        self, rows: Rows, n_batches: int, batch_size: int, key: tuple[int, ...], strength: float
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield patches of several segments at once, moved in time and pitch, and which keys are down."""
        rng = np.random.default_rng(key)
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        rate = self.segments.sample_rate
        drawn = draw_rows(self.segments, rows, n_batches * _VOICES, batch_size, rng)
        for _ in range(n_batches):
            sounds = torch.zeros(batch_size, self.spec.patch_samples)
            targets = torch.zeros(batch_size, len(KEYS), self.spec.patch_frames)
            n_voices = rng.choice(_VOICES, batch_size, p=_VOICE_SHARES if strength > 0 else _ONE_VOICE)
            for voice in range(_VOICES):
                part, keys = self._voice(next(drawn), rng, strength)
                is_there = torch.from_numpy(n_voices >= voice).float()
                gain_db = -_LOWER_DB * rng.uniform(0.0, 1.0, batch_size) * (voice > 0)
                gain = is_there * torch.from_numpy(10.0 ** (gain_db / 20.0)).float()
                sounds += gain[:, None] * part
                targets = torch.maximum(targets, is_there[:, None, None] * keys)
            if strength > 0:
                sounds = augmentation.recolour(sounds, rate, generator, strength)
                sounds = augmentation.with_noise(sounds, generator)
            spread = 2.0 * torch.rand(batch_size, generator=generator) - 1.0
            sounds = augmentation.level_to(sounds, _LEVEL_DBFS + _LEVEL_SPREAD_DB * strength * spread)
            with torch.no_grad():
                heard = self.log_mel(sounds)
            yield heard, targets

    def _voice(self, rows: Rows, rng: np.random.Generator, strength: float) -> tuple[Tensor, Tensor]:
        """Return segments at other pitches that begin earlier or later, and which keys are down."""
        n, rate = len(rows), self.segments.sample_rate
        most = _MOVED_KEYS * strength
        moved = np.round(rng.uniform(-most, most, n)).astype(np.int64)
        detuned = _DETUNED_KEYS * strength * rng.uniform(-1.0, 1.0, n)
        speeds = 2.0 ** ((moved + detuned) / 12.0)
        early, late = -0.5 * self.spec.patch_samples, 0.5 * self.segments.segment_samples
        starts = np.floor(rng.uniform(early, late, n) * (strength > 0))
        sounds = augmentation.crop_at_speed(
            self.segments.sounds(rows),
            torch.from_numpy(starts).float(),
            torch.from_numpy(speeds).float(),
            self.spec.patch_samples,
        )
        keys = [
            self.notes.down(int(row), KEYS, start / rate + speed * self.frames_s, transpose=int(up))
            for row, start, speed, up in zip(rows, starts, speeds, moved, strict=True)
        ]
        return sounds, torch.stack(keys)
