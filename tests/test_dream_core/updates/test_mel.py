"""The update `mel`: ascent on what the network looks at, and back to sound."""

from __future__ import annotations

from functools import partial
from typing import Any

import librosa
import numpy as np
import pytest
import torch
from helpers.nets import KeyNet, MelNet, SmallNet

from dream_core import DreamSettings, FrontendSpec, dream, load_network, open_stream
from dream_core.errors import SettingError
from dream_core.loop.pending_steps import StepReport
from dream_core.loop.windows import WindowSchedule
from dream_core.networks.card import Network
from dream_core.objectives.listener import Listener
from dream_core.objectives.parse import parse_objective

RATE = 44100
FREE: dict[str, Any] = {
    "motion": 1.0, "smooth_frames": 3.0, "smooth_bins": 1.5, "context": False, "jitter": False
}  # fmt: skip


def make_sound(seconds: float = 1.5, kind: str = "chord") -> np.ndarray:
    rng = np.random.default_rng(4)
    t = np.arange(round(seconds * RATE)) / RATE
    noise = 0.1 * rng.standard_normal(len(t))
    partials = sum(np.sin(2 * np.pi * f * k * t) / k for f in (196, 247, 294) for k in range(1, 12))
    glide = np.sin(2 * np.pi * (300 * t + 200 * t**2)) + 0.5 * np.sin(4 * np.pi * (300 * t + 200 * t**2))
    sounds = {"chord": 0.05 * partials + 0.02 * noise, "noise": noise, "glide": 0.2 * glide + 0.02 * noise}
    return sounds[kind][None].astype(np.float32)


def level_db(x: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(x.astype(np.float64) ** 2) + 1e-20))


def score(sound: np.ndarray, network: Network, objective: str) -> float:
    listener = Listener(network, parse_objective(objective), RATE)
    with torch.no_grad():
        return float(listener.score(torch.from_numpy(sound).mean(dim=0, keepdim=True))[0])


def test_depth_zero_is_the_input_and_edges_are_exact() -> None:
    """A passage of depth 8 changes nothing before its first and after its last sample."""
    sound = make_sound()
    depth = np.zeros(sound.shape[1])
    depth[20000:30000] = 8.0
    out = dream(sound, RATE, MelNet(), DreamSettings(objective="layer:second", update="mel"), depth)

    np.testing.assert_array_equal(out[:, :20000], sound[:, :20000])
    np.testing.assert_array_equal(out[:, 30000:], sound[:, 30000:])
    assert np.abs(out - sound)[:, 20000:30000].max() > 0.01


@pytest.mark.parametrize("depth", [3.0, 2.4, "ramp"])
def test_only_steps_that_are_heard_become_sound(monkeypatch: pytest.MonkeyPatch, depth: object) -> None:
    """Turning every step into sound changes no bit, and takes more turns: one is enough for whole depths."""
    sound = make_sound(3.0)
    steps = np.linspace(0, 5, sound.shape[1]) if depth == "ramp" else np.full(sound.shape[1], depth)
    settings = DreamSettings(objective="layer:second", update="mel", window_s=1.0)
    asked = WindowSchedule.needs_sound
    heard: list[bool] = []
    monkeypatch.setattr(
        WindowSchedule, "needs_sound", lambda self, i: heard.append(asked(self, i)) or heard[-1]
    )
    lazy = dream(sound, RATE, MelNet(), settings, steps, batch=2)
    monkeypatch.setattr(WindowSchedule, "needs_sound", lambda _self, _i: True)
    eager = dream(sound, RATE, MelNet(), settings, steps, batch=2)

    np.testing.assert_array_equal(lazy, eager)
    if depth == 3.0:
        assert sum(heard) * 3 == len(heard)


def test_fractional_depth_is_a_blend_of_whole_ones() -> None:
    sound, settings = make_sound(), DreamSettings(objective="layer:second", update="mel")
    two, three, between = (dream(sound, RATE, MelNet(), settings, depth) for depth in (2.0, 3.0, 2.25))

    # Sums of float32.
    np.testing.assert_allclose(between, two + 0.25 * (three - two), atol=1e-6)


def test_blocks_and_batches_change_nothing() -> None:
    sound, settings = make_sound(4.0), DreamSettings(objective="class:auto", update="mel", window_s=1.0)
    whole = dream(sound, RATE, MelNet(), settings, 4.0, batch=3)
    stream = open_stream(MelNet(), settings, RATE, 1, batch=3)
    pieces = [
        stream.push(torch.from_numpy(sound[:, a : a + 7001]), torch.full((len(sound[0, a : a + 7001]),), 4.0))
        for a in range(0, sound.shape[1], 7001)
    ]

    np.testing.assert_array_equal(torch.cat([*pieces, stream.finish()], 1).numpy(), whole)


@pytest.mark.parametrize("kind", ["chord", "noise", "glide"])
@pytest.mark.parametrize("objective", ["layer:block2", "layer:block3"])
def test_most_of_what_the_frames_gained_is_heard(kind: str, objective: str) -> None:
    """Of what 40 steps gain on the frames at least three quarters are in the sound, as loud as before."""
    network, sound = load_network("timbre"), make_sound(1.15, kind)
    told: list[StepReport] = []
    settings = DreamSettings(objective=objective, update="mel", **FREE)
    out = dream(sound, RATE, network, settings, 41.0, on_step=told.append)
    start, frames, made = score(sound, network, objective), told[-1].score, score(out, network, objective)

    assert told[0].score == pytest.approx(start, abs=1e-4)
    assert frames > start
    assert made - start >= 0.75 * (frames - start)
    assert abs(level_db(out) - level_db(sound)) < 3.0


@pytest.mark.parametrize("way", ["griffin_lim", "griffin_lim_random"])
def test_other_ways_back_are_heard_too(way: str) -> None:
    """Phases that fit the frames carry the dream as well; the sound's own phases are where they say."""
    network, sound = load_network("timbre"), make_sound(1.15)
    settings = DreamSettings(
        objective="class:flute", update="mel", resynthesis=way, guard=False, peak_guard=0.0, **FREE
    )
    out = dream(sound, RATE, network, settings, 30.0)
    still = dream(sound, RATE, network, DreamSettings(**{**vars_of(settings), "step": 0.0}), 1.0)

    assert score(out, network, "class:flute") > score(sound, network, "class:flute") + 2.0
    alike = np.corrcoef(still[0, 5000:-5000], sound[0, 5000:-5000])[0, 1]
    assert alike > 0.8 if way == "griffin_lim" else alike < 0.5


def vars_of(settings: DreamSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in DreamSettings.names()}


def test_nothing_outside_the_band_is_touched() -> None:
    """With a band of 500 Hz to 3 kHz, bass and air keep their level to a tenth of a decibel."""
    sound = make_sound(kind="noise")
    settings = DreamSettings(objective="layer:second", update="mel", low_hz=500.0, high_hz=3000.0)
    out = dream(sound, RATE, MelNet(), settings, 10.0)
    frequencies = np.fft.rfftfreq(sound.shape[1], 1 / RATE)
    before, after = (np.abs(np.fft.rfft(x[0] * np.hanning(x.shape[1]))) ** 2 for x in (sound, out))
    for low, high in ((30, 350), (4500, 20000)):
        inside = (frequencies >= low) & (frequencies <= high)
        assert abs(10 * np.log10(after[inside].sum() / before[inside].sum())) <= 0.1


def test_no_seam_is_heard_where_windows_meet() -> None:
    """Above the network's band the change is below -80 dB of the sound at window edges."""
    sound = make_sound(4.0)
    settings = DreamSettings(objective="layer:second", update="mel", window_s=1.0)
    change = dream(sound, RATE, MelNet(), settings, 10.0) - sound
    hop = round((1.0 - settings.cross_fade_s) * RATE)
    for edge in range(hop, sound.shape[1] - 4096, hop):
        part = change[0, edge - 1024 : edge + 1024] * np.hanning(2048)
        spectrum = np.abs(np.fft.rfft(part)) ** 2
        above = np.fft.rfftfreq(2048, 1 / RATE) > 9000
        own = np.abs(np.fft.rfft(sound[0, edge - 1024 : edge + 1024] * np.hanning(2048))) ** 2
        assert 10 * np.log10(spectrum[above].sum() / own.sum()) <= -80.0


def test_linked_stereo_keeps_the_image() -> None:
    """A sound at half its level in the other channel stays there."""
    sound = np.concatenate([make_sound(), 0.5 * make_sound()])
    out = dream(sound, RATE, MelNet(), DreamSettings(objective="layer:second", update="mel"), 6.0)

    np.testing.assert_allclose(out[1], 0.5 * out[0], atol=1e-5)


def test_a_moving_step_is_heard_where_it_moves() -> None:
    sound = make_sound(3.0)
    n = sound.shape[1]
    settings = DreamSettings(objective="layer:second", update="mel", motion=1.0)
    stream = open_stream(MelNet(), settings, RATE, 1)
    lanes = {"step": torch.where(torch.arange(n) < n // 2, 1.0, 0.0)}
    depth = torch.full((n,), 6.0, dtype=torch.float64)
    out = torch.cat([stream.push(torch.from_numpy(sound), depth, lanes), stream.finish()], 1).numpy()
    change = out - sound

    # Past the frames that straddle the edge.
    assert level_db(change[:, : n // 2 - 4096]) > level_db(change[:, n // 2 + 4096 :]) + 40


ADD = FrontendSpec(
    sample_rate=22050,
    window_samples=2048,
    hop_samples=512,
    n_fft=2048,
    n_mels=300,
    f_min_hz=0.0,
    f_max_hz=11025.0,
    patch_frames=44,
    patch_hop_frames=44,
    mel="slaney",
    power=2,
    centred=True,
    compress="none",
)
"""The front end of the dissertation: power mel, no logarithm, a second at a time."""


def test_the_published_chain_is_the_published_algorithm() -> None:
    """Picture, ascent and clipping are librosa's and a plain loop's; the sound fits the picture as well."""
    rng = np.random.default_rng(1)
    t = np.arange(22050) / 22050
    sound = 0.002 * sum(np.sin(2 * np.pi * f * t) for f in (220.0, 330.0, 1200.0))
    sound = (sound + 2e-4 * rng.standard_normal(22050)).astype(np.float32)
    network = MelNet(seed=3, spec=ADD)
    mel_of = partial(librosa.feature.melspectrogram, sr=22050, n_fft=2048, hop_length=512, n_mels=300)

    picture = np.clip(mel_of(y=sound), 0.0, 1.0)
    start = picture.copy()
    for _ in range(8):
        leaf = torch.from_numpy(picture.T[None].copy()).requires_grad_(True)
        first = network.small.act(network.small.first(leaf[:, None]))
        (gradient,) = torch.autograd.grad(network.small.second(first).mean(), leaf)
        ascended = leaf + 0.2 * gradient / torch.linalg.vector_norm(gradient)
        picture = ascended.clamp(0.0, 1.0)[0].detach().numpy().T

    settings = DreamSettings(
        objective="layer:second", update="mel", resynthesis="griffin_lim_full", step=0.2, window_s=1.0,
        jitter=False, context=False, guard=False, peak_guard=0.0,
    )  # fmt: skip
    stream = open_stream(network, settings, 22050, 1)
    kept: dict[str, torch.Tensor] = {}
    own_step = stream._update.step

    def step(window: object, state: object) -> object:
        result = own_step(window, state)  # type: ignore[arg-type]
        kept.update(result[1])
        return result

    stream._update = type("Spy", (), {"step": staticmethod(step), "begin": stream._update.begin})()
    made = torch.cat(
        [stream.push(torch.from_numpy(sound[None]), torch.full((22050,), 8.0)), stream.finish()], 1
    ).numpy()

    # float32 sums of 2049 squares on both sides.
    np.testing.assert_allclose(kept["frames"][0].numpy().T, picture, atol=2e-4)
    assert np.abs(picture - start).max() > 0.01
    theirs = librosa.feature.inverse.mel_to_audio(picture, sr=22050, n_fft=2048, hop_length=512, length=22050)
    distances = [np.linalg.norm(mel_of(y=one) - picture) for one in (made[0], theirs)]
    assert distances[0] <= 1.1 * distances[1]


@pytest.mark.parametrize(
    ("network", "changes", "message"),
    [
        (KeyNet(), {}, "looks at the waveform"),
        (SmallNet(), {}, "does not offer them"),
        (MelNet(), {"varispeed_octaves": 0.5}, "varispeed_octaves = 0.5, 0 is accepted"),
        (MelNet(), {"objective": "layer:second + timbre@layer:block3"}, "mel and timbre"),
        (MelNet(), {"resynthesis": "griffin"}, "griffin_lim"),
    ],
)
def test_what_has_no_frames_is_said(network: Network, changes: dict[str, object], message: str) -> None:
    objective = "layer:frames" if isinstance(network, KeyNet) else "layer:second"
    given: dict[str, Any] = {"objective": objective, "update": "mel", **changes}
    with pytest.raises(SettingError, match=message):
        open_stream(network, DreamSettings(**given), RATE, 1)
