"""What the loop trains, whatever the network: a module, what it is given, and what becomes of it.

The loop knows a `Learner` alone. `learner_for` makes one of a kind's name: networks learn from sounds that
are changed anew each time, a head from what a network below it makes of them, worked out once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dream_core.errors import SettingError
from dream_core.frontend.log_mel import FrontendSpec, LogMel
from dream_core.names import nearest_names
from dream_core.networks import mel_cnn
from dream_core.networks.card import PITCH_CLASSES, NetworkCard
from dream_core.networks.kinds import embedding_head, trained
from dream_core.networks.kinds.options import MelCnnOptions, MelOptions, WaveOptions, parse_options
from dream_core.training import augmentation
from dream_core.training.encoded import EncodedPatches, check_encoding
from dream_core.training.head_learner import learn_head
from dream_core.training.key_learner import learn_keys
from dream_core.training.learner import Learner, Rows, plain_card
from dream_core.training.pitch_head import (
    check_pitches,
    first_head_hearing,
    pitch_targets,
    two_head_loss,
)
from dream_core.training.segment_rows import draw_rows
from dream_core.training.segments import Segments

__all__ = ["KINDS", "learner_for", "option_names"]

KINDS: tuple[str, ...] = (
    mel_cnn.KIND,
    *trained.MEL_KINDS,
    *trained.WAVE_KINDS,
    embedding_head.KIND,
)
"""The kinds of networks that can be trained."""

_LOG_MEL_KINDS = tuple(kind for kind in trained.MEL_KINDS if kind != trained.KEYS_KIND)
"""Kinds that can learn from log-mel frames that were kept, beside `mel_cnn`."""

_LEVEL_DBFS = -20.0
_LEVEL_SPREAD_DB = 15.0
_SPEED_OCTAVES = 0.4
_MOST_FRAMES = 96
_MOST_PATCH_S = 1.02


def learner_for(
    kind: str,
    options: Mapping[str, str],
    segments: Segments,
    name: str,
    seed: int,
    base: str = "",
    heard: dict[int, Tensor] | None = None,
    with_pitch: bool = False,
) -> Learner:
    """Return what the loop trains for a kind of network.

    Args:
        kind: One of `KINDS`.
        options: Of the kind, as text: ``{"widths": "64,128"}``.
        segments: The data set: rate, length and classes come from it.
        name: What the network will be called.
        seed: Of initial weights.
        base: For a head, on what it stands: ``NETWORK:LAYER``.
        heard: For a head, what that layer says of segments: filled, and taken from by later runs on it.
        with_pitch: Whether a second head hears the pitch class.

    Raises:
        SettingError: The kind or an option does not exist or does not fit the data.
        NetworkNotFoundError, LayerNotFoundError, WeightsError: A head cannot stand there.
    """
    if kind not in KINDS:
        raise SettingError(f"kind {kind!r}: {nearest_names(kind, KINDS, limit=len(KINDS))}")
    if (kind == embedding_head.KIND) != bool(base):
        raise SettingError(
            f"kind {kind}: --from NETWORK:LAYER says on what an embedding_head stands, such as "
            "timbre:block5; " + ("it is needed" if not base else "no other kind takes it")
        )
    if segments.encoding is not None and kind not in (mel_cnn.KIND, *_LOG_MEL_KINDS):
        raise SettingError(
            f"kind {kind} hears sounds, and the data set keeps log-mel frames alone; prepare the table again "
            f"without --encode log_mel, or take {mel_cnn.KIND}, {', '.join(_LOG_MEL_KINDS)}"
        )
    if with_pitch:
        check_pitches(kind, segments)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == embedding_head.KIND:
            return learn_head(base, options, segments, name, {} if heard is None else heard)
        if kind == trained.KEYS_KIND:
            return learn_keys(options, segments, name)
        if kind in trained.WAVE_KINDS:
            return _learn_wave(kind, options, segments, name, with_pitch)
        return _learn_mel(kind, options, segments, name, with_pitch)


def option_names(kind: str) -> type:
    """Return the class of a kind's options."""
    if kind == mel_cnn.KIND:
        return MelCnnOptions
    return {**trained.MEL_KINDS, **trained.WAVE_KINDS}[kind].options


def _frontend(options: MelOptions, segments: Segments) -> FrontendSpec:
    """Return the front end that options ask for, at the data's rate."""
    rate = segments.sample_rate
    usual: dict[str, dict[str, Any]] = {
        "log_mel": {"n_mels": 64},
        "power_mel": {
            "window_samples": 2048,
            "hop_samples": 512,
            "n_fft": 2048,
            "n_mels": 300,
            "power": 2,
            "compress": "none",
            "patch_frames": 44,
            "f_min_hz": 20.0,
        },
        "musicnn": {
            "window_samples": 512,
            "hop_samples": 256,
            "n_fft": 512,
            "n_mels": 96,
            "f_min_hz": 0.0,
            "log_offset": 1e-4,
            "mel": "slaney",
            "power": 2,
            "centred": True,
            "compress": "log10",
        },
    }
    numbers = usual[options.frontend]
    if options.n_mels:
        numbers = {**numbers, "n_mels": options.n_mels}
    spec = FrontendSpec(sample_rate=rate, **{**numbers, "patch_frames": 1})
    held = 1 + max(0, segments.segment_samples - spec.window_samples + spec.lead_samples) // spec.hop_samples
    n_frames = options.patch_frames or numbers.get("patch_frames") or min(held, _MOST_FRAMES)
    return replace(spec, patch_frames=n_frames, patch_hop_frames=max(1, n_frames // 2))


def _learn_mel(
    kind: str, texts: Mapping[str, str], segments: Segments, name: str, with_pitch: bool
) -> Learner:
    options: MelOptions = parse_options(option_names(kind), texts, kind)
    spec = _frontend(options, segments)
    card = _card(name, segments, with_pitch)
    network: nn.Module
    finish: Callable[[nn.Module], nn.Module]
    if isinstance(options, MelCnnOptions):
        network, finish, write = _mel_cnn(options, spec, card)
    else:
        shape = trained.MelShape(kind=kind, frontend=spec, options=options)
        network = trained.build(card, shape)
        finish, write = cast(Any, trained.fold), cast(Any, trained.write)
    check_encoding(spec, segments, kind, options.frontend)
    pitched = segments if with_pitch else None
    if segments.encoding is not None:
        kept = EncodedPatches(segments, spec, with_pitch)
        return _learner(network.float(), kept.batches, kept.plain, finish, write, pitched)
    # float32 is what is trained in; the network's own front end is exact.
    hear = LogMel(spec, dtype=torch.float32)
    sounds = _Sounds(segments, spec.patch_samples, with_pitch)

    def batches(rows: Rows, n: int, size: int, key: tuple[int, ...], strength: float) -> Iterator[Any]:
        for patch, targets, generator in sounds.batches(rows, n, size, key, strength):
            with torch.no_grad():
                heard = hear(patch)
                if strength > 0:
                    heard = augmentation.mask_bands_and_frames(heard, spec.silence, generator)
            yield heard, targets

    def plain(rows: Rows) -> Tensor:
        with torch.no_grad():
            return cast(Tensor, hear(sounds.plain(rows)))

    return _learner(network.float(), batches, plain, finish, write, pitched)


def _mel_cnn(options: MelCnnOptions, spec: FrontendSpec, card: NetworkCard) -> tuple[Any, Any, Any]:
    if len(options.widths) != len(options.depths):
        if options.depths != MelCnnOptions().depths:
            raise SettingError(
                f"mel_cnn: widths are {len(options.widths)} blocks, depths {len(options.depths)}; one depth "
                "is needed for every width"
            )
        options = replace(options, depths=(1,) * len(options.widths))
    # Each block halves bands and frames, the first one frames once more.
    if not spec.n_mels >> len(options.widths) or not spec.patch_frames >> (len(options.widths) + 1):
        raise SettingError(
            f"mel_cnn: widths = {','.join(map(str, options.widths))}: {len(options.widths)} blocks halve "
            f"{spec.n_mels} bands and {spec.patch_frames} frames to nothing; take fewer, or longer segments"
        )
    shape = mel_cnn.MelCnnSpec(
        frontend=spec, widths=options.widths, depths=options.depths, n_embedding=options.embedding
    )
    card = replace(
        card,
        sample_rate=spec.sample_rate,
        band_hz=(spec.f_min_hz, spec.f_max_hz),
        patch_s=spec.patch_samples / spec.sample_rate,
        frame_s=spec.hop_samples / spec.sample_rate,
        layers=shape.layers(len(card.classes)),
        n_parameters=shape.n_parameters(len(card.classes)),
    )
    network = mel_cnn.MelCnn(card, shape, has_batch_norm=True, dropout=options.dropout)
    return network, mel_cnn.fold_batch_norm, mel_cnn.write


def _learn_wave(
    kind: str, texts: Mapping[str, str], segments: Segments, name: str, with_pitch: bool
) -> Learner:
    options: WaveOptions = parse_options(option_names(kind), texts, kind)
    longest = round(_MOST_PATCH_S * segments.sample_rate)
    patch_samples = options.patch_samples or min(segments.segment_samples, longest)
    if patch_samples < 1024:
        raise SettingError(
            f"{kind}: patches of {patch_samples} samples are too short for its strides; 1024 are needed at "
            "least: prepare longer segments"
        )
    shape = trained.WaveShape(
        kind=kind, sample_rate=segments.sample_rate, patch_samples=patch_samples, options=options
    )
    sounds = _Sounds(segments, patch_samples, with_pitch)

    def batches(rows: Rows, n: int, size: int, key: tuple[int, ...], strength: float) -> Iterator[Any]:
        for patch, targets, _ in sounds.batches(rows, n, size, key, strength):
            yield patch, targets

    network = trained.build(_card(name, segments, with_pitch), shape)
    finish, write = cast(Any, trained.fold), cast(Any, trained.write)
    return _learner(network, batches, sounds.plain, finish, write, segments if with_pitch else None)


def _card(name: str, segments: Segments, with_pitch: bool) -> NetworkCard:
    card = plain_card(name, segments)
    return replace(card, classes=(*card.classes, *PITCH_CLASSES)) if with_pitch else card


def _learner(
    module: nn.Module, batches: Any, plain: Any, finish: Any, write: Any, pitched: Segments | None
) -> Learner:
    """Return a learner of one head, or of two where the set of the second is given."""
    if pitched is None:
        return Learner(module, batches, plain, finish, write)
    loss, hear = two_head_loss(len(pitched.classes)), first_head_hearing(plain, pitched)
    return Learner(module, batches, plain, finish, write, loss=loss, hear=hear)


@dataclass(frozen=True, slots=True)
class _Sounds:
    """Gives segments as sounds of a patch's length at one level.

    Without the same level for all, a network learns loudness first.
    """

    segments: Segments
    patch_samples: int
    with_pitch: bool = False

    def plain(self, rows: Rows) -> Tensor:
        """Return segments from their start, as they are but for their level."""
        sounds = self.segments.sounds(rows)[:, : self.patch_samples]
        padded = nn.functional.pad(sounds, (0, self.patch_samples - sounds.shape[1]))
        return augmentation.level_to(padded, torch.tensor(_LEVEL_DBFS))

    def batches(
        self, rows: NDArray[np.int64], n_batches: int, batch_size: int, key: tuple[int, ...], strength: float
    ) -> Iterator[tuple[Tensor, Tensor, torch.Generator]]:
        """Yield sounds changed anew, their targets and the generator that changed them."""
        segments = self.segments
        rng = np.random.default_rng(key)
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        n_classes = len(segments.classes)
        for drawn in draw_rows(segments, rows, n_batches, batch_size, rng):
            speeds = 2.0 ** rng.uniform(-_SPEED_OCTAVES * strength, _SPEED_OCTAVES * strength, len(drawn))
            spare = np.maximum(0.0, segments.segment_samples - self.patch_samples * speeds)
            starts = np.floor(rng.uniform(0.0, 1.0, len(drawn)) * spare)
            sounds = augmentation.crop_at_speed(
                segments.sounds(drawn),
                torch.from_numpy(starts).float(),
                torch.from_numpy(speeds).float(),
                self.patch_samples,
            )
            targets = nn.functional.one_hot(torch.from_numpy(segments.labels[drawn]), n_classes).float()
            if self.with_pitch:
                targets = torch.cat([targets, pitch_targets(segments.pitches[drawn], speeds)], dim=1)
            if strength > 0:
                sounds = augmentation.recolour(sounds, segments.sample_rate, generator, strength)
                sounds = augmentation.level_to(sounds, torch.tensor(_LEVEL_DBFS))
                sounds, targets = augmentation.mix_up(sounds, targets, generator, strength / 3.0)
                sounds = augmentation.with_noise(sounds, generator)
            spread_db = _LEVEL_SPREAD_DB * strength
            levels = _LEVEL_DBFS + spread_db * (2.0 * torch.rand(len(drawn), generator=generator) - 1.0)
            yield augmentation.level_to(sounds, levels), targets, generator
