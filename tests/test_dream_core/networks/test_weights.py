"""Weights files: written whole, read checked, refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from dream_core.errors import WeightsError
from dream_core.files import hash_file
from dream_core.networks.weights import (
    load_into,
    networks_folder,
    read_header,
    read_tensors,
    write_tensors,
)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    write_tensors(path, nn.Linear(3, 2).state_dict(), {"kind": "linear"})
    return path


def test_tensors_and_header_come_back_as_they_were(tmp_path: Path) -> None:
    state = nn.Linear(3, 2).state_dict()
    path = tmp_path / "folder" / "net.safetensors"

    sha256 = write_tensors(path, state, {"kind": "linear", "classes": ["ä", "b"]})

    assert sha256 == hash_file(path)
    assert read_header(path) == {"kind": "linear", "classes": ["ä", "b"]}
    assert all(torch.equal(tensor, state[name]) for name, tensor in read_tensors(path, sha256).items())


def test_the_same_tensors_make_the_same_file(tmp_path: Path) -> None:
    state = nn.Linear(3, 2).state_dict()

    hashes = {
        write_tensors(tmp_path / name, state, {"b": 1, "a": 2}) for name in ("x.safetensors", "y.safetensors")
    }

    assert len(hashes) == 1


def test_a_changed_file_is_refused(stored: Path) -> None:
    sha256 = hash_file(stored)
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)

    with pytest.raises(WeightsError, match="changed or damaged"):
        read_tensors(stored, sha256)


def test_a_truncated_file_is_refused(stored: Path) -> None:
    stored.write_bytes(stored.read_bytes()[:-4])

    with pytest.raises(WeightsError, match="not a complete safetensors file"):
        read_tensors(stored)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.safetensors is not there"):
        read_header(tmp_path / "gone.safetensors")


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (nn.Linear(4, 2), "has shape"),
        (nn.Sequential(nn.Linear(3, 2)), "lacks '0.weight'"),
        (nn.Linear(3, 2, bias=False), "holds 'bias'"),
    ],
)
def test_weights_of_another_network_are_refused(stored: Path, network: nn.Module, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason):
        load_into(network, read_tensors(stored), "net.safetensors")


def test_weights_that_are_not_finite_are_refused() -> None:
    network = nn.Linear(3, 2)

    with pytest.raises(WeightsError, match="not finite"):
        load_into(network, {"weight": torch.full((2, 3), torch.nan), "bias": torch.zeros(2)}, "x")


def test_the_users_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REVERIE_HOME", str(tmp_path))

    assert networks_folder() == tmp_path / "networks"


def test_the_weights_that_are_used_are_those_that_were_hashed(
    monkeypatch: pytest.MonkeyPatch, stored: Path
) -> None:
    """A file that is replaced once it has been read is not read a second time."""
    sha256 = hash_file(stored)
    wanted = read_tensors(stored)

    def read_and_replace(path: Path) -> bytes:
        data = path.read_bytes()
        path.write_bytes(b"another file")
        return data

    monkeypatch.setattr("dream_core.networks.weights.read_regular", read_and_replace)

    found = read_tensors(stored, sha256)

    assert all(torch.equal(tensor, found[name]) for name, tensor in wanted.items())
