"""What is seen and heard of a stem: before, after and what was added."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from bridge.arrays import BLOCK_SAMPLES
from bridge.audio.alignment import AlignedReader
from bridge.audio.preview import encode_preview
from bridge.audio.reader import AudioReader
from bridge.plan.model import StemPlan
from bridge.render.stem_input import SilentReader, open_stem_sound
from bridge.report.pictures import SoundPicture, SoundPictureMaker

__all__ = ["VIEWS", "StemView", "look_at_output", "look_at_stem"]

VIEWS: Final = {"before": "Before", "after": "After", "difference": "Difference"}
"""What is looked at, and what it is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StemView:
    """What is seen and heard of a stem: three pictures, and the stretch where most was changed."""

    pictures: Mapping[str, SoundPicture]
    duration_s: float
    preview_start_s: float
    preview_s: float
    before: bytes
    after: bytes


def look_at_stem(plan: StemPlan, gain_db: float, preview_s: float) -> StemView:
    """Read both files of a stem once for the pictures, then the stretch to listen to.

    Args:
        plan: Of the stem.
        gain_db: What was applied to the output; it is taken out before the difference is made.
        preview_s: How much can be listened to.
    """
    inverse_gain = 10.0 ** (-gain_db / 20.0)
    rate = plan.sample_rate
    with open_stem_sound(plan) as source, AudioReader(plan.target) as output:
        n_samples = max(source.n_samples, output.info.n_samples)
        makers = {name: SoundPictureMaker(n_samples, rate) for name in VIEWS}
        for blocks in _three(source, output, inverse_gain, n_samples, plan.n_channels):
            for name, block in blocks.items():
                makers[name].push(block)
        pictures = {name: maker.result() for name, maker in makers.items()}
        n_preview = min(n_samples, round(preview_s * rate))
        start = _busiest_start(pictures["difference"], n_samples, n_preview)
        n_channels = max(plan.n_channels, output.info.n_channels)
    with open_stem_sound(plan) as source, AudioReader(plan.target) as output:
        sounds = []
        for reader in (source, output):
            _skip(reader, start)
            sounds.append(encode_preview(_padded(reader.read(n_preview), n_channels, n_preview), rate))
    return StemView(
        pictures=pictures,
        duration_s=n_samples / rate,
        preview_start_s=start / rate,
        preview_s=n_preview / rate,
        before=sounds[0],
        after=sounds[1],
    )


def look_at_output(path: Path, view: StemView) -> tuple[SoundPicture, bytes]:
    """Return the picture of another output of a stem, and the stretch of it that the stem is heard in."""
    with AudioReader(path) as output:
        rate = output.info.sample_rate
        n_samples, n_channels = round(view.duration_s * rate), output.info.n_channels
        n_preview = round(view.preview_s * rate)
        maker = SoundPictureMaker(n_samples, rate)
        for _ in range(0, n_samples, BLOCK_SAMPLES):
            maker.push(output.read(BLOCK_SAMPLES))
    with AudioReader(path) as output:
        _skip(output, round(view.preview_start_s * rate))
        heard = _padded(output.read(n_preview), n_channels, n_preview)
    return maker.result(), encode_preview(heard, rate)


def _skip(reader: AlignedReader | SilentReader | AudioReader, n_samples: int) -> None:
    for position in range(0, n_samples, BLOCK_SAMPLES):
        reader.read(min(BLOCK_SAMPLES, n_samples - position))


def _busiest_start(difference: SoundPicture, n_samples: int, n_preview: int) -> int:
    """Return where the stretch with most difference begins."""
    energy = np.maximum(difference.highs, -difference.lows) ** 2
    width = max(1, round(len(energy) * n_preview / n_samples))
    sums = np.convolve(energy, np.ones(width), mode="valid")
    return min(int(sums.argmax()) * n_samples // len(energy), n_samples - n_preview)


def _three(
    source: AlignedReader | SilentReader,
    output: AudioReader,
    inverse_gain: float,
    n_samples: int,
    n_source_channels: int,
) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
    n_channels = max(n_source_channels, output.info.n_channels)
    for start in range(0, n_samples, BLOCK_SAMPLES):
        width = min(BLOCK_SAMPLES, n_samples - start)
        before = _padded(source.read(width), n_channels, width)
        after = _padded(output.read(width), n_channels, width)
        difference = (after * inverse_gain - before).astype(np.float32)
        yield {"before": before, "after": after, "difference": difference}


def _padded(block: npt.NDArray[np.float32], n_channels: int, width: int) -> npt.NDArray[np.float32]:
    if block.shape[0] == 1 and n_channels > 1:
        block = np.repeat(block, n_channels, axis=0)
    missing = (n_channels - block.shape[0], width - block.shape[1])
    return np.pad(block, ((0, missing[0]), (0, missing[1])))
