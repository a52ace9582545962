"""Where a VST3 bundle keeps its binary, for which machine it was built, and its hash.

A plugin built for another system fails to load with a message about missing libraries, or none. The first
bytes of its binary say what it was built for, so that is checked first.
"""

from __future__ import annotations

import os
import platform
import struct
import sys
from pathlib import Path

from bridge.errors import PluginError
from bridge.files import open_regular
from bridge.hosts.elf_needs import glibc_here, read_needs

__all__ = [
    "PluginNotFoundError",
    "check_bundle",
    "find_binary",
    "standard_folders",
    "this_machine",
]

_ELF_MACHINES = {0x03: "i386", 0x28: "arm", 0x3E: "x86_64", 0xB7: "aarch64", 0xF3: "riscv64"}
_PE_MACHINES = {0x014C: "i386", 0x8664: "x86_64", 0xAA64: "aarch64"}
_MACH_MACHINES = {0x01000007: "x86_64", 0x0100000C: "aarch64"}
_MACHINE_ALIASES = {"amd64": "x86_64", "arm64": "aarch64", "i686": "i386"}
_SYSTEMS = {"linux": "Linux", "darwin": "macOS", "win32": "Windows"}


class PluginNotFoundError(PluginError):
    """No such plugin is installed: what a render may be told to bypass, unlike one that is broken."""


def standard_folders() -> tuple[Path, ...]:
    """Return the folders in which this system keeps VST3 plugins, the user's own first.

    Source: Steinberg, "Plug-in Format Structure", locations per platform.
    """
    home = Path.home()
    if sys.platform == "darwin":
        return (home / "Library/Audio/Plug-Ins/VST3", Path("/Library/Audio/Plug-Ins/VST3"))
    if sys.platform == "win32":
        local, common = os.environ.get("LOCALAPPDATA"), os.environ.get("COMMONPROGRAMFILES")
        folders = [Path(local) / "Programs/Common/VST3"] if local else []
        return tuple(folders + ([Path(common) / "VST3"] if common else []))
    return (home / ".vst3", Path("/usr/lib/vst3"), Path("/usr/local/lib/vst3"))


def find_binary(path: Path) -> Path:
    """Return the shared library inside a bundle, or the file itself where the bundle is one file.

    Raises:
        PluginError: There is no such path, it is not a bundle, it holds no binary for this system, or it
            cannot be looked into.
    """
    try:
        return _look_for_binary(path)
    except OSError as error:
        raise PluginError(f"{path}: the plugin cannot be read: {error.strerror}") from None


def _look_for_binary(path: Path) -> Path:
    if not path.exists():
        raise PluginNotFoundError(
            f"{path}: no such plugin. To see what is installed run: reverie plugins list"
        )
    if path.is_file():
        return path
    contents = path / "Contents"
    if path.suffix.lower() != ".vst3" or not contents.is_dir():
        raise PluginError(f"{path}: not a VST3 bundle (a folder NAME.vst3 with a folder Contents in it)")
    folder, pattern = _binary_place()
    found = sorted((contents / folder).glob(pattern))
    matching = [f for f in found if f.stem == path.stem] or found
    if matching:
        return matching[0]
    built_for = sorted(f.name for f in contents.iterdir() if f.is_dir() and f.name != "Resources")
    held = ", ".join(built_for) if built_for else "nothing"
    raise PluginError(
        f"{path}: no plugin for this machine: Contents/{folder} is wanted, the bundle has {held}"
    )


def check_bundle(path: Path) -> Path:
    """Return a bundle's binary, if this machine can load it.

    Raises:
        PluginError: Not a bundle, not a library, built for another system, processor or C library, or not
            readable.
    """
    binary = find_binary(path)
    try:
        with open_regular(binary) as file:
            head = file.read(4096)
    except OSError as error:
        raise PluginError(f"{binary}: the plugin cannot be read: {error.strerror}") from error
    system, machines = _built_for(head)
    if not system:
        raise PluginError(
            f"{path}: not a VST3 plugin: {binary.name} is not a program library of any known system"
        )
    here = _SYSTEMS.get(sys.platform, sys.platform)
    if system != here:
        raise PluginError(f"{path}: built for {system}, this is {here}; install the plugin's {here} version")
    machine = this_machine()
    if machine not in machines:
        raise PluginError(f"{path}: built for {' and '.join(machines)}, this machine is {machine}")
    _check_c_library(path, binary)
    return binary


def _check_c_library(path: Path, binary: Path) -> None:
    wanted, here = read_needs(binary).glibc, glibc_here()
    if here and wanted > here:
        wants, has = (".".join(map(str, version)) for version in (wanted, here))
        raise PluginError(
            f"{path}: built for a newer Linux: it wants the system library glibc {wants} or later, this "
            f"system has {has}; install the plugin's build for an older system, or use it on a newer one"
        )


def this_machine() -> str:
    """Return this machine's processor as binaries name it."""
    machine = platform.machine().lower()
    return _MACHINE_ALIASES.get(machine, machine)


def _binary_place() -> tuple[str, str]:
    if sys.platform == "darwin":
        return "MacOS", "*"
    if sys.platform == "win32":
        return {"x86_64": "x86_64-win", "aarch64": "arm64-win"}.get(this_machine(), "x86-win"), "*.vst3"
    return f"{platform.machine()}-linux", "*.so"


def _built_for(head: bytes) -> tuple[str, tuple[str, ...]]:
    """Read system and processors from the first bytes of an ELF, Mach-O or PE file; '' for anything else."""
    if head[:4] == b"\x7fELF" and len(head) >= 20:
        order = "<" if head[5] == 1 else ">"
        machine = struct.unpack_from(f"{order}H", head, 18)[0]
        return "Linux", (_ELF_MACHINES.get(machine, f"machine {machine:#x}"),)
    if head[:4] == b"\xcf\xfa\xed\xfe" and len(head) >= 8:
        machine = struct.unpack_from("<I", head, 4)[0]
        return "macOS", (_MACH_MACHINES.get(machine, f"machine {machine:#x}"),)
    if head[:4] == b"\xca\xfe\xba\xbe" and len(head) >= 8:
        count = min(struct.unpack_from(">I", head, 4)[0], (len(head) - 8) // 20)
        machines = [struct.unpack_from(">I", head, 8 + 20 * i)[0] for i in range(count)]
        return "macOS", tuple(_MACH_MACHINES.get(m, f"machine {m:#x}") for m in machines)
    if head[:2] == b"MZ" and len(head) >= 64:
        offset = struct.unpack_from("<I", head, 60)[0]
        if head[offset : offset + 4] == b"PE\0\0" and len(head) >= offset + 6:
            machine = struct.unpack_from("<H", head, offset + 4)[0]
            return "Windows", (_PE_MACHINES.get(machine, f"machine {machine:#x}"),)
    return "", ()
