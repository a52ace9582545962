"""Weights that people hand in: published files in every format, and the wheels they lie in."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import torch
from helpers.checkpoints import checkpoint, varint

from dream_core.networks import published_files, timbre, yamnet_files
from dream_core.networks.onnx_reader import read_floats
from dream_core.networks.published import Published, PublishedFile
from dream_core.networks.tf_checkpoint import read_checkpoint
from dream_core.networks.torch_files import read_state
from dream_core.networks.yamnet import CONVOLUTIONS
from fuzz.reader import Reader

__all__ = ["WEIGHTS_READERS"]

_SHAPES = {"front.weight": (4, 2, 3, 1), "front.bias": (4,), "norm.running_var": (4,)}
_MEMBER = "package/weights.pth"


def _arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.random(shape, np.float32) for name, shape in _SHAPES.items()}


@functools.cache
def _torch_file(*, is_old: bool = False) -> bytes:
    data = io.BytesIO()
    state = {name: torch.from_numpy(array) for name, array in _arrays().items()}
    torch.save(state, data, _use_new_zipfile_serialization=not is_old)
    return data.getvalue()


def _torch_files() -> Mapping[str, bytes]:
    return {"new.pth": _torch_file(), "old.pth": _torch_file(is_old=True)}


def _read_torch(path: Path) -> object:
    return read_state([path.read_bytes()], _SHAPES, "small", "package 1")


def _read_tf(path: Path) -> object:
    return read_checkpoint(path.read_bytes(), checkpoint(_arrays())[1], _SHAPES, "a checkpoint")


def _message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def _onnx() -> bytes:
    tensors = b""
    for name, array in _arrays().items():
        sizes = b"".join(b"\x08" + varint(n) for n in array.shape)
        tensor = sizes + b"\x10\x01" + _message(8, name.encode()) + _message(9, array.tobytes())
        tensors += _message(5, tensor)
    return b"\x08\x08" + _message(7, _message(1, _message(4, b"Conv")) + tensors)


def _read_onnx(path: Path) -> object:
    return read_floats(path.read_bytes(), max_bytes=1 << 20, origin="a model")


def _wheel() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(_MEMBER, _torch_file())
        wheel.writestr("package/__init__.py", "")
    return data.getvalue()


_PUBLISHED = Published(
    card=replace(timbre.CARD, name="small", sha256=""),
    package="package",
    version="1",
    wheel_bytes=1,
    files=(PublishedFile(member=_MEMBER, sha256=hashlib.sha256(_torch_file()).hexdigest()),),
    tensors_sha256="",
    read=lambda blobs: read_state(blobs, _SHAPES, "small", "package 1"),
    build=lambda _tensors, _card: torch.nn.Identity(),
)


def _read_wheel(path: Path) -> object:
    with mock.patch.dict(os.environ, REVERIE_HOME=str(path.parent / "home")):
        return published_files.install(_PUBLISHED, path, trust=True, overwrite=True)


@functools.cache
def _keras() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "yamnet.h5"
        with h5py.File(path, "w") as file:
            for convolution in CONVOLUTIONS:
                name, out, (_, n_inputs, height, width) = (
                    convolution.name, convolution.n_outputs, convolution.weight_shape,
                )  # fmt: skip
                kernel = "depthwise_kernel" if convolution.is_depthwise else "kernel"
                shape = (
                    (height, width, out, 1) if convolution.is_depthwise else (height, width, n_inputs, out)
                )
                _put(file, f"{name}/{name}/{kernel}:0", shape)
                for part in ("beta", "moving_mean", "moving_variance"):
                    _put(file, f"{name}/bn/{name}/bn/{part}:0", (out,))
            _put(file, "logits/logits/kernel:0", (1024, 521))
            _put(file, "logits/logits/bias:0", (521,))
        return path.read_bytes()


def _put(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    file.create_dataset(name, data=np.zeros(shape, np.float32), chunks=shape, compression="gzip")


WEIGHTS_READERS = (
    Reader(name="torch-weights", seeds=_torch_files, read=_read_torch),
    Reader(name="tf-weights", seeds=lambda: {"model.index": checkpoint(_arrays())[0]}, read=_read_tf),
    Reader(name="onnx-weights", seeds=lambda: {"model.onnx": _onnx()}, read=_read_onnx),
    Reader(name="wheel", seeds=lambda: {"small.whl": _wheel()}, read=_read_wheel),
    Reader(name="keras-weights", seeds=lambda: {"yamnet.h5": _keras()}, read=yamnet_files.read_published),
)
