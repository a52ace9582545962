"""Modules that nobody prepared become networks to dream with."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchaudio
from torch import Tensor, nn

import dream_core
from dream_core import DreamSettings, FrontendSpec, LogMel, dream, parse_objective, wrap
from dream_core.errors import DreamError, LayerNotFoundError, WrapError
from dream_core.objectives.listener import Listener
from dream_core.objectives.taps import tap

RATE = 16000


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def sound(seconds: float = 1.5) -> np.ndarray:
    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.1 * np.sin(2 * np.pi * 220 * t) + 0.02 * rng.standard_normal(len(t))).astype(np.float32)[None]


def rises(network: Any, objective: str, steps: int = 5) -> list[float]:
    """Dream, on a grid that stands still and held to no balance; the score must be higher at every step."""
    scores: list[float] = []
    settings = DreamSettings(objective=objective, jitter=False, balance=0.0)
    dreamed = dream(
        sound(), RATE, network, settings, steps, on_step=lambda report: scores.append(report.score)
    )

    assert len(scores) == steps
    assert all(after > before for before, after in pairwise(scores)), scores
    assert np.isfinite(dreamed).all()
    assert not np.array_equal(dreamed, sound())
    return scores


def names(network: Any) -> dict[str, int]:
    return {layer.name: layer.n_channels for layer in network.card.layers}


def heard(network: Any, layer: str, patches: Tensor) -> Tensor:
    with tap(network, [layer]) as layers:
        network(patches)
    return layers[layer]


def patches_of(network: Any, n: int = 2) -> Tensor:
    waves = (
        torch.randn(n, round(network.card.patch_s * RATE), generator=torch.Generator().manual_seed(1)) * 0.1
    )
    return network.listen(waves)[:, 0]


def cnn(n_classes: int = 5) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5)),
        nn.Linear(16, n_classes),
    )


class Residual(nn.Module):
    """Three colours in, a sum in place, as torchvision's ResNets have it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 7, stride=2, padding=3)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        out = self.bn(self.conv(x))
        out += x
        return self.fc(self.relu(out).mean((2, 3)))


class Recurrent(nn.Module):
    """An LSTM over frames, its last state classified."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(64, 12, num_layers=2, batch_first=batch_first, dropout=0.3, bidirectional=True)
        self.fc = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        frames, _ = self.lstm(x)
        return self.fc(frames[:, -1] if self.lstm.batch_first else frames[-1])


class Odd(nn.Module):
    """A convolution over frames, and something done to what it gives."""

    def __init__(self, then: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.spare, self.then = nn.Conv1d(64, 8, 3), nn.Linear(2, 2), then

    def forward(self, x: Tensor) -> Any:
        return self.then(self.conv(x))


class Level(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.square().mean((1, 2))


class Measured(nn.Module):
    """A module inside gives one number an item."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.level = nn.Conv1d(64, 8, 3), Level()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y / (1.0 + self.level(y)[:, None, None])


def wav2vec2() -> nn.Module:
    return torchaudio.models.wav2vec2_model(
        *("group_norm", [(24, 10, 5), (24, 3, 2), (24, 2, 2)], False, 32, 0.1, 16, 4, 2, 4, 0.1, 64),
        *(0.1, 0.1, False, 0.1, 11),
    )


def scripted(module: nn.Module, path: Path) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Torch means to have another kind of file one day
        torch.jit.save(torch.jit.script(module), path)
        loaded: nn.Module = torch.jit.load(path)
    return loaded


# Five modules nobody prepared.


def test_a_plain_cnn() -> None:
    network = wrap(cnn(), sample_rate=RATE)

    rises(network, "layer:4")
    rises(network, "channel:0:3")
    rises(network, "class:class_2")
    assert network.layout == "channel_mel_time"
    assert list(names(network).values()) == [8, 8, 8, 8, 16, 16, 16, 16, 16, 5]


def test_a_torchvision_resnet() -> None:
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")
    network = wrap(torchvision.models.resnet18(weights=None), sample_rate=RATE)

    rises(network, "layer:layer2.0.bn2", 3)
    assert network.layout == "rgb_mel_time"
    assert names(network)["layer4.1.conv2"] == 512
    assert len(network.card.classes) == 1000


def test_a_residual_net() -> None:
    network = wrap(Residual(), sample_rate=RATE, classes=["a", "b", "c", "d"])

    rises(network, "layer:conv")
    rises(network, "class:b")
    assert network.layout == "rgb_mel_time"


def test_wav2vec2() -> None:
    network = wrap(wav2vec2(), sample_rate=RATE, front_end="waveform")

    rises(network, "layer:encoder.transformer.layers.1.feed_forward.intermediate_dense", 4)
    rises(network, "layer:feature_extractor.conv_layers.1.conv", 4)
    assert network.layout == "samples"
    assert network.card.looks == "waveform"
    assert names(network)["feature_extractor.conv_layers.0.layer_norm"] == 24
    assert names(network)["encoder.transformer.layers.0.attention"] == 32
    assert names(network)["output"] == len(network.card.classes) == 11


@pytest.mark.parametrize(("batch_first", "layout"), [(True, "time_mel"), (False, "time_batch_mel")])
def test_an_lstm_over_frames(batch_first: bool, layout: str) -> None:
    """One that wants the batch second runs with it first as well, and must not."""
    network = wrap(Recurrent(batch_first), sample_rate=RATE)

    rises(network, "channel:lstm:3")
    rises(network, "class:class_1")
    assert network.layout == layout
    assert names(network) == {"lstm": 24, "fc": 3}
    assert heard(network, "lstm", patches_of(network)).shape == (2, 24, 96)
    frames = nn.LSTM(64, 7, batch_first=batch_first)
    assert wrap(frames, sample_rate=RATE).layout == layout


def test_a_torchscript_file(tmp_path: Path) -> None:
    network = wrap(scripted(cnn(), tmp_path / "net.pt"), sample_rate=RATE)

    rises(network, "layer:output")
    rises(network, "class:class_3")
    assert names(network) == {"output": 5}
    assert network.card.name == "sequential"
    for path in ("0", "conv"):
        with pytest.raises(WrapError, match="'output'"):
            wrap(network.module, sample_rate=RATE, layers=[path])


# What is heard.


def test_channels_last_layers_are_read_by_channel() -> None:
    """The mean of one channel is that of the module's own last axis."""
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 80, batch_first=True), 1).eval()
    network = wrap(encoder, sample_rate=RATE)
    patches = patches_of(network)
    own: list[Tensor] = []
    encoder.layers[0].linear1.register_forward_hook(lambda _m, _i, output: own.append(output))
    encoder(patches.clone().requires_grad_())

    assert network.layout == "time_mel"
    read = heard(network, "layers.0.linear1", patches)
    assert read.shape == (2, 80, 96)
    torch.testing.assert_close(read[:, 7].mean(1), own[0][..., 7].mean(1).detach())


def test_transformer_layers_are_heard_without_a_gradient_too() -> None:
    """References are listened to without one, where Torch has a way past the modules inside."""
    layer = nn.TransformerEncoderLayer(64, 4, 80, batch_first=True)
    network = wrap(nn.TransformerEncoder(layer, 1), sample_rate=RATE)
    wave = torch.from_numpy(sound())
    listener = Listener(network, parse_objective("guided:layers.0.linear1:r"), RATE, {"r": wave[0]})

    assert bool(torch.isfinite(listener.score(wave)).all())


class FrontNorm(nn.LayerNorm):
    """A norm over channels in front, as ConvNeXt has it."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Turn(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)


class Unknown(nn.Module):
    """Weights of its own, and a shape that says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 8, 5, 5))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight)


def test_channel_axes_are_followed() -> None:
    net = nn.Sequential(nn.Conv2d(1, 8, 8, 8), FrontNorm(8), nn.GELU(), Turn(), nn.Linear(8, 20), nn.GELU())
    network = wrap(net, sample_rate=RATE)
    patches = patches_of(network)

    assert names(network) == {"0": 8, "1": 8, "2": 8, "3": 8, "4": 20, "5": 20, "output": 20}
    assert heard(network, "1", patches).shape == (2, 8, 8, 12)
    assert heard(network, "3", patches).shape == (2, 8, 96)
    assert heard(network, "5", patches).shape == (2, 20, 96)


def test_a_turned_norm_is_known_by_its_width() -> None:
    """Also where nothing before it says where the channels are."""
    net = nn.Sequential(nn.Conv2d(1, 8, 3), Unknown(), FrontNorm(6))

    assert names(wrap(net, sample_rate=RATE)) == {"0": 8, "2": 6, "output": 6}


def test_as_many_bands_as_channels_before_mislead_nobody() -> None:
    """What a layer with weights of its own does with its axes cannot be told from their lengths."""
    net = nn.Sequential(nn.Conv2d(1, 8, (53, 3)), Unknown(), nn.Conv2d(6, 4, 3))

    assert names(wrap(net, sample_rate=RATE)) == {"0": 8, "2": 4, "output": 4}


class Folded(nn.Module):
    """Frames become items inside."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.after = nn.Linear(64, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.inside(x.flatten(0, 1)).unflatten(0, x.shape[:2]))


def test_layers_of_other_items_are_left_out() -> None:
    assert names(wrap(Folded(), sample_rate=RATE)) == {"after": 3, "output": 3}
    with pytest.raises(WrapError, match=r"'inside' gives \(288, 5\) .* items cannot be found"):
        wrap(Folded(), sample_rate=RATE, layers=["inside"])


def test_channels_that_cannot_be_told_are_left_out_or_given() -> None:
    net = nn.Sequential(nn.Conv2d(1, 8, 3), Unknown(), nn.Conv2d(6, 4, 3))
    network = wrap(net, sample_rate=RATE)

    assert names(network) == {"0": 8, "2": 4, "output": 4}
    assert names(wrap(Measured(), sample_rate=RATE)) == {"conv": 8, "output": 8}
    with pytest.raises(WrapError, match=r"'1' gives \(3, 6, 58, 90\) .* channel_axis"):
        wrap(net, sample_rate=RATE, layers=["1"])
    assert names(wrap(net, sample_rate=RATE, layers=["1"], channel_axis={"1": 1})) == {"1": 6}
    assert names(wrap(net, sample_rate=RATE, channel_axis=-1))["0"] == 94


def test_a_compiled_output_of_more_axes_needs_its_axis(tmp_path: Path) -> None:
    net = scripted(nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU()), tmp_path / "net.pt")

    with pytest.raises(WrapError, match="channel_axis"):
        wrap(net, sample_rate=RATE)
    network = wrap(net, sample_rate=RATE, channel_axis={"output": 1})
    assert names(network) == {"output": 8}
    patches = patches_of(network)
    torch.testing.assert_close(network(patches), heard(network, "output", patches).mean((2, 3)))


def test_in_place_steps_do_not_reach_what_was_heard() -> None:
    """A layer is read as it was, whoever writes over it later."""
    network = wrap(Residual(), sample_rate=RATE)
    patches = patches_of(network)
    with tap(network, ["bn", "fc"]) as both:
        network(patches)
    alone = heard(network, "bn", patches)
    with tap(network, ["bn"], leaves_early=True) as early:
        network(patches)

    torch.testing.assert_close(both["bn"], early["bn"])
    torch.testing.assert_close(alone, early["bn"])


def test_of_a_module_that_runs_twice_the_last_call_counts() -> None:
    """Also where a listener would leave after the first."""
    conv = nn.Conv1d(64, 64, 3)
    network = wrap(nn.Sequential(conv, nn.ReLU(), conv), sample_rate=RATE)
    patches = patches_of(network)
    x = patches.transpose(1, 2)
    last = conv(conv(x).relu()).detach()
    with tap(network, ["0"], leaves_early=True) as early:
        network(patches)

    torch.testing.assert_close(early["0"], last)
    torch.testing.assert_close(heard(network, "0", patches), last)
    rises(network, "layer:0", 3)


@pytest.mark.parametrize("kind", [tuple, list, dict])
def test_outputs_are_unpacked(kind: type) -> None:
    def pack(y: Tensor) -> Any:
        parts = {"lengths": torch.ones(len(y), dtype=torch.long), "features": (y, y.square())}
        return parts if kind is dict else kind(parts.values())

    network = wrap(Odd(pack), sample_rate=RATE)
    patches = patches_of(network)

    assert names(network) == {"conv": 8, "output": 8}
    torch.testing.assert_close(network(patches), heard(network, "conv", patches).mean(2))


def test_layers_may_be_chosen_and_named() -> None:
    assert names(wrap(cnn(), sample_rate=RATE, layers=["4", "0"])) == {"4": 16, "0": 8}
    assert names(wrap(cnn(), sample_rate=RATE, layers={"low": "0", "all": "output"})) == {"low": 8, "all": 5}
    with pytest.raises(LayerNotFoundError, match="no layer '4'"):
        rises(wrap(cnn(), sample_rate=RATE, layers=["0"]), "layer:4")


def test_a_submodule_called_logits_is_no_layer() -> None:
    """Objectives mean every network's outputs by that name."""
    net = nn.Sequential()
    net.add_module("logits", nn.Conv1d(64, 8, 3))

    assert names(wrap(net, sample_rate=RATE)) == {"output": 8}
    with pytest.raises(WrapError, match="another name"):
        wrap(net, sample_rate=RATE, layers=["logits"])
    assert names(wrap(net, sample_rate=RATE, layers={"head": "logits"})) == {"head": 8}


# Front ends.


def test_a_log_mel_of_its_own() -> None:
    spec = FrontendSpec(sample_rate=RATE, n_mels=40, f_min_hz=100.0, f_max_hz=6000.0, patch_frames=50)
    network = wrap(cnn(), sample_rate=RATE, front_end=LogMel(spec))

    assert network.listen(torch.zeros(1, RATE)).shape[2:] == (50, 40)
    assert network.card.band_hz == (100.0, 6000.0)
    assert network.card.frame_s == 0.01
    rises(network, "layer:4", 3)


def test_a_callable_front_end_hears_raw_patches() -> None:
    mel = torchaudio.transforms.MelSpectrogram(RATE, 512, hop_length=160, n_mels=40)
    loud = wrap(nn.Conv1d(40, 6, 3), sample_rate=RATE, front_end=lambda x: (mel(x) + 1e-3).log(), patch_s=0.5)

    assert loud.layout == "features"
    assert loud.listen(torch.zeros(1, RATE)).shape[2:] == (8000,)
    patches = torch.full((2, 8000), 0.5)
    torch.testing.assert_close(loud.measure_energy(patches), torch.tensor([0.25, 0.25]))
    rises(loud, "layer:output", 3)
    assert wrap(nn.LSTM(40, 7), sample_rate=RATE, front_end=mel).layout == "last_batch_features"
    assert wrap(nn.Conv2d(1, 7, 3), sample_rate=RATE, front_end=mel).layout == "channel_features"


@pytest.mark.parametrize(
    ("net", "layout"),
    [(nn.Conv1d(1, 4, 400, 160), "channel_samples"), (nn.Conv1d(2, 4, 400, 160), "stereo_samples")],
)
def test_waveforms_with_a_channel_axis(net: nn.Module, layout: str) -> None:
    network = wrap(net, sample_rate=RATE, front_end="waveform", patch_s=0.25)

    assert network.layout == layout
    assert network.card.patch_s == 0.25
    rises(network, "channel:output:1", 3)


def test_every_sample_is_heard_at_every_offset() -> None:
    # 335 samples in steps of 20: 17 of them would be longer than a patch.
    network = wrap(nn.Conv1d(1, 4, 9), sample_rate=RATE, front_end="waveform", patch_s=335 / RATE)
    n_offsets = round(network.card.patch_s / network.card.frame_s)
    for hop in (0, n_offsets):
        for offset in range(n_offsets):
            wave = torch.zeros(1, 5000, requires_grad=True)
            network.listen(wave, offset, hop).sum().backward()
            assert wave.grad is not None
            assert bool((wave.grad > 0).all())


def test_silence_has_no_energy() -> None:
    for front_end in ("log_mel", "waveform"):
        net: nn.Module = nn.Linear(64, 3) if front_end == "log_mel" else nn.Conv1d(1, 3, 9)
        network = wrap(net, sample_rate=RATE, front_end=front_end)  # type: ignore[arg-type]
        patches = network.listen(torch.zeros(1, RATE))[0]
        assert network.measure_energy(patches).abs().max() < 1e-12


# What the module's owner and Torch expect.


def test_the_module_itself_stays_as_it_is() -> None:
    net = cnn().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    state = torch.random.get_rng_state()
    network = wrap(net, sample_rate=RATE)
    rises(network, "layer:4", 2)

    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_training_mode_is_never_entered() -> None:
    network = wrap(Recurrent(batch_first=True), sample_rate=RATE)
    patches = patches_of(network)
    before = network(patches)
    network.train()

    assert torch.equal(network(patches), before)


def test_double_precision_and_repetition() -> None:
    network = wrap(cnn().double(), sample_rate=RATE)
    single = wrap(cnn(), sample_rate=RATE)

    assert network(patches_of(network).double()).dtype == torch.float64
    assert single.to(torch.float64)(patches_of(single).double()).dtype == torch.float64
    assert rises(network, "layer:4", 3) == rises(network, "layer:4", 3)


def test_weight_norm_is_copied() -> None:
    conv = nn.Conv1d(64, 8, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(conv)
    conv(torch.randn(1, 64, 9))  # its weight is now the result of a computation

    assert names(wrap(conv, sample_rate=RATE)) == {"output": 8}


def test_the_card_says_what_is_known() -> None:
    net = cnn(2)
    card = wrap(
        net,
        sample_rate=RATE,
        classes=["day", "night"],
        name="my.net",
        licence="MIT",
        source="mine",
        title="t",
        description="d",
        outputs="independent",
        band_hz=(50.0, 4000.0),
    ).card

    assert card.n_parameters == sum(parameter.numel() for parameter in net.parameters())
    assert (card.name, card.classes, card.outputs) == ("my.net", ("day", "night"), "independent")
    assert (card.licence, card.source, card.title, card.description) == ("MIT", "mine", "t", "d")
    assert (card.band_hz, card.looks, card.weights) == ((50.0, 4000.0), "log_mel", "given")
    assert card.patch_s == pytest.approx(0.975)


def test_names_are_public() -> None:
    for name in ("wrap", "LogMel", "FrontendSpec", "Network", "NetworkCard", "StepReport", "Objective"):
        assert name in dream_core.__all__
        assert getattr(dream_core, name).__name__ == name


# What cannot be.


def conv_net() -> nn.Module:
    return nn.Sequential(nn.Conv1d(64, 8, 3))


WRONG: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "a class": (lambda: Residual, {}, r"the class Residual; .*instance"),
    "a function": (lambda: abs, {}, "torch.nn.Module is accepted"),
    "no tensor": (lambda: Odd(lambda y: "x"), {}, "gave str, no tensor"),
    "numbers that count": (lambda: Odd(lambda y: y.argmax(1)), {}, "torch.int64, no tensor"),
    "no items": (lambda: Odd(lambda y: y.mean()), {}, "3 items gave"),
    "no channels": (
        lambda: Odd(lambda y: y.mean((1, 2))),
        {},
        r"\(3,\) for 3 items.*no channels.*classes=\(\)",
    ),
    "lazy weights": (lambda: nn.LazyLinear(3), {}, "lazy weights.*run it once"),
    "no gradient": (lambda: Odd(lambda y: y.detach()), {}, "nothing that a gradient comes back through"),
    "not finite": (lambda: Odd(lambda y: y * float("nan")), {}, "not finite"),
    "complex": (lambda: Odd(torch.fft.rfft), {}, "complex"),
    "complex without classes": (lambda: Odd(torch.fft.rfft), {"classes": ()}, "complex"),
    "too many layouts": (
        lambda: nn.Conv2d(4, 8, 3),
        {},
        "channel_mel_time .*rgb_mel_time .*time_mel .*flat ",
    ),
    "batch statistics": (
        lambda: nn.BatchNorm2d(1, track_running_stats=False),
        {},
        "an item's result depends on the items beside it",
    ),
    "the batch in a mean": (lambda: Odd(lambda y: y + y.mean(0)), {}, "items beside it"),
    "a given layout": (conv_net, {"layout": "time_mel"}, r"layouts tried .*: time_mel \([^;]*\)$"),
    "a layout's name": (conv_net, {"layout": "mel_tim"}, "did you mean 'mel_time'"),
    "a layer's name": (conv_net, {"layers": ["01"]}, "no submodule is called '01'; .*'0'"),
    "a layer that does not run": (lambda: Odd(lambda y: y), {"layers": ["spare"]}, "does not run"),
    "a layer without channels": (
        Measured,
        {"layers": ["level"]},
        r"'level' gives \(3,\) for 3 items, which has no channels",
    ),
    "an output without channels": (
        lambda: Odd(lambda y: y.mean((1, 2))),
        {"classes": (), "layers": ["output"]},
        r"layers: 'output' gives \(3,\)",
    ),
    "layers of another kind": (conv_net, {"layers": 3}, "layers is of type int"),
    "layers of one name": (conv_net, {"layers": "0"}, "layers = '0'"),
    "too few classes": (conv_net, {"classes": ["a", "b"]}, "has 2 names, but the module has 8 outputs"),
    "classes in one text": (conv_net, {"classes": "ab"}, "a list of names"),
    "two classes alike": (conv_net, {"classes": list("abcdefgG")}, "the same"),
    "classes without names": (conv_net, {"classes": [1, 2, 3, 4, 5, 6, 7, 8]}, "1 is not a name"),
    "a front end without gradient": (conv_net, {"front_end": lambda x: x.detach()}, "differentiable"),
    "a front end that fails": (conv_net, {"front_end": lambda x: x @ x}, "front end fails on samples"),
    "a front end that folds": (conv_net, {"front_end": lambda x: x.flatten()}, r"\(5, ...\) is accepted"),
    "a front end of another kind": (conv_net, {"front_end": 3}, "front end is of type int"),
    "a front end's name": (conv_net, {"front_end": "log-mel"}, "did you mean 'log_mel'"),
    "another rate": (
        conv_net,
        {"front_end": FrontendSpec(sample_rate=8000)},
        "16000, but the LogMel's is 8000",
    ),
    "two lengths": (conv_net, {"front_end": FrontendSpec(sample_rate=RATE), "patch_s": 1.0}, "leave one out"),
    "no length": (conv_net, {"patch_s": 0}, "patch_s = 0"),
    "no rate": (conv_net, {"sample_rate": 0}, "sample_rate = 0"),
    "half a rate": (conv_net, {"sample_rate": 44100.5}, "a whole number"),
    "a true rate": (conv_net, {"sample_rate": True}, "a whole number"),
    "an axis of nothing": (conv_net, {"channel_axis": {"1": 1}}, "channel_axis: no submodule is called '1'"),
    "the axis of the items": (conv_net, {"channel_axis": 0}, "axis 0 cannot hold the channels"),
    "a name with spaces": (conv_net, {"name": "my net"}, "name = 'my net'"),
    "outputs": (conv_net, {"outputs": "exclusiv"}, "did you mean 'exclusive'"),
    "a band upside down": (conv_net, {"band_hz": (900.0, 30.0)}, "low first"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_refused_in_one_line(case: str) -> None:
    make, options, message = WRONG[case]
    with pytest.raises(WrapError, match=message) as caught:
        wrap(make(), **{"sample_rate": RATE, **options})

    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, DreamError)
    assert "\n" not in str(caught.value)


def test_a_network_with_nothing_to_dream_on_is_refused() -> None:
    """Rather than one whose dreams leave every sound as it is."""
    with pytest.raises(WrapError, match="has nothing to dream on"):
        wrap(nn.Flatten(), sample_rate=RATE, layers=[], classes=())
    with pytest.raises(WrapError, match="load it first"):
        wrap("net.pt", sample_rate=RATE)  # type: ignore[arg-type]
