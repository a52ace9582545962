"""What the loop trains, whatever the network: a module, what it is given, and what becomes of it.

The loop knows a `Learner` alone. `learner_for` makes one of a kind's name: networks learn from sounds that
are changed anew each time, a head from what a network below it makes of them, worked out once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from dream_core.errors import SettingError
from dream_core.frontend.log_mel import FrontendSpec, LogMel
from dream_core.names import nearest_names
from dream_core.networks import mel_cnn
from dream_core.networks.card import PITCH_CLASSES, NetworkCard
from dream_core.networks.kinds import embedding_head, trained
from dream_core.networks.kinds.options import MelCnnOptions, MelOptions, WaveOptions, parse_options
from dream_core.training.encoded import EncodedPatches, check_encoding
from dream_core.training.feeder import Feeder
from dream_core.training.head_learner import learn_head
from dream_core.training.key_learner import learn_keys
from dream_core.training.learner import Learner, Rows, plain_card
from dream_core.training.pitch_head import check_pitches, first_head_hearing, two_head_loss
from dream_core.training.segments import Segments
from dream_core.training.sounds import LogMelMaker, SoundMaker, Sounds

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
    workers: int = 0,
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
        workers: How many processes make batches; 0: this one. None are used for a head, whose layer is heard
            once, for `keys`, nor where the set keeps log-mel frames, of which batches are cut in no time.

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
            return _learn_wave(kind, options, segments, name, with_pitch, workers)
        return _learn_mel(kind, options, segments, name, with_pitch, workers)


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
    kind: str, texts: Mapping[str, str], segments: Segments, name: str, with_pitch: bool, workers: int
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
    # What the attack takes for a sound's level is the natural logarithm.
    silence = spec.silence if spec.compress == "log" else None
    if segments.encoding is not None:
        kept = EncodedPatches(segments, spec, with_pitch)
        learner = Learner(network.float(), kept.batches, kept.plain, finish, write, silence=silence)
        return _with_second_head(learner, segments) if with_pitch else learner
    # float32 is what is trained in; the network's own front end is exact.
    hear = LogMel(spec, dtype=torch.float32)
    sounds = Sounds(segments, spec.patch_samples, with_pitch)

    def plain(rows: Rows) -> Tensor:
        with torch.no_grad():
            return cast(Tensor, hear(sounds.plain(rows)))

    feeder = Feeder(segments, LogMelMaker(sounds, spec), workers)
    learner = Learner(
        network.float(), feeder.batches, plain, finish, write, silence=silence, close=feeder.close
    )
    return _with_second_head(learner, segments) if with_pitch else learner


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
    kind: str, texts: Mapping[str, str], segments: Segments, name: str, with_pitch: bool, workers: int
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
    sounds = Sounds(segments, patch_samples, with_pitch)
    feeder = Feeder(segments, SoundMaker(sounds), workers)
    network = trained.build(_card(name, segments, with_pitch), shape)
    finish, write = cast(Any, trained.fold), cast(Any, trained.write)
    learner = Learner(network, feeder.batches, sounds.plain, finish, write, close=feeder.close)
    return _with_second_head(learner, segments) if with_pitch else learner


def _card(name: str, segments: Segments, with_pitch: bool) -> NetworkCard:
    card = plain_card(name, segments)
    return replace(card, classes=(*card.classes, *PITCH_CLASSES)) if with_pitch else card


def _with_second_head(learner: Learner, segments: Segments) -> Learner:
    """Return a learner whose module has a second head; it cannot be attacked, which takes one class each."""
    return replace(
        learner,
        loss=two_head_loss(len(segments.classes)),
        hear=first_head_hearing(learner.plain, segments),
        silence=None,
    )
