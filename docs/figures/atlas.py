"""Draw the picture of docs/atlas.md: what channels of `timbre`'s second layer want to hear.

python docs/figures/atlas.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

from bridge.report.atlas import AtlasRequest, draw_atlas

mpl.use("Agg")
from matplotlib import pyplot as plt

CHANNELS = (0, 3, 6, 8, 12, 18, 24, 30, 32, 36, 40, 42)


def main() -> None:
    """Dream twelve channels and draw their spectrograms beside each other."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "atlas"
        entries = draw_atlas(AtlasRequest(network="timbre", layer="block2", numbers=CHANNELS), out)
        figure, axes = plt.subplots(3, 4, figsize=(9.0, 4.6), layout="constrained")
        for panel, entry in zip(axes.flat, entries, strict=True):
            panel.imshow(plt.imread(out / entry.picture), aspect="auto", interpolation="antialiased")
            scores = f"{entry.score_before:.2f} → {entry.score_after:.2f}"
            panel.set_title(f"{entry.name}: {scores}", fontsize=8)
            panel.set_axis_off()
        figure.set_dpi(72)
        figure.canvas.draw()
        drawn = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
        # Few colours: the page of a repository is not to weigh more than its text.
        drawn.quantize(40).save(Path(__file__).with_name("atlas.png"), optimize=True)


if __name__ == "__main__":
    main()
