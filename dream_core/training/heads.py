"""The two heads of `timbre`: one trained under attack, one fitted on notes as they are."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dream_core.networks.mel_cnn import MelCnn
from dream_core.networks.timbre import CLASSES, SPEC
from dream_core.objectives.taps import tap
from dream_core.training import augmentation
from dream_core.training.notes import NoteTable
from dream_core.training.sampler import NoteSampler

__all__ = ["from_onset", "head_features", "join_heads", "refit_head"]

_HEAD_NOTES = 16000
"""The plain head is fitted on so many notes as they are."""


def from_onset(notes: NoteTable, rows: NDArray[np.int64]) -> Tensor:
    """Return notes from their onset, a patch long, at -20 dBFS RMS."""
    sounds = notes.waveforms[rows, : SPEC.frontend.patch_samples].astype(np.float32) / 32768.0
    return augmentation.level_to(torch.from_numpy(sounds), torch.tensor(-20.0))


def join_heads(first: MelCnn, second: MelCnn, share: float) -> MelCnn:
    """Return a network of the first one's blocks whose logits are its own and a share of the second's.

    The head that was trained under attack is hard to fool, the one fitted on sounds as they are knows those
    better; a dream has to convince both.

    Args:
        first: A network of one head.
        second: Another head on the same blocks.
        share: How much its logits count.
    """
    joined = MelCnn(first.card, replace(first.shape, n_embedding=2 * first.shape.n_embedding)).to(
        first.logits.weight
    )
    joined.blocks.load_state_dict(first.blocks.state_dict())
    one, other = cast(nn.Linear, first.embedding[0]), cast(nn.Linear, second.embedding[0])
    embedding = cast(nn.Linear, joined.embedding[0])
    with torch.no_grad():
        embedding.weight.copy_(torch.cat([one.weight, other.weight]))
        embedding.bias.copy_(torch.cat([one.bias, other.bias]))
        joined.logits.weight.copy_(torch.cat([first.logits.weight, share * second.logits.weight], dim=1))
        joined.logits.bias.copy_(first.logits.bias + share * second.logits.bias)
    return joined.eval()


def head_features(
    network: MelCnn, notes: NoteTable, sampler: NoteSampler, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the last block makes of notes as they are and of gently changed chords.

    Returns:
        Features, targets, and weights: families count alike, and presets within a family.
    """
    rows = np.flatnonzero(~notes.held_out)
    rows = np.random.default_rng(seed).choice(rows, min(_HEAD_NOTES, len(rows)), replace=False)
    families, presets = torch.from_numpy(notes.families[rows]), torch.from_numpy(notes.presets[rows])
    shares = 1.0 / torch.bincount(presets)[presets]
    shares = shares / torch.zeros(len(CLASSES)).index_add(0, families, shares)[families]
    features = [
        _pooled(network, from_onset(notes, rows[first : first + 64])) for first in range(0, len(rows), 64)
    ]
    targets = [nn.functional.one_hot(families, len(CLASSES)).float()]
    weights = [shares / shares.mean()]
    for sounds, mixed in sampler.batches(min(120, len(features) // 2), seed, 1_000_000, 0.25):
        features.append(_pooled(network, sounds))
        targets.append(mixed)
        weights.append(torch.ones(len(mixed)))
    return torch.cat(features), torch.cat(targets), torch.cat(weights)


def _pooled(network: MelCnn, sounds: Tensor) -> Tensor:
    last_block = f"block{len(network.blocks)}"
    with torch.no_grad(), tap(network, [last_block]) as heard:
        network(network.log_mel(sounds))
    return heard[last_block].mean(dim=2).flatten(1)


def refit_head(
    network: MelCnn, features: Tensor, targets: Tensor, weights: Tensor, seed: int, n_steps: int = 150
) -> None:
    """Fit embedding and logits anew, noise added to the features.

    The blocks learn most from sounds changed out of recognition, the last two layers from sounds as played.
    """
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    mean, deviation = features.mean(dim=0), features.std(dim=0) + 1e-5
    head = nn.Sequential(nn.Linear(features.shape[1], network.shape.n_embedding), nn.SiLU())
    head.append(nn.Linear(network.shape.n_embedding, len(CLASSES)))
    optimiser = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.3)
    scaled = (features - mean) / deviation
    for _ in range(n_steps):
        noisy = scaled + 0.5 * torch.randn(scaled.shape, generator=generator)
        losses = nn.functional.cross_entropy(head(noisy), targets, label_smoothing=0.1, reduction="none")
        optimiser.zero_grad()
        torch.autograd.backward((losses * weights).mean())
        optimiser.step()
    first, last = cast(nn.Linear, head[0]), cast(nn.Linear, head[2])
    embedding = cast(nn.Linear, network.embedding[0])
    with torch.no_grad():
        embedding.weight.copy_(first.weight / deviation)
        embedding.bias.copy_(first.bias - first.weight @ (mean / deviation))
    network.logits.load_state_dict(last.state_dict())
