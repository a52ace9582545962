"""What is installed: the program's own version, and what to do about a package that does not load.

Nothing here imports more than the standard library, so that it works where little else does.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

__all__ = [
    "DISTRIBUTION",
    "PAIR",
    "join_command",
    "pip_command",
    "program_version",
    "read_requirements",
    "reason_of",
    "repair_command",
    "safe_search_path",
    "unloadable_package",
]

DISTRIBUTION = "reverie-audio"

PAIR = ("torch", "torchaudio")
"""One loads only beside few versions of the other, so both are mended together."""

_OWN = {"bridge", "dream_core", "__main__"}


@cache
def program_version() -> str:
    """Return the version of the program that is running."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "not installed"


def unloadable_package(error: BaseException) -> str | None:
    """Name the foreign package that failed while it was being imported, if that is what happened.

    Of several it is the innermost: what broke, not who wanted it.

    Returns:
        The name it is imported by; None where the error is of another kind.
    """
    if isinstance(error, ModuleNotFoundError) and error.name:
        return error.name.partition(".")[0]
    imported = [
        str(frame.f_globals.get("__name__", "")).partition(".")[0]
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name == "<module>"
    ]
    foreign = [package for package in imported if package not in _OWN]
    if not foreign and imported:  # one of our own modules asked for what a package does not hold
        foreign = [package for package in _accused(error) if package not in _OWN]
    return foreign[-1] if foreign else None


def _accused(error: BaseException) -> list[str]:
    """Name the package in which a name is missing, or whose source is damaged."""
    if isinstance(error, ImportError) and error.name:
        return [error.name.partition(".")[0]]
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        return [error.obj.__name__.partition(".")[0]]
    if isinstance(error, SyntaxError) and error.filename:
        path = Path(error.filename)
        folders = [folder for folder in sys.path if folder and path.is_relative_to(folder)]
        return [path.relative_to(max(folders, key=len)).parts[0].removesuffix(".py")] if folders else []
    return []


def reason_of(error: BaseException) -> str:
    """Return what an error says first, and what the error says that led to it.

    >>> reason_of(OSError("libtorch.so: cannot open."))
    'libtorch.so: cannot open'
    """
    lines = str(error).strip().splitlines()
    said = lines[0].rstrip(".") if lines else type(error).__name__
    return f"{said} ({reason_of(error.__cause__)})" if error.__cause__ is not None else said


def repair_command(package: str, error: BaseException | None = None) -> str:
    """Return the command that puts a package right in the environment that runs this.

    Args:
        package: The name it is installed or imported by.
        error: What it did; where the system lacks a library, that is what has to be installed.

    >>> repair_command("pedalboard", ImportError("libatomic.so.1: cannot open shared object file"))
    'apt-get install libatomic1'
    """
    missing = re.search(
        r"(lib[\w+.-]+)\.so\.(\d+): cannot open shared object", reason_of(error) if error is not None else ""
    )
    if missing is not None and package not in PAIR:
        # Debian calls the package of a library after it and its version.
        dash = "-" if missing[1][-1].isdigit() else ""
        return f"apt-get install {missing[1].lower()}{dash}{missing[2]}"
    if package == DISTRIBUTION:
        return f"in Reverie's own folder: {pip_command('install', '--force-reinstall', '--no-deps', '.')}"
    name = _distribution_of(package)
    requirements = read_requirements()
    if name in PAIR and all(one in requirements for one in PAIR):
        wanted = [f"{one}{requirements[one]}" for one in PAIR]
        is_as_wanted = all(f"=={_version(one)}" == requirements[one] for one in PAIR)
        # Of the right version and still not working: a Torch for the CPU beside a torchaudio for CUDA, say.
        # Each kind brings libraries of its own along.
        return pip_command("install", *(["--force-reinstall"] if is_as_wanted else []), *wanted)
    if _version(name):
        # What is there and does not work is damaged. Another version might not fit its neighbours.
        return pip_command("install", "--force-reinstall", "--no-deps", f"{name}=={_version(name)}")
    if name in requirements:
        return pip_command("install", f"{name}{requirements[name]}")
    return f"in Reverie's own folder: {pip_command('install', '.')}"


def read_requirements() -> dict[str, str]:
    """Return what Reverie requires without its extras: names to versions, as ``==2.1`` or ``>=1.26``."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}
    parts = [re.match(r"([A-Za-z0-9._-]+)\s*([^;]*)$", line) for line in lines]
    return {part[1].lower(): part[2].strip() for part in parts if part is not None}


def pip_command(*arguments: str) -> str:
    """Return a call of pip for the interpreter that runs this, to be copied into a shell."""
    return join_command([sys.executable, "-m", "pip", *arguments])


def join_command(words: Sequence[str]) -> str:
    """Write words as one line for this system's shell."""
    if os.name != "nt":
        return shlex.join(words)
    # Beside blanks, which Python quotes, cmd.exe takes these signs for its own.
    return " ".join(
        f'"{word}"' if set(word) & set("<>|&^") else subprocess.list2cmdline([word]) for word in words
    )


def _version(name: str) -> str:
    """Return the version that is installed, without what tells builds apart; empty where there is none."""
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""


def _distribution_of(package: str) -> str:
    """Return what brings a package that is imported by this name: ``pydantic-core`` for pydantic_core."""
    if _version(package):
        return package.replace("_", "-")
    return metadata.packages_distributions().get(package, [package])[0]


def safe_search_path() -> str:
    """Return PYTHONPATH for a child process: this project first, and no place that is the working folder.

    An entry that is empty or relative would run code of whatever folder one happens to be in.
    """
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    package_root = str(Path(__file__).resolve().parents[1])
    return os.pathsep.join((package_root, *(path for path in inherited if Path(path).is_absolute())))
