"""The update `hear`: of a sound, what a network answers to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.nets import KeyNet, MelNet
from torch import Tensor, nn

from dream_core import DreamSettings, StepReport, Targets, dream, load_network, open_stream
from dream_core.errors import ObjectiveError, SettingError
from dream_core.networks.card import LayerInfo
from dream_core.objectives.answers import find_answers
from dream_core.objectives.ear import Ear
from dream_core.objectives.parse import parse_objective

RATE = 44100


class HalfNet(MelNet):
    """Channel 0 of its layer is the lower half of its bands, channel 1 the upper."""

    def __init__(self) -> None:
        super().__init__()
        self.halves = nn.Identity()
        self._card = replace(self._card, layers=(LayerInfo(name="halves", n_channels=2),))

    def layer_modules(self) -> Mapping[str, nn.Module]:
        return {"halves": self.halves}

    def forward(self, patches: Tensor) -> Tensor:
        x = patches - self.silence
        low = (torch.arange(x.shape[2]) < x.shape[2] // 2).to(x)
        halves = self.halves(torch.stack([x * low, x * (1 - low)], dim=1))
        return torch.cat([halves.mean(dim=(2, 3)), halves.mean(dim=(2, 3))[:, :1]], dim=1)


def two_tones(seconds: float = 2.0) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.2 * np.sin(2 * np.pi * 300 * t) + 0.2 * np.sin(2 * np.pi * 4000 * t))[None].astype(np.float32)


def level_at(sound: np.ndarray, hz: float) -> float:
    spectrum = np.abs(np.fft.rfft(sound[0] * np.hanning(sound.shape[1]))) ** 2
    near = np.abs(np.fft.rfftfreq(sound.shape[1], 1 / RATE) - hz) < 30
    return float(10 * np.log10(spectrum[near].sum() + 1e-20))


def heard(sound: np.ndarray, **changes: object) -> np.ndarray:
    given = {"objective": "channel:halves:0", "update": "hear", "jitter": False, **changes}
    return dream(sound, RATE, HalfNet(), DreamSettings(**given), 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "kept_hz"),
    [
        ({}, 300.0),
        ({"objective": "channel:halves:1"}, 4000.0),
        ({"update": "hear_inverted"}, 4000.0),
        ({"objective": "class:low"}, 300.0),
        ({"objective": "-1*channel:halves:0"}, 4000.0),
    ],
)
def test_only_what_the_network_answers_to_is_played(changes: dict[str, object], kept_hz: float) -> None:
    """The tone in the half that is asked for is 20 dB above the other's, and keeps its level to 3 dB."""
    sound = two_tones()
    out, other_hz = heard(sound, **changes), 4300.0 - kept_hz

    assert level_at(out, kept_hz) - level_at(out, other_hz) > 20.0
    assert abs(level_at(out, kept_hz) - level_at(sound, kept_hz)) < 3.0


def test_a_half_step_is_half_of_it() -> None:
    """Depth 0.5 lies halfway between the sound and what is heard of it; step 0.5 says the same."""
    sound = two_tones()
    settings = DreamSettings(objective="channel:halves:0", update="hear", jitter=False)
    whole, half = (dream(sound, RATE, HalfNet(), settings, depth) for depth in (1.0, 0.5))

    np.testing.assert_allclose(half, 0.5 * (sound + whole), atol=1e-6)
    np.testing.assert_allclose(heard(sound, step=0.5), half, atol=1e-5)


def test_sharpness_lowers_what_is_answered_less() -> None:
    rng = np.random.default_rng(0)
    sound = (0.1 * rng.standard_normal((1, RATE))).astype(np.float32)
    levels = [float(np.mean(heard(sound, sharpness=sharpness) ** 2)) for sharpness in (0.5, 1.0, 4.0)]

    assert levels[0] > levels[1] > levels[2]


def test_answers_are_grad_cam_written_out() -> None:
    """On one patch: the mean slope of each channel times the channel, summed."""
    network = MelNet()
    ear = Ear(network, parse_objective("logit:high").terms, 16000, {})
    mono = torch.randn(1, network.spec.patch_samples, generator=torch.Generator().manual_seed(2)) * 0.1
    ((answer,), _) = find_answers(ear, mono, 0)
    second = network.small.second(network.small.act(network.small.first(network.listen(mono)[0][:, None])))
    second = second.detach().requires_grad_(True)
    logit = network.small.head(network.small.act(second).mean(dim=(2, 3)))[0]
    (slope,) = torch.autograd.grad(logit[2], second)
    expected = (slope.mean(dim=(2, 3), keepdim=True) * second).sum(dim=1)

    torch.testing.assert_close(answer.values, expected.detach(), rtol=1e-4, atol=1e-7)


def test_blocks_change_nothing_and_silence_stays() -> None:
    sound = np.concatenate([two_tones(), np.zeros((1, RATE), np.float32)], axis=1)
    settings = DreamSettings(objective="channel:halves:0", update="hear", window_s=1.0)
    whole = dream(sound, RATE, HalfNet(), settings, 2.0)
    stream = open_stream(HalfNet(), settings, RATE, 1)
    n = sound.shape[1]
    pieces = [
        stream.push(torch.from_numpy(sound[:, a : a + 9999]), torch.full((min(9999, n - a),), 2.0))
        for a in range(0, n, 9999)
    ]

    np.testing.assert_array_equal(torch.cat([*pieces, stream.finish()], 1).numpy(), whole)
    assert not whole[:, 2 * RATE + 8192 :].any()


def test_the_silence_that_fills_a_window_up_has_no_say() -> None:
    """The end of a sound, half a window, is played as the same sound is that is a window by itself."""
    rng = np.random.default_rng(3)
    sound = (0.1 * rng.standard_normal((1, 3 * RATE))).astype(np.float32)
    settings = DreamSettings(
        objective="channel:second:3", update="hear", window_s=2.0, fade_s=0.01, jitter=False, context=False
    )
    whole = dream(sound, RATE, MelNet(), settings, 1.0)
    start = round(1.99 * RATE)
    alone = dream(sound[:, start:], RATE, MelNet(), settings, 1.0)

    # Past the cross-fade and the frames that reach over it.
    part = slice(8192, alone.shape[1] - 8192)
    apart = (whole[:, start:] - alone)[:, part]
    assert float(np.std(apart)) < 0.05 * float(np.std(alone[:, part]))


def test_a_trained_network_answers_in_places() -> None:
    """`timbre` answers to a class from its last block with places: the gain differs along time and bands."""
    network = load_network("timbre")
    ear = Ear(network, parse_objective("class:flute").terms, RATE, {})
    mono = torch.from_numpy(two_tones(1.0))
    values = find_answers(ear, mono, 0)[0][0].values

    assert values.shape[1] > 1
    assert values.shape[2] > 1
    assert float(values.std(dim=1).max()) > 0
    assert float(values.std(dim=2).max()) > 0


def test_a_weight_says_when_an_answer_counts() -> None:
    """With two terms and two weights that change hands, first the low tone is played, then the high one."""
    sound = two_tones(8.0)
    objective = "{low}*channel:halves:0 + {high}*channel:halves:1"
    settings = DreamSettings(objective=objective, update="hear", jitter=False, window_s=2.0)
    later = (np.arange(sound.shape[1]) >= 4 * RATE).astype(np.float64)
    weights = {"low": 1.0 - later, "high": later}
    out = dream(sound, RATE, HalfNet(), settings, 1.0, weights=weights)
    first, last = out[:, : 2 * RATE], out[:, -2 * RATE :]

    assert level_at(first, 300.0) - level_at(first, 4000.0) > 20.0
    assert level_at(last, 4000.0) - level_at(last, 300.0) > 20.0


def test_notes_say_when_an_answer_counts() -> None:
    """Where the lower half of the bands is one key and the upper another, the notes choose the tone."""
    sound = two_tones(8.0)
    network = HalfNet()
    network._card = replace(network.card, keys=(60, 72, 84))
    values = torch.zeros(128, 2)
    values[60, 0] = values[72, 1] = 1.0
    settings = DreamSettings(objective="notes:riff", update="hear", jitter=False, window_s=2.0)
    riff = {"riff": Targets(values=values, frame_s=4.0)}
    out = dream(sound, RATE, network, settings, 1.0, targets=riff)
    first, last = out[:, : 2 * RATE], out[:, -2 * RATE :]

    assert level_at(first, 300.0) - level_at(first, 4000.0) > 10.0
    assert level_at(last, 4000.0) - level_at(last, 300.0) > 10.0


@pytest.mark.parametrize("objective", ["class:low", "layer:halves"])
def test_steps_tell_the_class_heard_where_one_is_asked_for(objective: str) -> None:
    reports: list[StepReport] = []
    settings = DreamSettings(objective=objective, update="hear")
    dream(two_tones(), RATE, HalfNet(), settings, 1.0, on_step=reports.append)

    assert [report.heard is not None for report in reports] == [objective == "class:low"] * len(reports)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective": "layer:second + timbre@layer:block3"}, "mel and timbre"),
        ({"objective": "content:second"}, "compares it with another at the same moment"),
        ({"objective": "invert:second:pad"}, "compares it with another at the same moment"),
        ({"varispeed_octaves": 0.5}, "varispeed_octaves = 0.5, 0 is accepted"),
    ],
)
def test_what_cannot_be_heard_is_said(changes: dict[str, object], said: str) -> None:
    given = {"objective": "layer:second", "update": "hear", **changes}
    with pytest.raises(SettingError, match=said):
        open_stream(MelNet(), DreamSettings(**given), RATE, 1, references={"pad": two_tones()})  # type: ignore[arg-type]


def test_a_network_without_places_is_told() -> None:
    keys = KeyNet()
    with pytest.raises(ObjectiveError, match="no layer whose places in time are known"):
        dream(two_tones(), RATE, keys, DreamSettings(objective="class:C3", update="hear"), 1.0)
