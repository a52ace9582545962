"""Kinds of networks that are trained here: built, folded, written, loaded by name and dreamed with."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.segments import additive, played

from dream_core import dream, load_network
from dream_core.errors import SettingError, WeightsError
from dream_core.frontend.log_mel import FrontendSpec
from dream_core.names import name_key
from dream_core.networks.card import NetworkCard
from dream_core.networks.kinds import embedding_head, trained
from dream_core.networks.kinds.blocks import Decimate, fold_batch_norm
from dream_core.networks.kinds.options import MelConv2dOptions, MelVggOptions, parse_options
from dream_core.networks.kinds.wave_bodies import gabor_filters
from dream_core.networks.registry import is_ready, list_damaged
from dream_core.networks.weights import write_tensors
from dream_core.objectives.taps import tap
from dream_core.settings import DreamSettings
from dream_core.training.learners import KINDS
from dream_core.training.loop import train
from dream_core.training.run_settings import RunSettings

SMALL = {
    "mel_cnn": {"widths": "4,8", "embedding": "8"},
    "mel_full": {"widths": "8,8,12"},
    "mel_timbral": {"timbral": "4", "temporal": "2", "middle": "4", "n_mels": "24"},
    "mel_vgg": {"widths": "4,4,8,8", "n2": "2", "pool": "blur"},
    "keys": {"contours": "4", "widths": "6", "patch_frames": "24"},
    "mel_conv2d": {"filters": "4", "blocks": "3", "dense": "1"},
    "wave_filterbank": {"filters": "8", "widths": "8,8,8"},
    "wave_plain": {"widths": "4,4,8,8,8"},
    "embedding_head": {},
}
TEN = NetworkCard(
    name="ten",
    title="",
    sample_rate=16000,
    band_hz=(1.0, 2.0),
    patch_s=1.0,
    frame_s=0.1,
    layers=(),
    classes=tuple("abcdefghij"),
    n_parameters=1,
    licence="",
    source="",
    weights="import",
    sha256="",
    description="",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of networks of the test's own."""
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "networks").mkdir(parents=True)
    return tmp_path / "home" / "networks"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_trains_and_its_file_loads_by_name_and_dreams(
    kind: str, home: Path, tmp_path: Path
) -> None:
    segments = additive(n_classes=2, groups_per_class=5, segments_per_group=1, seconds=0.3)
    if kind == "keys":
        segments = played(12, seconds=1.0)
    made = train(
        segments,
        kind,
        RunSettings(epochs=1, steps_per_epoch=2, batch_size=4, calibration_batches=1, strength=0.0),
        tmp_path / "run",
        name="mine",
        options=SMALL[kind],
        base="texture:frames8" if kind == "embedding_head" else "",
    )
    made.path.rename(home / "mine.safetensors")
    network = load_network("mine")

    assert list_damaged() == ()
    assert is_ready("mine")
    classes = tuple(map(name_key, range(21, 109))) if kind == "keys" else ("class0", "class1")
    assert network.card.classes == classes
    # What was trained and what is loaded are one network.
    sound = torch.randn(1, 6000, generator=torch.Generator().manual_seed(1)) * 0.1
    patches = network.listen(sound).flatten(0, 1)
    mine = made.network.to(torch.float32)(patches)
    torch.testing.assert_close(network(patches), mine, rtol=1e-4, atol=1e-5)  # two orders of float32 sums
    names = [layer.name for layer in network.card.layers]
    with tap(network, names) as heard:
        network(patches)
    assert {n: heard[n].shape[1] for n in names} == {x.name: x.n_channels for x in network.card.layers}
    leaf = sound.clone().requires_grad_()
    network(network.listen(leaf).flatten(0, 1))[:, 0].sum().backward()
    assert leaf.grad is not None
    assert torch.isfinite(leaf.grad).all()
    assert float(leaf.grad.abs().max()) > 0
    silent = torch.zeros(1, 6000, requires_grad=True)
    network(network.listen(silent).flatten(0, 1))[:, 0].sum().backward()
    assert silent.grad is not None
    assert torch.isfinite(silent.grad).all()
    stereo = sound.numpy().repeat(2, 0)
    dreamt = dream(stereo, 16000, network, DreamSettings(objective=f"class:{classes[-1]}"), depth=1)
    assert np.isfinite(dreamt).all()
    assert not np.array_equal(dreamt, stereo)


def test_the_dissertations_network_has_its_published_size() -> None:
    """270 440 numbers in all, the batch normalisations' means and variances among them."""
    frontend = FrontendSpec(
        sample_rate=22050, n_mels=300, patch_frames=44, window_samples=2048, hop_samples=512, compress="none"
    )
    shape = trained.MelShape(kind="mel_conv2d", frontend=frontend, options=MelConv2dOptions())
    state = trained.build(TEN, shape).state_dict()

    assert sum(t.numel() for key, t in state.items() if not key.endswith("tracked")) == 270_440


@pytest.mark.parametrize("kind", [*trained.MEL_KINDS, *trained.WAVE_KINDS])
def test_folding_changes_nothing_that_is_heard(kind: str) -> None:
    if kind in trained.MEL_KINDS:
        options: Any = parse_options(trained.MEL_KINDS[kind].options, SMALL[kind], kind)
        spec = FrontendSpec(sample_rate=16000, n_mels=24, patch_frames=32)
        names = TEN.classes if kind != "keys" else tuple(map(str, range(88)))
        card = replace(TEN, classes=names)
        network: Any = trained.build(card, trained.MelShape(kind=kind, frontend=spec, options=options))
        patches = torch.randn(6, 32, 24, dtype=torch.float64)
    else:
        options = parse_options(trained.WAVE_KINDS[kind].options, SMALL[kind], kind)
        shape = trained.WaveShape(kind=kind, sample_rate=16000, patch_samples=4096, options=options)
        network = trained.build(TEN, shape)
        patches = 0.1 * torch.randn(6, 4096, dtype=torch.float64)
    network = network.double()
    for _ in range(3):
        network(patches)  # running means and variances that are not those of the beginning
    folded = fold_batch_norm(network)

    # Float64 sums in another order.
    torch.testing.assert_close(folded(patches), network.eval()(patches), rtol=1e-9, atol=1e-9)
    assert not [m for m in folded.modules() if isinstance(m, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)]


def test_a_step_that_leaves_out_samples_lets_no_tone_fold() -> None:
    """A tone over half the new rate comes through 20 dB weaker than one well below it."""
    step = torch.arange(4096.0)
    low, high = (torch.sin(2 * torch.pi * f * step)[None, None] for f in (0.005, 0.24))
    through = [float(Decimate(4, True)(x)[..., 8:-8].std() / x.std()) for x in (low, high)]

    assert through[0] > 0.95
    assert through[1] < 0.1 * through[0]


def test_filters_of_the_bank_let_through_the_tone_they_are_named_for() -> None:
    filters = gabor_filters(16, 16000)[:, 0]
    spectrum = np.abs(np.fft.fft(filters[:16] + 1j * filters[16:], axis=1))[:, :257]
    peaks_hz = spectrum.argmax(axis=1) * 16000 / 512

    assert np.all(np.diff(peaks_hz) > 0)
    assert peaks_hz[0] < 300
    assert 6000 < peaks_hz[-1] < 7600


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("options", {"widths": [0, 8, 8]}),
        ("options", {"widths": "8"}),
        ("options", {"colour": 3}),
        ("options", {"dropout": float("nan")}),
        ("frontend", {"sample_rate": 16000, "n_mels": 10**9}),
        ("frontend", None),
    ],
)
def test_a_damaged_header_is_refused_by_name(key: str, value: object, home: Path) -> None:
    spec = FrontendSpec(sample_rate=16000)
    shape = {"frontend": asdict(spec), "options": {"widths": [8, 8, 8]}, key: value}
    header = {"kind": "mel_full", "card": asdict(TEN), "shape": shape}
    write_tensors(home / "bad.safetensors", {"x": torch.zeros(1)}, header)

    with pytest.raises(WeightsError, match=r"its card cannot be read"):
        load_network(str(home / "bad.safetensors"))
    assert len(list_damaged()) == 1


def test_weights_that_the_header_does_not_speak_of_are_refused(home: Path) -> None:
    shape = {"frontend": asdict(FrontendSpec(sample_rate=16000)), "options": {"widths": [4000, 4000, 4000]}}
    header = {"kind": "mel_full", "card": asdict(TEN), "shape": shape}
    write_tensors(home / "big.safetensors", {"x": torch.zeros(1)}, header)

    with pytest.raises(WeightsError, match="not those its card speaks of"):
        load_network("ten")


def test_a_file_of_another_kind_is_refused(home: Path) -> None:
    write_tensors(home / "x.safetensors", {"x": torch.zeros(1)}, {"kind": "mel_vgg"})

    with pytest.raises(WeightsError, match="'mel_vgg', not 'mel_full'"):
        trained.read_card("mel_full", home / "x.safetensors")


def write_head(path: Path, network: str, layer: str, sha256: str) -> None:
    base = load_network("texture").card
    card = embedding_head.head_card(replace(TEN, classes=("a", "b")), base, "frames8")
    shape = {"network": network, "layer": layer, "sha256": sha256}
    width = next(one.n_channels for one in base.layers if one.name == "frames8")
    tensors = {"weight": torch.zeros(2, width), "bias": torch.zeros(2)}
    write_tensors(path, tensors, {"kind": "embedding_head", "card": asdict(card), "shape": shape})


def test_a_head_wants_the_weights_it_was_made_for(home: Path) -> None:
    write_head(home / "head.safetensors", "texture", "frames8", "f" * 64)

    with pytest.raises(WeightsError, match=r"made for other weights of 'texture'"):
        load_network("ten")


def test_a_head_on_a_head_or_on_itself_is_refused(home: Path) -> None:
    write_head(home / "head.safetensors", "ten", "frames8", "")

    with pytest.raises(WeightsError, match="an embedding head itself"):
        load_network("ten")


def test_a_head_whose_network_is_not_installed_is_not_ready(home: Path) -> None:
    write_head(home / "head.safetensors", "musicnn", "frames8", "")

    assert not is_ready("ten")


def test_all_mistakes_among_options_are_named_at_once() -> None:
    with pytest.raises(SettingError) as caught:
        parse_options(MelVggOptions, {"n1": "10", "pol": "max", "pool": "mx", "dropout": "x"}, "mel_vgg")

    for part in ("n1 = 10", "1 to 9", "'pol'", "pool", "pool = 'mx'", "max", "dropout = 'x'"):
        assert part in str(caught.value)
