"""What `reverie doctor` tries: every part of the installation does once what Reverie needs it for.

A package that is there may still not load, or compute nonsense: a version in a list proves neither. A probe
does a small piece of real work through Reverie's own modules and looks at the result.
"""

from __future__ import annotations

import re
import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.records import AudioArray

__all__ = [
    "OPTIONAL",
    "REQUIRED",
    "Finding",
    "mending_command",
    "probe_optional",
    "probe_plugin",
    "probe_required",
    "reason",
]

DISTRIBUTION = "reverie-audio"
PAIR = ("torch", "torchaudio")
"""One loads only beside few versions of the other, so both are mended together."""

_RATE = 48000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report.

    Args:
        what: What was looked at.
        state: What was found, in a few words.
        is_good: Whether it works and needs nothing.
        remedy: The command or the step that mends it, or why nothing has to be done.
        is_needed: Whether Reverie cannot do its work without.
    """

    what: str
    state: str
    is_good: bool
    remedy: str = ""
    is_needed: bool = False


class _WrongResultError(Exception):
    """A package works, but what it gives is wrong."""


def _expect(is_right: bool, what: str) -> None:
    if not is_right:
        raise _WrongResultError(f"gives a wrong result: {what}")


def _sine() -> AudioArray:
    import numpy as np

    time_s = np.arange(_RATE) / _RATE
    return np.sin(2.0 * np.pi * 997.0 * time_s).astype(np.float32)[None]


def _use_numpy() -> str:
    import numpy as np

    sound = _sine()
    _expect(np.allclose(np.fft.irfft(np.fft.rfft(sound)), sound, atol=1e-6), "a transform and back")
    return ""


def _use_torch() -> str:
    import torch

    x = torch.linspace(0.0, 1.0, 256).requires_grad_(True)
    (gradient,) = torch.autograd.grad(torch.fft.irfft(torch.fft.rfft(x)).square().sum(), x)
    _expect(torch.allclose(gradient, 2.0 * x, atol=1e-5), "the gradient of a transform")
    return f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU alone"


def _use_torchaudio() -> str:
    import torch

    from dream_core.frontend import resample

    for to_rate in (16000, 44100):  # the one by blocks, the other by torchaudio's own convolution
        middle = resample(torch.from_numpy(_sine()), _RATE, to_rate)[0, to_rate // 4 : -to_rate // 4]
        _expect(abs(float(middle.square().mean()) - 0.5) < 0.01, f"a tone resampled to {to_rate} Hz")
    return ""


def _use_scipy() -> str:
    from bridge.loudness import measure_loudness

    # By definition of the scale, a full-scale tone of 997 Hz on one channel has -3.01 LUFS.
    loudness = measure_loudness(_sine(), _RATE).integrated_lufs
    _expect(abs(loudness + 3.01) < 0.05, f"a full-scale tone has {loudness:.2f} LUFS instead of -3.01")
    return ""


def _use_soundfile() -> str:
    import numpy as np

    from bridge.audiofile import AudioWriter, read_audio

    sound = 0.5 * _sine()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tone.wav"
        with AudioWriter(path, sample_rate=_RATE, n_channels=1, subtype="PCM_24") as writer:
            writer.write(sound)
        read, sample_rate = read_audio(path)
    is_same = sample_rate == _RATE and read.shape == sound.shape and np.allclose(read, sound, atol=1e-6)
    _expect(is_same, "a WAV file written and read")
    return ""


def _use_soxr() -> str:
    import numpy as np
    import soxr

    halved = soxr.resample(_sine()[0], _RATE, _RATE // 2, "VHQ")
    middle = halved[len(halved) // 4 : -len(halved) // 4]
    _expect(abs(float(np.mean(np.square(middle))) - 0.5) < 0.01, "a tone resampled to half its rate")
    return ""


def _use_pedalboard() -> str:
    import numpy as np

    from bridge.processors.native import build_builtin

    quieter = build_builtin("gain", {"gain_db": -6.0}).process(_sine(), _RATE)
    _expect(np.allclose(quieter, 10.0 ** (-6.0 / 20.0) * _sine(), atol=1e-5), "a gain of -6 dB")
    return ""


def _use_mido() -> str:
    from bridge.midifile import parse_midi
    from bridge.midimessages import check_strict
    from bridge.midiwrite import build_midi
    from bridge.tempo import ClockSettings, TempoMap, build_clock

    written = build_midi(TempoMap.constant(93.0), length_s=4.0)
    check_strict(written, "a MIDI file")
    clock = build_clock(parse_midi(written), ClockSettings())
    _expect(abs(float(clock.bpm_at(0.0)) - 93.0) < 1e-3, "a MIDI file's tempo written and read")
    return ""


def _use_pydantic() -> str:
    from bridge.library import preset_folders
    from bridge.presetfile import load_preset

    names = [path.stem for path in dict(preset_folders())["factory"].glob("*.toml")]
    _expect(bool(names), "there are no factory presets; the installation is not whole")
    for name in names:
        load_preset(f"factory:{name}")
    return f"{len(names)} factory presets load"


def _use_safetensors() -> str:
    from safetensors.numpy import load_file

    weights = load_file(str(resources.files("dream_core") / "networks" / "timbre.safetensors"))
    _expect(bool(weights), "the weights of network timbre")
    return f"{sum(tensor.size for tensor in weights.values()):,} numbers of network timbre load"


REQUIRED: dict[str, Callable[[], str]] = {
    "numpy": _use_numpy,
    "torch": _use_torch,
    "torchaudio": _use_torchaudio,
    "scipy": _use_scipy,
    "soundfile": _use_soundfile,
    "soxr": _use_soxr,
    "pedalboard": _use_pedalboard,
    "mido": _use_mido,
    "pydantic": _use_pydantic,
    "safetensors": _use_safetensors,
}
"""What Reverie needs, and a piece of work for each; a probe may return a word on what it found."""

OPTIONAL = {
    "h5py": ("yamnet", "importing YAMNet's official weights"),
    "matplotlib": ("plot", "pictures of envelopes and spectrograms"),
    "minihost": ("host", "plugins that need the song's tempo"),
}
"""What some features need: the extra that brings it, and what it is for."""


def probe_required(name: str) -> Finding:
    """Use a package Reverie needs.

    Args:
        name: One of `REQUIRED`.
    """
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        mend = mending_command(name)
        return Finding(what=name, state="not installed", is_good=False, remedy=mend, is_needed=True)
    try:
        found = REQUIRED[name]()
    except Exception as error:  # whatever a foreign package does is what is to be told
        state, mend = f"{version} {_failure(name, error)}", mending_command(name, error)
        return Finding(what=name, state=state, is_good=False, remedy=mend, is_needed=True)
    state = f"{version}, {found}" if found else version
    exact = _requirements().get(name, "").removeprefix("==")
    if name in PAIR and exact and version.partition("+")[0] != exact:
        return Finding(
            what=name,
            state=f"{state}; works, but Reverie is tested with {exact}",
            is_good=False,
            remedy=mending_command(name),
        )
    return Finding(what=name, state=state, is_good=True)


def probe_optional(name: str) -> Finding:
    """Load a package that some features need.

    Args:
        name: One of `OPTIONAL`.
    """
    extra, purpose = OPTIONAL[name]
    remedy = f"{purpose}: {_pip()} install {shlex.quote(f'{DISTRIBUTION}[{extra}]')}"
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return Finding(what=name, state="not installed (optional)", is_good=False, remedy=remedy)
        return Finding(what=name, state=_failure(name, error), is_good=False, remedy=remedy)
    except Exception as error:  # as above
        return Finding(what=name, state=_failure(name, error), is_good=False, remedy=remedy)
    return Finding(what=name, state=metadata.version(name), is_good=True)


def probe_plugin() -> Finding:
    """Play a tenth of a second of silence through an installed plugin, in a process of its own."""
    from bridge.errors import ReverieError
    from bridge.hosts.bundle import standard_folders
    from bridge.hosts.scan import PluginCache, find_bundles

    known = [
        (scanned.path, entry.name)
        for scanned, entry in PluginCache.read().plugins()
        if not entry.is_instrument and Path(scanned.path).exists()
    ]
    bundles = find_bundles(standard_folders())
    if not known and not bundles:
        return Finding(
            what="plugins", state="no VST3 plugins found", is_good=True, remedy="reverie plugins scan FOLDER"
        )
    path, name = known[0] if known else (str(bundles[0]), None)
    title = name or Path(path).stem
    try:
        _play(path, name)
    except ReverieError as error:
        remedy = f"reverie plugins check {shlex.quote(title)}"
        return Finding(what="plugins", state=f"{title} does not play: {error}", is_good=False, remedy=remedy)
    return Finding(what="plugins", state=f"{len(known) or len(bundles)} found; {title} plays", is_good=True)


def _play(path: str, name: str | None) -> None:
    import numpy as np

    from bridge.processors.vst3 import VST3

    plugin = VST3(path, plugin_name=name)
    try:
        plugin.process(np.zeros((2, _RATE // 10), np.float32), _RATE)
    finally:
        plugin.close()


def mending_command(name: str, error: BaseException | None = None) -> str:
    """Return the command that puts a package right in the environment that runs this.

    Args:
        name: A package Reverie needs; Torch and torchaudio are mended together, at the versions that fit.
        error: What it did; where the system lacks a library, that is what has to be installed.

    >>> mending_command("pedalboard", ImportError("libatomic.so.1: cannot open shared object file"))
    'apt-get install libatomic1'
    """
    missing = re.search(
        r"(lib[\w+.-]+)\.so\.(\d+): cannot open shared object", reason(error) if error else ""
    )
    if missing is not None and name not in PAIR:
        # Debian calls the package of a library after it and its version.
        dash = "-" if missing[1][-1].isdigit() else ""
        return f"apt-get install {missing[1].lower()}{dash}{missing[2]}"
    requirements = _requirements()
    names = PAIR if name in PAIR else (name,)
    if any(one not in requirements for one in names):
        return f"{_pip()} install --force-reinstall {DISTRIBUTION}"
    wanted = [f"{one}{requirements[one]}" for one in names]
    exact = {one: requirements[one].removeprefix("==") for one in names if requirements[one].startswith("==")}
    is_as_wanted = all(_version(one) == exact.get(one, _version(one)) != "" for one in names)
    # What is there at a version that fits and does not work is broken, or of another kind (a Torch for the
    # CPU beside a torchaudio for CUDA): pip would leave it as it is. Torch needs what its kind brings along.
    again = ["--force-reinstall", *([] if name in PAIR else ["--no-deps"])] if is_as_wanted else []
    return f"{_pip()} {shlex.join(['install', *again, *wanted])}"


def _requirements() -> dict[str, str]:
    """Return what Reverie requires without its extras: names to versions, as ``==2.1`` or ``>=1.26``."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}
    parts = [re.match(r"([A-Za-z0-9._-]+)\s*([^;]*)$", line) for line in lines]
    return {part[1].lower(): part[2].strip() for part in parts if part is not None}


def _version(name: str) -> str:
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""


def _pip() -> str:
    return f"{shlex.quote(sys.executable)} -m pip"


def reason(error: BaseException) -> str:
    """Return what an error says first, and what the error says that led to it."""
    lines = str(error).strip().splitlines()
    said = lines[0].rstrip(".") if lines else type(error).__name__
    return f"{said} ({reason(error.__cause__)})" if error.__cause__ is not None else said


def _failure(name: str, error: Exception) -> str:
    """Say in one line what a package did, and beside which Torch where that is torchaudio."""
    what = reason(error)
    if isinstance(error, _WrongResultError):
        return what
    beside = f" beside torch {_version('torch') or 'that is missing'}" if name == "torchaudio" else ""
    return f"does not work{beside}: {what}"
