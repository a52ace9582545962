"""What the published musicnn gives for seeded inputs; needs its package, TensorFlow and librosa, not Reverie.

    python -m venv V && V/bin/pip install 'tensorflow-cpu==2.15.*' 'numpy<2' librosa
    V/bin/pip install --no-deps musicnn==0.1.0
    V/bin/python tests/golden/musicnn_vectors.py       writes musicnn.npz

The published graph (its ``models.py``) is run in float64 on the published weights, which are float32: what
differs from it by more than rounding in float64 is another network. The front end is librosa's, as
``extractor.py`` calls it, without its detour through float16.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

FILE = Path(__file__).with_name("musicnn.npz")
MODELS = {"mtt": "MTT_musicnn", "msd": "MSD_musicnn"}
LAYERS = ("timbral", "temporal", "cnn1", "cnn2", "cnn3", "mean_pool", "max_pool", "penultimate")
EVERY = 62
"""Of layers with time, and of the gradient, so many frames are kept: one in `EVERY`."""
CLASS = 35
"""Whose logit the gradient is of: `choir` in one, `party` in the other."""

FloatArray = npt.NDArray[np.float64]


def make_patches() -> FloatArray:
    """Return two patches that fill the range of musicnn's log-mel bands, 0 to about 5."""
    return 5.0 * np.random.default_rng(0).random((2, 187, 96)) ** 3


def make_waveform() -> FloatArray:
    """Return 3.4 s at 16 kHz: partials that fade, over noise, with a stretch of digital silence."""
    n = 54321
    time_s = np.arange(n) / 16000
    tones = sum(np.sin(2 * np.pi * 196.0 * k * time_s) / k for k in range(1, 20))
    sound = 0.2 * tones * np.exp(-1.5 * (time_s % 0.8)) + 0.02 * np.random.default_rng(1).standard_normal(n)
    sound[20000:26000] = 0.0
    return np.asarray(sound)


def _published(model: str, patches: FloatArray) -> dict[str, FloatArray]:
    import musicnn
    import tensorflow as tf
    from musicnn import models

    tf1 = tf.compat.v1
    tf1.disable_eager_execution()
    tf1.reset_default_graph()
    tf.keras.backend.set_floatx("float64")
    x = tf1.placeholder(tf.float64, [None, 187, 96])
    logits, *layers = models.define_model(x, False, model, 50)
    gradient = tf.gradients(logits[:, CLASS], x)[0]
    # Its files have no name before the dot, so the folder and a slash are the checkpoint's whole name.
    checkpoint = tf1.train.NewCheckpointReader(f"{Path(musicnn.__file__).parent}/{model}/")
    with tf1.Session() as session:
        for variable in tf1.global_variables():
            variable.load(checkpoint.get_tensor(variable.name.split(":")[0]).astype(np.float64), session)
        heard = session.run([logits, *layers, gradient], {x: patches})
    names = ("logits", *LAYERS, "gradient")
    return {name: _thin(np.asarray(value)) for name, value in zip(names, heard, strict=True)}


def _thin(value: FloatArray) -> FloatArray:
    if value.ndim == 4:  # (n, frames, channels, 1)
        value = value[..., 0]
    if value.ndim == 3:
        return value[:, ::EVERY]
    return value[:, ::3] if value.shape[1] > 200 else value  # the pools


def main() -> None:
    """Write the file."""
    import librosa

    vectors = {}
    for key, model in MODELS.items():
        vectors |= {f"{key}_{name}": value for name, value in _published(model, make_patches()).items()}
    mel = librosa.feature.melspectrogram(y=make_waveform(), sr=16000, hop_length=256, n_fft=512, n_mels=96).T
    log_mel = np.log10(10000 * mel + 1)
    vectors["log_mel"] = log_mel[::9]
    vectors["mtt_logits_of_sound"] = _published("MTT_musicnn", log_mel[None, :187])["logits"]
    as_published = np.log10(10000 * mel.astype(np.float16) + 1)
    vectors["mtt_logits_of_sound_in_float16"] = _published("MTT_musicnn", as_published[None, :187])["logits"]
    np.savez_compressed(FILE, **{name: np.asarray(value, np.float32) for name, value in vectors.items()})


if __name__ == "__main__":
    main()
