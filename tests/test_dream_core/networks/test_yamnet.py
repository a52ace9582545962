"""YAMNet against TensorFlow's own tensors, and the import of its weights.

The reference lies beside the repository, not in it: tensors computed by TensorFlow in float64 from a weights
file in the official layout. Where it is absent, those tests say so and are skipped.
"""

from __future__ import annotations

import csv
import hashlib
import http.server
import json
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.paths import SHARED
from numpy.typing import NDArray

from dream_core.errors import NetworkNotFoundError, WeightsError
from dream_core.files import hash_file
from dream_core.networks import yamnet_files
from dream_core.networks.card import Network
from dream_core.networks.download import fetch_file
from dream_core.networks.registry import (
    get_card,
    is_ready,
    list_damaged,
    list_networks,
    load_network,
    weights_sha256,
)
from dream_core.networks.yamnet import (
    CARD,
    CARD_22050,
    CONVOLUTIONS,
    SPEC,
    SPEC_22050,
    YamNet,
    fold_published,
)
from dream_core.objectives.taps import tap

WEIGHTS = SHARED / "weights" / "yamnet.h5"
CLASS_MAP = SHARED / "weights" / "yamnet_class_map.csv"
GOLDEN = SHARED / "golden" / "yamnet_whistle.npz"

needs_weights = pytest.mark.skipif(
    not WEIGHTS.exists(), reason="YAMNet's weights are not beside the repository"
)
needs_golden = pytest.mark.skipif(
    not (WEIGHTS.exists() and GOLDEN.exists()), reason="TensorFlow's tensors are not beside the repository"
)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "networks"


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.float32]]:
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=["float64", "float32"])
def network(request: pytest.FixtureRequest) -> Network:
    return load_network("yamnet", weights=WEIGHTS, dtype=request.param)


def deviation(actual: torch.Tensor, expected: NDArray[np.float32]) -> float:
    """Return the largest difference, relative to the largest expected value."""
    return float(np.abs(actual.detach().double().numpy() - expected).max() / np.abs(expected).max())


def waveform_of(golden: dict[str, NDArray[np.float32]], network: Network) -> torch.Tensor:
    assert isinstance(network, torch.nn.Module)
    return torch.from_numpy(golden["waveform_16k"]).to(network.dense.weight.dtype)[None]


@needs_golden
def test_log_mel_equals_tensorflow(network: Network, golden: dict[str, NDArray[np.float32]]) -> None:
    waveform = waveform_of(golden, network)
    patches = network.listen(waveform)[0]
    joined = torch.cat([patches[0], *patches[1:, SPEC.patch_frames - SPEC.patch_hop_frames :]])

    difference = np.abs(joined.numpy() - golden["log_mel"]).max()

    assert joined.shape == golden["log_mel"].shape
    # float32: near the floor of the logarithm rounding is amplified; TensorFlow's own is 1.7e-3.
    assert difference <= (1e-6 if waveform.dtype == torch.float64 else 1.7e-3)


@needs_golden
def test_activations_and_scores_equal_tensorflow(
    network: Network, golden: dict[str, NDArray[np.float32]]
) -> None:
    layers = {f"layer{n}_patch0": f"layer{n}/pointwise_conv/relu" for n in (3, 8, 14)}
    waveform = waveform_of(golden, network)
    tolerance = 1e-6 if waveform.dtype == torch.float64 else 1e-4
    with tap(network, [*layers.values(), "global_average_pooling2d", "dense", "activation"]) as heard:
        logits = network(network.listen(waveform)[0])

    for stored, layer in layers.items():
        assert deviation(heard[layer][0].permute(1, 2, 0), golden[stored]) <= tolerance, layer
    assert deviation(heard["global_average_pooling2d"], golden["embeddings"]) <= tolerance
    assert deviation(logits, golden["logits"]) <= tolerance
    assert torch.equal(heard["dense"], logits)
    assert deviation(heard["activation"], golden["scores"]) <= tolerance


@needs_golden
def test_waveform_gradient_equals_tensorflow(
    network: Network, golden: dict[str, NDArray[np.float32]]
) -> None:
    waveform = waveform_of(golden, network).requires_grad_()
    with tap(network, ["activation"]) as heard:
        network(network.listen(waveform)[0])
    heard["activation"][:, int(golden["class_index"])].sum().backward()

    assert waveform.grad is not None
    # float32: TensorFlow's own gradient is 4-6% off in it.
    tolerance = 1e-5 if waveform.dtype == torch.float64 else 0.05
    assert deviation(waveform.grad[0], golden["grad_of_score_sum"]) <= tolerance


@needs_weights
def test_tapping_every_layer_changes_nothing() -> None:
    network = load_network("yamnet", weights=WEIGHTS)
    patches = network.listen(torch.randn(1, 16000, generator=torch.Generator().manual_seed(0)))[0]
    untapped = network(patches)

    with tap(network, network.layer_modules()) as heard:
        tapped = network(patches)

    # A convolution that is tapped is not fused with its ReLU and sums in another order.
    torch.testing.assert_close(tapped, untapped, atol=1e-4, rtol=1e-4)
    assert torch.equal(heard["layer5/pointwise_conv/bn"].relu(), heard["layer5/pointwise_conv/relu"])
    assert (heard["layer5/pointwise_conv/bn"] < 0).any()


@pytest.mark.parametrize(
    ("n_samples", "n_patches"), [(1, 1), (15600, 1), (15601, 2), (23280, 2), (23281, 3), (54720, 7)]
)
def test_there_are_as_many_patches_as_upstream_pads_for(n_samples: int, n_patches: int) -> None:
    # 15600 samples make the first patch, every 7680 begun after it one more.
    assert YamNet().listen(torch.zeros(1, n_samples, dtype=torch.float64)).shape == (1, n_patches, 96, 64)


def test_strided_convolutions_are_padded_as_tensorflow_pads() -> None:
    torch.manual_seed(0)
    strided = YamNet().convolutions[0]
    assert isinstance(strided, torch.nn.Module)
    for height, width in ((8, 6), (7, 5), (8, 5)):
        x = torch.randn(1, 1, height, width)
        pads = []
        for n in (width, height):  # tf.nn.convolution "SAME": total, the smaller half before
            total = (-(-n // 2) - 1) * 2 + 3 - n
            pads += [total // 2, total - total // 2]
        expected = torch.nn.functional.conv2d(
            torch.nn.functional.pad(x, pads), strided.bn.weight, strided.bn.bias, stride=2
        ).relu()

        assert torch.equal(strided(x), expected)


def as_torch_audioset(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename YAMNet's tensors to the keys of torch_audioset's state_dict."""
    state = {"classifier.weight": tensors["dense/kernel"], "classifier.bias": tensors["dense/bias"]}
    for convolution in CONVOLUTIONS:
        layer, kind = convolution.name.split("/")
        prefix = f"{layer}.fused" if kind == "conv" else f"{layer}.{kind}"
        state[f"{prefix}.conv.weight"] = tensors[f"{convolution.name}/kernel"]
        state[f"{prefix}.bn.weight"] = torch.ones(convolution.n_outputs)
        state[f"{prefix}.bn.bias"] = tensors[f"{convolution.name}/bn/beta"]
        state[f"{prefix}.bn.running_mean"] = tensors[f"{convolution.name}/bn/moving_mean"]
        state[f"{prefix}.bn.running_var"] = tensors[f"{convolution.name}/bn/moving_variance"]
        state[f"{prefix}.bn.num_batches_tracked"] = torch.tensor(0)
    return state


def random_tensors() -> dict[str, torch.Tensor]:
    """Make tensors of YAMNet's names and shapes, with variances that are positive."""
    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}
    for convolution in CONVOLUTIONS:
        tensors[f"{convolution.name}/kernel"] = torch.randn(convolution.weight_shape, generator=generator)
        for part in ("beta", "moving_mean", "moving_variance"):
            values = torch.rand(convolution.n_outputs, generator=generator) + 0.5
            tensors[f"{convolution.name}/bn/{part}"] = values
    tensors["dense/kernel"] = torch.randn(521, 1024, generator=generator)
    tensors["dense/bias"] = torch.randn(521, generator=generator)
    return tensors


@pytest.fixture(scope="module")
def pth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pth") / "yamnet.pth"
    torch.save(as_torch_audioset(random_tensors()), path)
    return path


@pytest.fixture(scope="module")
def class_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("csv") / "map.csv"
    rows = ["index,mid,display_name", *(f'{i},/m/{i:03d},"Sound, number {i}"' for i in reversed(range(521)))]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_folding_equals_batch_normalisation_itself() -> None:
    tensors = random_tensors()
    first = CONVOLUTIONS[0]
    network = YamNet().double()
    network.load_state_dict(fold_published(tensors))
    x = torch.randn(2, 1, 96, 64, dtype=torch.float64)
    parts = (
        tensors[f"{first.name}/bn/{part}"].double() for part in ("moving_mean", "moving_variance", "beta")
    )
    mean, variance, beta = parts
    plain = torch.nn.functional.conv2d(
        torch.nn.functional.pad(x, (0, 1, 0, 1)), tensors[f"{first.name}/kernel"].double(), stride=2
    )

    expected = torch.nn.functional.batch_norm(plain, mean, variance, bias=beta, eps=1e-4).relu()

    torch.testing.assert_close(network.convolutions[0](x), expected, rtol=1e-12, atol=1e-12)
    with tap(network, [first.name]) as heard:
        network.convolutions[0](x)
    torch.testing.assert_close(heard[first.name], plain, rtol=1e-12, atol=1e-12)


def test_torch_audiosets_layout_is_read(pth: Path) -> None:
    expected = random_tensors()

    tensors = yamnet_files.read_published(pth)

    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


@needs_weights
def test_keras_and_installed_weights_hear_the_same(home: Path) -> None:
    direct = load_network("yamnet", weights=WEIGHTS)
    patches = direct.listen(torch.randn(1, 16000, generator=torch.Generator().manual_seed(0)))[0]

    installed = yamnet_files.install(WEIGHTS)

    assert installed == home / "yamnet.safetensors"
    assert torch.equal(load_network("yamnet")(patches), direct(patches))


def test_classes_are_named_by_the_class_map(pth: Path, class_map: Path) -> None:
    yamnet_files.install(pth, class_map)

    assert get_card("yamnet").classes[35] == "Sound, number 35"
    assert load_network("yamnet").card.classes[520] == "Sound, number 520"


def test_classes_go_by_number_without_a_class_map(pth: Path) -> None:
    yamnet_files.install(pth)

    assert is_ready("yamnet")
    assert get_card("yamnet").classes[35] == "class_35"


@pytest.mark.skipif(not CLASS_MAP.exists(), reason="the class map is not beside the repository")
def test_audiosets_own_class_map_is_read() -> None:
    with CLASS_MAP.open(encoding="utf-8", newline="") as file:
        expected = tuple(row[2] for row in list(csv.reader(file))[1:])

    assert yamnet_files.read_class_map(CLASS_MAP) == expected


def test_one_import_is_both_of_its_networks(pth: Path, class_map: Path) -> None:
    """`yamnet_22050` is there once yamnet is: the same weights, by the same hash, and the same classes."""
    yamnet_files.install(pth, class_map)
    own, other = (load_network(name) for name in ("yamnet", "yamnet_22050"))

    assert is_ready("yamnet_22050")
    assert weights_sha256("yamnet_22050") == weights_sha256("yamnet")
    assert other.card.classes == own.card.classes
    assert other.card.classes[35] != "class_35"
    assert isinstance(own, torch.nn.Module)
    assert isinstance(other, torch.nn.Module)
    for name, tensor in own.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_the_other_front_end_counts_at_22050_hz() -> None:
    """25 ms are 551 samples, 10 ms are 220, a patch begins every 10 frames; the window is symmetric."""
    network = YamNet(CARD_22050, SPEC_22050)
    window = network.log_mel.window
    sound = torch.zeros(1, 75411, dtype=torch.float64)

    assert (len(window), float(window[0]), float(window[-1])) == (551, 0.0, 0.0)
    torch.testing.assert_close(window, window.flip(0), rtol=1e-12, atol=1e-15)
    assert network.listen(sound).shape == (1, 26, 96, 64)
    assert network.card.patch_s == pytest.approx(0.973, abs=0.001)
    assert network.card.frame_s == pytest.approx(0.010, abs=0.0001)


def test_its_classes_may_hold_together() -> None:
    """It was taught sigmoids: speech over music is both."""
    assert {CARD.outputs, CARD_22050.outputs} == {"independent"}


def test_the_record_holds_both_hashes(pth: Path, home: Path) -> None:
    path = yamnet_files.install(pth)

    record = json.loads((home / "yamnet.json").read_text(encoding="utf-8"))

    assert record["sha256"] == hash_file(path)
    assert record["source_sha256"] == hash_file(pth)


def test_installed_weights_that_were_changed_are_refused(pth: Path) -> None:
    path = yamnet_files.install(pth)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(WeightsError, match="changed or damaged"):
        load_network("yamnet")


def test_a_damaged_installation_can_be_listed_and_replaced(pth: Path) -> None:
    """Only dreaming needs the file to be whole."""
    path = yamnet_files.install(pth)
    path.write_bytes(path.read_bytes()[:1000])

    assert "yamnet" in [card.name for card in list_networks()]
    assert str(path) in list_damaged()[0]
    with pytest.raises(WeightsError, match="delete it"):
        load_network("yamnet")
    path.with_suffix(".json").write_text("{bad")
    with pytest.raises(WeightsError, match="import yamnet's weights again"):
        load_network("yamnet")
    yamnet_files.install(pth)
    assert not list_damaged()
    load_network("yamnet")


def test_a_damaged_file_of_ones_own_hides_no_other_network(home: Path) -> None:
    """It is left out of the list and named."""
    home.mkdir(parents=True)
    (home / "mine.safetensors").write_text("garbage")

    assert {"timbre", "yamnet"} <= {card.name for card in list_networks()}
    assert "mine.safetensors" in list_damaged()[0]
    with pytest.raises(NetworkNotFoundError, match="'nope'"):
        load_network("nope")


class Payload:
    """A pickle that would run code when opened."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return (pytest.fail, ("pickled code was run",))


def write_bad_file(kind: str, folder: Path, pth: Path) -> Path:
    """Write a file that must be refused, of the kind named."""
    tensors = as_torch_audioset(random_tensors())
    path = folder / "bad.pth"
    if kind == "pickled code":
        path.write_bytes(pickle.dumps(Payload()))
    elif kind == "pickled code in a Torch file":
        torch.save({**tensors, "extra": Payload()}, path)
    elif kind == "truncated":
        path.write_bytes(pth.read_bytes()[:-1000])
    elif kind == "truncated h5":
        path = folder / "bad.h5"
        path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    elif kind == "wrong shape":
        torch.save({**tensors, "layer1.fused.conv.weight": torch.zeros(32, 1, 5, 5)}, path)
    elif kind == "wrong classes":
        torch.save({**tensors, "classifier.weight": torch.zeros(10, 1024)}, path)
    elif kind == "another network":
        torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    elif kind == "scaled batch norm":
        torch.save({**tensors, "layer4.pointwise_conv.bn.weight": torch.full((128,), 2.0)}, path)
    elif kind == "not finite":
        torch.save({**tensors, "classifier.bias": torch.full((521,), torch.inf)}, path)
    elif kind == "a text":
        path.write_text("Not found")
    elif kind == "truncated, of old":
        torch.save(tensors, path, _use_new_zipfile_serialization=False)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "sparse":
        torch.save({**tensors, "classifier.weight": torch.zeros(521, 1024).to_sparse()}, path)
    elif kind == "whole numbers":
        torch.save({**tensors, "classifier.bias": torch.zeros(521, dtype=torch.int64)}, path)
    elif kind == "unknown suffix":
        path = folder / "bad.tflite"
        path.write_bytes(b"x")
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("absent", "is not there"),
        ("pickled code", "run code"),
        ("pickled code in a Torch file", "run code"),
        ("truncated", "not a complete Torch file"),
        ("truncated h5", "not YAMNet's Keras file"),
        ("wrong shape", r"'layer1/conv/kernel' has shape \(32, 1, 5, 5\), YAMNet's has \(32, 1, 3, 3\)"),
        ("wrong classes", "has shape"),
        ("another network", "has no tensor 'classifier.weight'|has no tensor"),
        ("scaled batch norm", "has scales"),
        ("not finite", "impossible values"),
        ("a text", "is not a Torch file"),
        ("truncated, of old", "not a complete Torch file"),
        ("sparse", "has no tensor 'classifier.weight'"),
        ("whole numbers", "holds torch.int64"),
        ("unknown suffix", "weights are read from .h5"),
    ],
)
def test_weights_that_are_not_yamnets_are_refused_and_nothing_is_installed(
    kind: str, reason: str, tmp_path: Path, pth: Path, home: Path
) -> None:
    bad = write_bad_file(kind, tmp_path, pth)

    with pytest.raises(WeightsError, match=reason):
        yamnet_files.install(bad)

    assert not home.exists()


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", "index,mid,display_name\n0,/m/1,One\n", "index,mid,display_name\nx,/m/1,One\n"]
)
def test_a_class_map_that_is_none_is_refused(text: str, tmp_path: Path, pth: Path, home: Path) -> None:
    bad = tmp_path / "map.csv"
    bad.write_text(text, encoding="utf-8")

    with pytest.raises(WeightsError, match=r"not a class map|class names were given"):
        yamnet_files.install(pth, bad)

    assert not home.exists()


class Server(http.server.ThreadingHTTPServer):
    """Serves one file; breaks off after `limit_bytes`, hides its length or leads elsewhere when told to."""

    content = b""
    limit_bytes: int | None = None
    tells_length = True
    leads_to: str | None = None


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.server.content
        self.send_response(302 if self.server.leads_to else 200)
        if self.server.leads_to:
            self.send_header("Location", self.server.leads_to)
        if self.server.tells_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.limit_bytes])

    def log_message(self, *_args: object) -> None:
        """Stay quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def address_of(server: Server, name: str = "file.bin") -> str:
    return f"http://127.0.0.1:{server.server_port}/{name}"


def test_a_file_is_fetched_whole_and_told_of_on_the_way(server: Server, tmp_path: Path) -> None:
    server.content = bytes(range(256)) * 2000
    digest = hashlib.sha256(server.content).hexdigest()
    seen: list[tuple[int, int | None]] = []

    def report(done: int, total: int | None) -> None:
        seen.append((done, total))

    fetch_file(address_of(server), tmp_path / "file.bin", max_bytes=1 << 20, sha256=digest, report=report)

    assert (tmp_path / "file.bin").read_bytes() == server.content
    assert seen[0] == (0, 512_000)
    assert seen[-1] == (512_000, 512_000)
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


@pytest.mark.parametrize(
    ("served", "says"),
    [
        ({"limit_bytes": 300_000}, "broke off after 300000 of 512000 bytes"),
        ({"content": bytes(2 << 20)}, "larger than 1 MiB"),
        ({"content": bytes(2 << 20), "tells_length": False}, "larger than 1 MiB"),
        ({"content": b"another file"}, "is expected; nothing was kept"),
        ({"leads_to": "http://example.com/file.bin"}, "which is not https"),
    ],
)
def test_of_a_file_that_is_not_the_one_nothing_is_left(
    server: Server, tmp_path: Path, served: dict[str, object], says: str
) -> None:
    """Cut short, too large (whether it says so or not), of another hash, or from somewhere else."""
    wanted = bytes(range(256)) * 2000
    for name, value in ({"content": wanted} | served).items():
        setattr(server, name, value)
    (tmp_path / "file.bin").write_bytes(b"what was there")

    with pytest.raises(WeightsError, match=says):
        fetch_file(
            address_of(server),
            tmp_path / "file.bin",
            max_bytes=1 << 20,
            sha256=hashlib.sha256(wanted).hexdigest(),
        )

    assert (tmp_path / "file.bin").read_bytes() == b"what was there"
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_an_address_that_answers_nothing_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot be fetched \(Connection refused\); check the connection"):
        fetch_file("http://127.0.0.1:1/yamnet.h5", tmp_path / "x", max_bytes=100)
    for address in ("file:///etc/hostname", "http://example.com/yamnet.h5", "yamnet.h5"):
        with pytest.raises(WeightsError, match="an https:// address is accepted"):
            fetch_file(address, tmp_path / "x", max_bytes=100)


@needs_weights
def test_fetched_weights_are_installed_and_the_same_file_is_demanded_ever_after(
    server: Server, home: Path
) -> None:
    server.content = WEIGHTS.read_bytes()
    address = address_of(server, "yamnet.h5")

    yamnet_files.fetch(address=address)

    assert is_ready("yamnet")
    record = yamnet_files.read_record()
    assert record["source"] == address
    assert record["source_sha256"] == hash_file(WEIGHTS)
    installed = (home / "yamnet.safetensors").read_bytes()
    server.content = server.content + b"tampered"
    with pytest.raises(WeightsError, match="is what it gave before"):
        yamnet_files.fetch(address=address)
    assert (home / "yamnet.safetensors").read_bytes() == installed
    assert sorted(path.name for path in home.iterdir()) == ["yamnet.json", "yamnet.safetensors"]


def test_weights_of_a_truncated_installation_are_refused(pth: Path, home: Path) -> None:
    path = yamnet_files.install(pth)
    shutil.copy(path, home / "copy.safetensors")
    path.write_bytes((home / "copy.safetensors").read_bytes()[:1000])

    with pytest.raises(WeightsError):
        load_network("yamnet")
