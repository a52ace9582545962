"""The conformance suite for hosted plugins: what a render relies on, from the simplest claim to fuzzing.

    1  it runs: finite sound at several rates, block sizes and channel counts
    2  blocks: the same sound whatever the blocks; bypass, where there is one, is the input
    3  repeatable: the same sound twice; state survives save and load
    4  latency: what it reports is what it does
    5  fuzz: random positions of all parameters, all of it finite

What pluginval would say decides where it has a rule: only parameters that can be automated take part in the
round trip of a state, positions may be rounded by a tenth, and a bypass is left alone.

A check says `passed`, `failed`, `warned` or `skipped`, with figures; it never raises for what the plugin
does. A warning is not pluginval's: plugins with free-running modulation or noise do not repeat themselves,
and some sound otherwise in other blocks, so their renders differ from run to run or with the block size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bridge.arrays import AudioArray
from bridge.errors import PluginFaultError, ReverieError
from bridge.hosts.contract import BackendName
from bridge.hosts.vstpreset import parse_vstpreset
from bridge.processors.vst3 import VST3

__all__ = ["CHECKS", "Check", "CheckResult", "check_plugin"]

Outcome = Literal["passed", "failed", "skipped", "warned"]

_SAMPLE_RATE = 48000.0
_SOUND_SAMPLES = 24000
_FUZZ_ROUNDS = 12
_SAME_DB = -80.0
_STATE_TOLERANCE = 0.1
"""How far a position may be from the saved one, as pluginval has it: plugins round their values."""

_BYPASS_NAMES = ("bypass", "bypassed", "master_bypass", "plugin_bypass")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one check found."""

    name: str
    level: int
    outcome: Outcome
    detail: str


Verdict = tuple[Outcome, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One claim about a plugin.

    Args:
        name: The claim, in a few words.
        level: How strict it is, 1 to 5.
        run: Try it on a plugin that has just been loaded, with a seeded generator.
        binds: Whether a sound plugin must keep it. pluginval has no rule for the others: what breaks one
            is a warning, since renders of such a plugin depend on more than the preset.
    """

    name: str
    level: int
    run: Callable[[VST3, np.random.Generator], Verdict]
    binds: bool = True


def check_plugin(
    plugin: str | Path,
    *,
    plugin_name: str | None = None,
    level: int = 3,
    seed: int = 0,
    timeout_s: float = 10.0,
    backend: BackendName | Literal["auto"] = "auto",
) -> list[CheckResult]:
    """Run every check up to a level, each on a fresh instance in a process of its own.

    Args:
        plugin: Path or name.
        plugin_name: Which plugin of a bundle that holds several.
        level: 1 to 5.
        seed: For the test sounds and the fuzzing; the same seed repeats a failure.
        timeout_s: Longest wait for a block of sound.
        backend: Which host.

    Raises:
        PluginError: The plugin cannot be loaded at all.
    """
    results = []
    for check in CHECKS:
        if check.level > level:
            continue
        with VST3(plugin, plugin_name=plugin_name, timeout_s=timeout_s, backend=backend) as vst3:
            try:
                outcome, detail = check.run(vst3, np.random.default_rng(seed))
                if outcome == "failed" and not check.binds:
                    outcome = "warned"
            except PluginFaultError as fault:
                outcome, detail = "failed", str(fault).split(". To let")[0]
            except ReverieError as error:
                outcome, detail = "failed", str(error)
        results.append(CheckResult(name=check.name, level=check.level, outcome=outcome, detail=detail))
    return results


def _sound(generator: np.random.Generator, channels: int = 2, samples: int = _SOUND_SAMPLES) -> AudioArray:
    return generator.uniform(-0.5, 0.5, (channels, samples)).astype(np.float32)


def _play(
    vst3: VST3, sound: AudioArray, buffer_size: int = 512, sample_rate: float = _SAMPLE_RATE
) -> AudioArray:
    """Run an effect over a sound, or let an instrument play a chord as long as it."""
    if vst3.is_effect:
        return vst3.process(sound, sample_rate, buffer_size)
    length_s = sound.shape[1] / sample_rate
    chord = [(0.01 + 0.01 * i, bytes([0x90, note, 96])) for i, note in enumerate((60, 64, 67))]
    chord += [(length_s / 2, bytes([0x80, note, 0])) for note in (60, 64, 67)]
    return vst3.render(chord, length_s, sample_rate, buffer_size=buffer_size)


def _difference_db(one: AudioArray, other: AudioArray) -> float:
    peak = float(np.abs(one.astype(np.float64) - other).max(initial=0.0))
    return -np.inf if peak == 0.0 else 20.0 * float(np.log10(peak))


def _is_finite(vst3: VST3, generator: np.random.Generator) -> Verdict:
    rates, sizes = (44100.0, 48000.0, 96000.0), (64, 512, 8192)
    peak = 0.0
    for rate in rates:
        for size in sizes:
            peak = max(peak, float(np.abs(_play(vst3, _sound(generator), size, rate)).max()))
    return (
        "passed",
        f"{len(rates)} rates x {len(sizes)} block sizes, peak {20 * np.log10(max(peak, 1e-12)):.1f} dBFS",
    )


def _takes_mono(vst3: VST3, generator: np.random.Generator) -> Verdict:
    if vst3.is_instrument:
        return "skipped", "an instrument"
    _play(vst3, _sound(generator, channels=1))
    return "passed", ""


def _takes_silence(vst3: VST3, _: np.random.Generator) -> Verdict:
    if vst3.is_instrument:
        return "skipped", "an instrument"
    peak = float(np.abs(_play(vst3, np.zeros((2, _SOUND_SAMPLES), np.float32))).max())
    return "passed", "silent" if peak == 0.0 else f"makes {20 * np.log10(peak):.1f} dBFS of its own"


def _ignores_blocks(vst3: VST3, generator: np.random.Generator) -> Verdict:
    sound = _sound(generator)
    reference = _play(vst3, sound, 512)
    worst = max(_difference_db(reference, _play(vst3, sound, size)) for size in (64, 333, 8192))
    return ("passed" if worst < -90.0 else "failed"), f"blocks of 64, 333, 8192 against 512: {worst:.0f} dBFS"


def _ignores_chunks(vst3: VST3, generator: np.random.Generator) -> Verdict:
    if vst3.is_instrument:
        return "skipped", "an instrument"
    sound = _sound(generator)
    reference = _play(vst3, sound)
    pieces = [
        vst3.process(sound[:, i : i + 777], _SAMPLE_RATE, 512, False) for i in range(0, sound.shape[1], 777)
    ]
    worst = _difference_db(reference, np.concatenate([*pieces, vst3.flush()], axis=1))
    return (
        "passed" if worst < -90.0 else "failed"
    ), f"a stream in pieces of 777 against the whole: {worst:.0f} dBFS"


def _bypass_is_null(vst3: VST3, generator: np.random.Generator) -> Verdict:
    name = next((name for name in _BYPASS_NAMES if name in vst3.parameters), None)
    if name is None or vst3.is_instrument or not isinstance(vst3.parameters[name].default, bool):
        return "skipped", "no bypass parameter"
    vst3.set_parameter(name, True)
    sound = _sound(generator)
    worst = _difference_db(sound, _play(vst3, sound))
    return ("passed" if worst < -120.0 else "failed"), f"bypassed against the input: {worst:.0f} dBFS"


def _repeats_itself(vst3: VST3, generator: np.random.Generator) -> Verdict:
    sound = _sound(generator)
    worst = _difference_db(_play(vst3, sound), _play(vst3, sound))
    return ("passed" if worst < -90.0 else "failed"), f"twice the same: {worst:.0f} dBFS"


def _keeps_state(vst3: VST3, generator: np.random.Generator) -> Verdict:
    """Save random settings, change them, load them: pluginval's rule for the values, and the sound."""
    own = vst3.preset_data
    if own and not parse_vstpreset(own, vst3.name).chunks.get("Comp"):
        return "skipped", "the plugin keeps no state; set its parameters in the preset"
    sound = _sound(generator)
    _randomise(vst3, generator)
    raws = {name: vst3.get_raw(name) for name in _moving(vst3)}
    data = vst3.preset_data
    before, repeated = _play(vst3, sound), _play(vst3, sound)
    _randomise(vst3, generator)
    vst3.preset_data = data
    lost = [name for name, raw in raws.items() if abs(vst3.get_raw(name) - raw) > _STATE_TOLERANCE]
    if lost:
        return "failed", f"{len(lost)} of {len(raws)} parameters change on reload: {', '.join(lost[:4])}"
    wander_db = _difference_db(before, repeated)
    if wander_db > _SAME_DB:
        return "passed", f"{len(raws)} parameters; the sound differs from run to run by {wander_db:.0f} dBFS"
    difference = _difference_db(before, _play(vst3, sound))
    level_db = 20.0 * float(np.log10(max(float(np.abs(before).max()), 1e-6)))
    is_same = difference < _SAME_DB + max(0.0, level_db)
    return ("passed" if is_same else "failed"), f"{len(raws)} parameters, sound within {difference:.0f} dBFS"


def _latency_is_true(vst3: VST3, generator: np.random.Generator) -> Verdict:
    """Find the delay of a burst by correlation: after compensation nothing of it should be left."""
    if vst3.is_instrument:
        return "skipped", "an instrument"
    reported = vst3.latency_samples
    sound = np.zeros((2, 2 * _SOUND_SAMPLES), np.float32)
    sound[:, _SOUND_SAMPLES : _SOUND_SAMPLES + 4800] = _sound(generator, samples=4800)
    output = _play(vst3, sound)
    spectrum = np.fft.rfft(output[0], 4 * _SOUND_SAMPLES) * np.conj(np.fft.rfft(sound[0], 4 * _SOUND_SAMPLES))
    correlation = np.abs(np.fft.irfft(spectrum))
    lag = int(correlation.argmax())
    lag = lag - len(correlation) if lag > len(correlation) // 2 else lag
    if correlation.max() < 0.25 * float(np.dot(sound[0], sound[0])) * float(np.abs(output).max()):
        return "skipped", "the output does not resemble the input enough to tell"
    return (
        "passed" if abs(lag) <= 1 else "failed"
    ), f"reports {reported} samples, {lag} left after compensation"


def _survives_fuzzing(vst3: VST3, generator: np.random.Generator) -> Verdict:
    sound = _sound(generator, samples=8192)
    for _ in range(_FUZZ_ROUNDS):
        _randomise(vst3, generator)
        _play(vst3, sound)
    return "passed", f"{_FUZZ_ROUNDS} random settings of {len(vst3.parameters)} parameters"


def _moving(vst3: VST3) -> list[str]:
    """Name what a user may move while the plugin plays: no bypass, no program."""
    return [
        name
        for name, spec in vst3.parameters.items()
        if spec.automation != "none" and vst3.role_of(name) == "sound" and name not in _BYPASS_NAMES
    ]


def _randomise(vst3: VST3, generator: np.random.Generator) -> None:
    for name in _moving(vst3):
        vst3.set_raw(name, vst3.nearest_raw(name, float(generator.uniform())))


CHECKS: tuple[Check, ...] = (
    Check(name="finite at every rate and block size", level=1, run=_is_finite),
    Check(name="takes mono", level=1, run=_takes_mono),
    Check(name="takes silence", level=1, run=_takes_silence),
    Check(name="block-size independence", level=2, run=_ignores_blocks, binds=False),
    Check(name="chunk independence", level=2, run=_ignores_chunks, binds=False),
    Check(name="bypass is null", level=2, run=_bypass_is_null, binds=False),
    Check(name="deterministic", level=3, run=_repeats_itself, binds=False),
    Check(name="state round trip", level=3, run=_keeps_state),
    Check(name="latency truth", level=4, run=_latency_is_true),
    Check(name="parameter fuzzing", level=5, run=_survives_fuzzing),
)
"""Every check, in the order of their levels."""
