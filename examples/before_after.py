"""Draw each stem of a render before and after, with the depth of its dream under it.

python examples/before_after.py examples/out/lucid-bloom/lucid-bloom.manifest.json
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import soundfile

import bridge

mpl.use("Agg")
from matplotlib import pyplot as plt


def spectrogram_db(path: str, n_fft: int = 2048, hop_samples: int = 512) -> np.ndarray:
    """Return a spectrogram of the mono sum, (bins, frames)."""
    mono = soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1)
    frames = np.lib.stride_tricks.sliding_window_view(mono, n_fft)[::hop_samples]
    return 20 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(n_fft))).T + 1e-5)


def draw(plan: bridge.Plan, stem_index: int, picture: Path) -> None:
    """Draw one stem."""
    stem = plan.stems[stem_index]
    envelopes = bridge.stem_envelopes(plan, stem, plan.load_midi())
    figure, (before, after, depth) = plt.subplots(
        3, 1, sharex=True, figsize=(12, 8), height_ratios=(3, 3, 1), layout="constrained"
    )
    for axes, path, title in ((before, stem.source, "before"), (after, stem.target, "after")):
        picture_db = spectrogram_db(path)
        extent = (0.0, stem.duration_s, 0.0, stem.sample_rate / 2000)
        axes.imshow(picture_db, origin="lower", aspect="auto", extent=extent, vmin=-70, vmax=40, cmap="magma")
        axes.set(ylim=(0, min(11.0, stem.sample_rate / 2000)), ylabel="kHz", title=f"{stem.name}, {title}")
    for node_id, parameter in envelopes.moving:
        if parameter == "depth":
            values = envelopes.values(node_id, parameter, 0, stem.n_samples)[::64]
            depth.plot(np.arange(len(values)) * 64 / stem.sample_rate, values, lw=0.8, label=node_id)
    for marker in plan.tempo_map.markers:
        depth.axvline(marker.time_s, color="grey", lw=0.5)
        depth.annotate(marker.name, (marker.time_s, 0.0), fontsize=7, rotation=90)
    depth.set(xlabel="seconds", ylabel="depth, steps")
    depth.set_ylim(bottom=0.0)
    figure.suptitle(plan.preset.meta.name)
    figure.savefig(picture, dpi=80)
    plt.close(figure)


def main(argv: list[str]) -> None:
    """Draw every stem of every render whose manifest is named."""
    for manifest in map(Path, argv):
        plan = bridge.read_manifest(manifest).plan
        for i, stem in enumerate(plan.stems):
            picture = manifest.with_name(f"{stem.name}.png")
            draw(plan, i, picture)
            print(picture)


if __name__ == "__main__":
    main(sys.argv[1:])
