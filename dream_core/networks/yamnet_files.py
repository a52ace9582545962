"""YAMNet's weights on disk: read from the published formats, checked, installed, loaded."""

from __future__ import annotations

import csv
import io
import json
import pickle
import struct
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dream_core.errors import WeightsError, WeightsMismatchError
from dream_core.files import hash_file, private_folder, read_regular, remove_leftovers, write_whole
from dream_core.networks.card import NetworkCard
from dream_core.networks.download import fetch_file
from dream_core.networks.weights import (
    check_file,
    load_into,
    networks_folder,
    read_header,
    read_tensors,
    write_tensors,
)
from dream_core.networks.yamnet import (
    CARD,
    CARD_22050,
    CONVOLUTIONS,
    SPEC,
    SPEC_22050,
    YamNet,
    card_with_classes,
    check_published,
    fold_published,
)

__all__ = [
    "OFFICIAL_ADDRESS",
    "OFFICIAL_BYTES",
    "OFFICIAL_SHA256",
    "fetch",
    "install",
    "installed_card",
    "is_installed",
    "load",
    "read_class_map",
    "read_published",
    "read_record",
]

OFFICIAL_ADDRESS = "https://storage.googleapis.com/audioset/yamnet.h5"
OFFICIAL_SHA256 = "13c3308955bbfaef262f175ac9c40e47b134573a93984f009220dd7cc12a1744"
OFFICIAL_BYTES = 15_296_092
_MAX_BYTES = 64 << 20  # four times the published file
_MAX_RECORD_BYTES = 1 << 20
_MAX_VALUES = 1 << 22
_BATCH_NORM = ("beta", "moving_mean", "moving_variance")


def _weights_path() -> Path:
    return networks_folder() / "yamnet.safetensors"


def _record_path() -> Path:
    return networks_folder() / "yamnet.json"


def read_record() -> dict[str, Any]:
    """Read what was installed and from where; empty where nothing was.

    Raises:
        WeightsError: The record is damaged.
    """
    path = _record_path()
    try:
        record = json.loads(read_regular(path, _MAX_RECORD_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        record = None
    texts = ("sha256", "source", "source_sha256")
    if not isinstance(record, dict) or not all(isinstance(record.get(key, ""), str) for key in texts):
        raise WeightsError(f"{path} cannot be read; import yamnet's weights again, which writes it anew")
    return record


def _recorded_source() -> str:
    try:
        return str(read_record().get("source_sha256", ""))
    except WeightsError:
        return ""


def is_installed() -> bool:
    """Say whether weights are installed for this user, and whole enough to be opened."""
    try:
        read_header(_weights_path())
    except WeightsError:
        return False
    return True


def installed_card(card: NetworkCard = CARD) -> NetworkCard:
    """Return YAMNet's card, with its classes named where a class map was imported.

    Where the installed file is damaged it is the plain card, so that it can be shown and the file replaced.

    Args:
        card: The plain card, `CARD` or `CARD_22050`.
    """
    classes = read_header(_weights_path()).get("classes") if is_installed() else None
    if not classes or not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        return card
    return card_with_classes(tuple(classes), card) if len(classes) == len(card.classes) else card


def load(weights: Path | None = None, card: NetworkCard = CARD) -> YamNet:
    """Load YAMNet from the installed weights, or straight from a file in a published format.

    Args:
        weights: A file in a published format; None takes the installed weights.
        card: The plain card, `CARD` or `CARD_22050`: which of its front ends.

    Raises:
        WeightsError: No weights are installed, or the file is damaged or of another network.
    """
    spec = SPEC_22050 if card.name == CARD_22050.name else SPEC
    if weights is not None:
        network, tensors, origin = YamNet(card, spec), read_published(weights), str(weights)
    else:
        path = _weights_path()
        if not path.exists():
            raise WeightsError(
                "yamnet's weights are not installed; they are Google's and are never fetched automatically. "
                "Call `reverie networks get yamnet`, or `reverie networks import yamnet FILE.h5` "
                f"with the file from {OFFICIAL_ADDRESS}"
            )
        network = YamNet(installed_card(card), spec)
        tensors = read_tensors(path, read_record().get("sha256", ""))
        origin = str(path)
    check_published(tensors, origin)
    network.double()
    load_into(network, fold_published(tensors), origin)
    return network


def install(
    source: Path, class_map: Path | None = None, *, address: str = "", overwrite: bool = False
) -> Path:
    """Install YAMNet's weights for this user, from a file in a published format.

    Args:
        source: ``.h5`` (Keras, needs h5py), ``.pth`` (torch_audioset) or ``.safetensors`` (written by this).
        class_map: AudioSet's ``yamnet_class_map.csv``; without it classes go by number.
        address: Where the file was fetched from, for the record.
        overwrite: Whether weights from another file that are there are replaced.

    Returns:
        The installed file; beside it lies ``yamnet.json`` with its SHA-256 and that of the source.

    Raises:
        WeightsError: The file or the class map cannot be used; nothing is installed then.
    """
    tensors = read_published(source)
    check_published(tensors, str(source))
    classes = read_class_map(class_map) if class_map else ()
    target, source_sha256 = _weights_path(), hash_file(source)
    if not overwrite and is_installed() and _recorded_source() != source_sha256:
        raise WeightsError(f"{target} holds weights of another file; --overwrite replaces them")
    sha256 = write_tensors(target, tensors, {"kind": "yamnet", "classes": list(classes)})
    record = {
        "sha256": sha256,
        "source": address or source.name,
        "source_sha256": source_sha256,
        "class_map": class_map.name if class_map else None,
    }
    with write_whole(_record_path()) as part:
        part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return target


def fetch(
    class_map: Path | None = None,
    *,
    address: str = OFFICIAL_ADDRESS,
    report: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> Path:
    """Fetch the published Keras file and install it; called only when the user asks.

    The official file's SHA-256 is known; that of another address is recorded the first time, and the same
    address must give the same file ever after.

    Args:
        class_map: As for `install`.
        address: Where the file is.
        report: Told bytes done and bytes in all (None where the server does not say).

    Returns:
        The installed file.

    Raises:
        WeightsError: The address cannot be reached, or gives another file than it did; nothing is installed.
    """
    try:
        record = read_record()
    except WeightsError:
        record = {}  # nothing is known of the file that was there
    known = record.get("source_sha256", "") if record.get("source") == address else ""
    known = OFFICIAL_SHA256 if address == OFFICIAL_ADDRESS else known
    try:
        networks_folder().mkdir(parents=True, exist_ok=True)
        remove_leftovers(networks_folder())  # of a fetch that was killed
        with private_folder(networks_folder()) as folder:
            fetched = folder / "yamnet.h5"
            fetch_file(address, fetched, max_bytes=_MAX_BYTES, sha256=known, report=report)
            return install(fetched, class_map, address=address, overwrite=True)
    except WeightsMismatchError as error:
        if address == OFFICIAL_ADDRESS:
            raise
        raise WeightsMismatchError(
            f"{error}. The expected one is what it gave before; if you trust the new file, delete "
            f"{_record_path()} and call again"
        ) from None
    except OSError as error:
        raise WeightsError(f"{networks_folder()} cannot be written ({error.strerror or error})") from None


def read_class_map(path: Path) -> tuple[str, ...]:
    """Read AudioSet's display names, in YAMNet's order, from its class map.

    Raises:
        WeightsError: The file is absent or not a class map of 521 rows with a column ``display_name``.
    """
    try:
        text = read_regular(path, _MAX_RECORD_BYTES).decode("utf-8")
        rows = sorted(csv.DictReader(io.StringIO(text, newline="")), key=lambda row: int(row["index"]))
        names = tuple(row["display_name"] for row in rows)
        if not all(isinstance(name, str) and "\0" not in name for name in names):
            raise ValueError("a row has no name")
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise WeightsError(
            f"{path} is not a class map ({_first_line(error)}); "
            "a CSV with the columns index, mid, display_name is expected"
        ) from None
    card_with_classes(names)
    return names


def read_published(path: Path) -> dict[str, Tensor]:
    """Read YAMNet's tensors by Keras' layer names, in Torch's layout, from any published format.

    Raises:
        WeightsError: The file is absent, damaged, of another kind, or holds more than plain tensors.
    """
    check_file(path, _MAX_BYTES)
    readers = {
        ".h5": _read_keras,
        ".hdf5": _read_keras,
        ".pth": _read_torch,
        ".pt": _read_torch,
        ".safetensors": read_tensors,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise WeightsError(f"{path.name}: weights are read from {', '.join(readers)}; give one of these")
    return reader(path)


def _read_keras(path: Path) -> dict[str, Tensor]:
    try:
        import h5py
    except ImportError:
        raise WeightsError(
            "reading .h5 weights needs h5py, which is not installed; run: pip install 'reverie-audio[yamnet]'"
        ) from None
    tensors: dict[str, Tensor] = {}

    def take(target: str, dataset: str) -> None:
        data = file[dataset]
        # Its shape says how much memory it takes, whatever the file holds; other files may be named in it.
        if data.size > _MAX_VALUES or data.external or data.is_virtual:
            raise ValueError(f"{dataset} is none of its arrays")
        tensors[target] = torch.from_numpy(data[()])

    try:
        with h5py.File(path, "r") as file:
            for convolution in CONVOLUTIONS:
                name = convolution.name
                kernel = "depthwise_kernel" if convolution.is_depthwise else "kernel"
                take(f"{name}/kernel", f"{name}/{name}/{kernel}:0")
                for part in _BATCH_NORM:
                    take(f"{name}/bn/{part}", f"{name}/bn/{name}/bn/{part}:0")
            take("dense/kernel", "logits/logits/kernel:0")
            take("dense/bias", "logits/logits/bias:0")
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise WeightsError(
            f"{path} is not YAMNet's Keras file, or is cut short ({_first_line(error)}); "
            f"the official one is {OFFICIAL_ADDRESS}"
        ) from None
    return {name: _to_torch_layout(name, tensor) for name, tensor in tensors.items()}


def _to_torch_layout(name: str, tensor: Tensor) -> Tensor:
    if not name.endswith("kernel"):
        return tensor
    if tensor.ndim == 2:
        return tensor.T.contiguous()
    # Keras: (height, width, in, out); depthwise (height, width, channels, 1).
    order = (2, 3, 0, 1) if "depthwise" in name else (3, 2, 0, 1)
    return tensor.permute(order).contiguous() if tensor.ndim == 4 else tensor


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            is_torch = file.read(2).startswith((b"PK", b"\x80"))  # a zip archive, or a pickle of old
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror})") from None
    if not is_torch:
        raise WeightsError(f"{path} is not a Torch file; was a web page saved in its place?")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Torch warns of a file that it then refuses
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path} holds Python objects besides tensors, which could run code; it was not opened. "
            "Save its plain state_dict, or use the official .h5 file"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError, struct.error) as error:
        raise WeightsError(f"{path} is not a complete Torch file ({_first_line(error)})") from None
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path} holds a {type(state).__name__}, not a state_dict")
    tensors: dict[str, Tensor] = {}
    for name, key in _torch_keys().items():
        value = state.get(key)
        if not isinstance(value, Tensor) or value.layout is not torch.strided:
            raise WeightsError(f"{path} has no tensor {key!r}; it does not hold torch_audioset's YAMNet")
        tensors[name] = state[key]
    scales = [value for key, value in state.items() if key.endswith("bn.weight")]
    if any((scale != 1).any() for scale in scales):
        raise WeightsError(
            f"{path}: its batch normalisation has scales, YAMNet's has none; it is of another network"
        )
    return tensors


def _torch_keys() -> dict[str, str]:
    """Return the keys of torch_audioset's state_dict (its ``yamnet/model.py``), by Keras' layer names."""
    parts = {"beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    keys = {"dense/kernel": "classifier.weight", "dense/bias": "classifier.bias"}
    for convolution in CONVOLUTIONS:
        prefix = convolution.name.replace("/", ".").replace("layer1.conv", "layer1.fused")
        keys[f"{convolution.name}/kernel"] = f"{prefix}.conv.weight"
        for part, theirs in parts.items():
            keys[f"{convolution.name}/bn/{part}"] = f"{prefix}.bn.{theirs}"
    return keys


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
