"""Draw the pictures of docs/dreamsound.md: a dream at several depths, and three layers added up.

    python docs/figures/dreamsound.py

Wants yamnet's weights (`reverie networks get yamnet`) and matplotlib. The sound is four seconds of the
examples' lead.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from dream_core import DreamSettings, dream, load_network, open_stream

FloatArray = npt.NDArray[np.float32]
HERE = Path(__file__).parent
LEAD = HERE.parents[1] / "examples" / "song" / "lead.flac"
PART_S = (18.0, 22.0)
DEPTHS = (1, 2, 5, 10, 20)
LAYERS = ("global_average_pooling2d", "dense", "activation")
TOP_HZ = 8000


def draw(name: str, sounds: Sequence[tuple[str, FloatArray]], rate: int) -> None:
    """Draw spectrograms beside each other, in few colours, so that the picture is small."""
    figure = Figure(figsize=(8, 3.8), dpi=90)
    for index, (title, sound) in enumerate(sounds):
        axes = figure.add_subplot(2, 3, index + 1)
        axes.specgram(sound[0] + 1e-7, NFFT=1024, noverlap=512, Fs=rate, vmin=-130, vmax=-40, cmap="magma")
        axes.set_ylim(0, TOP_HZ)
        axes.set_title(title, fontsize=8)
        axes.tick_params(labelsize=6)
    figure.tight_layout()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    picture.quantize(48).save(HERE / name, optimize=True)


def main() -> None:
    """Dream and draw."""
    network = load_network("yamnet")
    stem, rate = soundfile.read(LEAD, dtype="float32", always_2d=True)
    sound = np.ascontiguousarray(stem.T[:1, round(PART_S[0] * rate) : round(PART_S[1] * rate)])
    n_samples = sound.shape[1]

    stream = open_stream(network, DreamSettings(update="add"), rate, 1, ladder=DEPTHS)
    rungs: dict[int, list[torch.Tensor]] = {depth: [] for depth in DEPTHS}
    last = [stream.push(torch.from_numpy(sound), torch.full((n_samples,), float(max(DEPTHS))))]
    kept = [stream.take_ladder()]
    last.append(stream.finish())
    kept.append(stream.take_ladder())
    for pieces in kept:
        for depth, piece in pieces.items():
            rungs[depth].append(piece)
    ladder = [(f"add, {depth} steps", torch.cat(pieces, 1).numpy()) for depth, pieces in rungs.items()]
    draw("dreamsound_depths.png", [("lead", sound), *ladder], rate)

    settings = {
        layer: DreamSettings(objective=f"channel:{layer}:auto", update="gradient") for layer in LAYERS
    }
    dreams = [dream(sound, rate, network, one, 20.0) for one in settings.values()]
    shown = [(f"gradient, 20 steps, {layer}", one) for layer, one in zip(LAYERS, dreams, strict=True)]
    whole, changes = np.mean(dreams, axis=0), sound + np.sum([one - sound for one in dreams], axis=0)
    draw(
        "dreamsound_layers.png",
        [("lead", sound), *shown, ('sum = "sounds"', whole), ('sum = "changes"', changes)],
        rate,
    )


if __name__ == "__main__":
    main()
