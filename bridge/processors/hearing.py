"""What a network hears in a stem over time: its classes, or the channels of a layer, patch by patch.

What is heard does not depend on the blocks a sound comes in: the resampler's stream is exact however it is
cut, and so is the listener. Memory does not grow with the file but for what is heard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch

from bridge.arrays import AudioArray
from bridge.audio.reader import AudioReader, read_info
from bridge.envelopes.hearing import HeardCurve, HearingMeasure
from bridge.envelopes.schema import Hearing
from bridge.errors import AudioFileError, InputError, ProcessorError
from bridge.processors.dream_needs import border, check_installed
from bridge.processors.heard_sound import HeardSound
from dream_core.networks.card import Network, NetworkCard
from dream_core.networks.registry import get_card, load_network
from dream_core.objectives.classes import class_index
from dream_core.objectives.hear_patches import (
    HeardPatches,
    PatchListener,
    check_heard,
    choose_patch_hop,
    join_patches,
)
from dream_core.runtime import resolve_device, set_threads

__all__ = ["check_hearing", "hear_blocks", "hear_curves", "hear_files", "open_ear"]

Report = Callable[[Path, float], None]
"""Is told which file is heard, and how many seconds of it have been."""


def open_ear(
    name: str, *, layer: str = "", patch_hop: int = 0, device: str = "cpu", threads: int | None = None
) -> Network:
    """Load a network that is to hear, having seen that it can.

    Args:
        name: As ``reverie networks list`` has it, or the path of its file.
        layer: The layer it is to tell of; empty for its classes.
        patch_hop: From one patch to the next, in its frames; 0 takes enough for four a second.
        device: Where it runs: ``cpu``, ``cuda`` and the like, or ``auto``.
        threads: Torch's on the CPU; None leaves them as they are.

    Raises:
        ProcessorError: Its weights are not installed, or it cannot tell what is asked for.
        DreamError: The network or the device is not there.
    """
    card = get_card(name)
    check_installed([name], "hearing")
    check_heard(card, layer)
    choose_patch_hop(card, patch_hop)
    if threads is not None:
        set_threads(threads)
    return load_network(name, device=resolve_device(device))


def hear_blocks(
    blocks: Iterable[AudioArray], sample_rate: int, network: Network, *, layer: str = "", patch_hop: int = 0
) -> HeardSound:
    """Hear a sound that comes in blocks; its channels are heard together.

    Args:
        blocks: ``(channels, samples)`` float32 arrays in order, of any lengths.
        sample_rate: Hz.
        network: From `open_ear`.
        layer: The layer whose channels are told; empty for the classes.
        patch_hop: From one patch to the next, in the network's frames; 0 takes enough for four a second.
    """
    listener = PatchListener(network, layer, patch_hop)
    rate = network.card.sample_rate
    resampler: Any = None
    if rate != sample_rate:
        resampler = soxr.ResampleStream(sample_rate, rate, 1, dtype="float32", quality="HQ")
    pieces: list[HeardPatches] = []
    n_samples = 0
    for block in blocks:
        mono = block.mean(axis=0)
        n_samples += len(mono)
        heard = mono if resampler is None else resampler.resample_chunk(mono)
        pieces += listener.push(torch.from_numpy(heard))
    if resampler is not None and n_samples:
        rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        pieces += listener.push(torch.from_numpy(rest))
    pieces += listener.finish()
    joined = join_patches(pieces, len(listener.names))
    return HeardSound(
        names=listener.names,
        middles_s=joined.middles_s.numpy(),
        values=joined.values.double().numpy(),
        energy=joined.energy.double().numpy(),
        hop_s=listener.hop_s,
        duration_s=n_samples / sample_rate,
    )


def hear_files(
    paths: Sequence[Path],
    network: Network,
    *,
    layer: str = "",
    patch_hop: int = 0,
    report: Report | None = None,
) -> list[HeardSound]:
    """Hear files one after another, each at its own rate and from its own start.

    Args:
        paths: The files.
        network: From `open_ear`.
        layer: As `hear_blocks` takes it.
        patch_hop: As `hear_blocks` takes it.
        report: Is told how far it has come.

    Raises:
        AudioFileError: Some cannot be read; all of those are named.
    """
    tell = report or (lambda _path, _done_s: None)
    _check_files(paths)
    heard = []
    for path in paths:
        with AudioReader(path) as reader:
            rate = reader.info.sample_rate
            sound = _told(reader, path, rate, tell)
            heard.append(hear_blocks(sound, rate, network, layer=layer, patch_hop=patch_hop))
    return heard


def _check_files(paths: Sequence[Path]) -> None:
    """Say which files cannot be read, all at once, before any is heard."""
    wrong = []
    for path in paths:
        try:
            read_info(path)
        except InputError as error:
            wrong.append(error)
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        shown = "; ".join(str(error) for error in wrong)
        raise AudioFileError(f"{len(wrong)} of {len(paths)} stems cannot be heard: {shown}")


def hear_curves(
    blocks: Iterable[AudioArray], sample_rate: int, network: Network, measures: Sequence[HearingMeasure]
) -> dict[HearingMeasure, HeardCurve]:
    """Hear a sound for modulators, in one pass.

    Args:
        blocks: As `hear_blocks` takes them.
        sample_rate: Hz.
        network: From `open_ear`.
        measures: What is listened for; all by that network, in one layer and with one hop.
    """
    first = measures[0]
    heard = hear_blocks(blocks, sample_rate, network, layer=first.layer, patch_hop=first.patch_hop)
    return {
        measure: HeardCurve(
            values=np.ascontiguousarray(heard.values[:, _column(measure, network.card)]),
            first_s=network.card.patch_s / 2.0,
            hop_s=heard.hop_s,
        )
        for measure in measures
    }


def check_hearing(modulator: Hearing) -> None:
    """Say now what does not fit: a network, class, layer, channel or hop that there is not. Loads no weights.

    Raises:
        ProcessorError: It does not.
    """
    where = f"modulator {modulator.id!r}"
    with border(where):
        card = get_card(modulator.network)
        names = check_heard(card, modulator.layer or "")
        choose_patch_hop(card, modulator.patch_hop)
        if modulator.class_name is not None:
            class_index(modulator.class_name, card)
    if modulator.channel is not None and modulator.channel >= len(names):
        raise ProcessorError(
            f"{where}: channel = {modulator.channel}; layer {modulator.layer!r} of network {card.name!r} has "
            f"{len(names)} channels, so 0..{len(names) - 1} is accepted"
        )


def _column(measure: HearingMeasure, card: NetworkCard) -> int:
    return class_index(measure.class_name, card) if measure.class_name else measure.channel


def _told(reader: AudioReader, path: Path, rate: int, tell: Report) -> Iterator[AudioArray]:
    n_samples = 0
    for block in reader:
        yield block
        n_samples += block.shape[1]
        tell(path, n_samples / rate)
