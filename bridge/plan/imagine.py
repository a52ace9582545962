"""A plan without a stem: silence of a length goes through a chain that makes sound itself."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from bridge.arrays import BLOCK_SAMPLES
from bridge.audio.formats import container_of
from bridge.audio.writer import AudioWriter
from bridge.clock.durations import parse_duration
from bridge.clock.settings import ClockSettings, bpm_from_name
from bridge.envelopes.follower import follower_stems
from bridge.errors import InputError, OutputError
from bridge.midi.file import read_midi
from bridge.midi.song_clock import build_clock
from bridge.plan.find_stems import resolve_path
from bridge.plan.model import SILENCE, Plan
from bridge.plan.planner import build_plan
from bridge.presets.load import load_noted
from bridge.presets.model import Preset
from bridge.presets.overrides import apply_settings

__all__ = ["plan_imagined"]

_MAX_LENGTH_S = 86_400.0

_MAX_CHANNELS, _MAX_RATE = 8, 655_350
"""What a file of silence can have that takes no room."""


def plan_imagined(
    preset: Preset | str | Path,
    out: Path | str,
    *,
    length: str | None = None,
    midi: Path | str | None = None,
    clock: ClockSettings | None = None,
    sample_rate: int = 48_000,
    n_channels: int = 2,
    settings: Sequence[str] = (),
    variation: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    subtype: str | None = None,
    on_missing: Literal["fail", "bypass"] = "fail",
    trust: bool = False,
) -> Plan:
    """Resolve what dreaming from nothing will do; nothing is written.

    The plan is one of a single stem, which is silence, so that `render_plan`, its manifest, its report and
    `verify` do what they do for stems.

    Args:
        preset: A preset, its name, or a path to one; its chain begins with noise or an instrument.
        out: The file to be made; its suffix says the container.
        length: Such as ``8 s`` or ``4 bars``; None takes the MIDI file's.
        midi: As in `build_plan`, like all that is not named here.
        clock: Tempo, meter and place of the song.
        sample_rate: Hz.
        n_channels: Channels.
        settings: ``node.param=value`` changes to the preset.
        variation: One of the preset's variations.
        device: Where dreams are computed.
        threads: Torch's threads on the CPU.
        seed: Added to every seed in the preset.
        subtype: Sample type to write; None writes 24 bits.
        on_missing: ``fail``, or ``bypass`` the nodes whose plugins are not installed.
        trust: Whether the preset may reach outside its folder.

    Raises:
        InputError: Anything given cannot be used.

    >>> plan = plan_imagined("null-reference", "nothing.wav", length="2 s")
    >>> plan.stems[0].n_samples, plan.stems[0].is_silence
    (96000, True)
    """
    target = resolve_path(Path(out))
    container = container_of(target)
    if target.is_dir():
        raise OutputError(f"{target}: is a folder; name a file, such as {target / 'imagined.wav'}")
    if not 1 <= n_channels <= _MAX_CHANNELS:
        raise InputError(f"{n_channels} channels; 1..{_MAX_CHANNELS} are accepted")
    if not 1 <= sample_rate <= _MAX_RATE:
        raise InputError(f"a sample rate of {sample_rate} Hz; at most {_MAX_RATE} is accepted here")
    loaded, notes = (preset, ()) if isinstance(preset, Preset) else load_noted(preset, trust=trust)
    resolved = apply_settings(loaded, settings, variation)
    clock = clock or ClockSettings()
    length_s = _length_s(length, midi, clock, resolved, target.stem)
    n_samples = round(length_s * sample_rate)
    if not n_samples:
        raise InputError(f"it would be {length_s:.3g} s long, less than a sample; give a greater length")
    with tempfile.TemporaryDirectory() as folder:
        silent = Path(folder) / f"{target.stem}.flac"
        # FLAC holds one value for a block of silence: it takes next to no room, whatever its length.
        with AudioWriter(silent, sample_rate=sample_rate, n_channels=n_channels) as writer:
            for start in range(0, n_samples, BLOCK_SAMPLES):
                writer.write(np.zeros((n_channels, min(BLOCK_SAMPLES, n_samples - start)), np.float32))
        plan = build_plan(
            [silent],
            loaded,
            out_dir=target.parent,
            midi=midi,
            clock=clock,
            settings=settings,
            variation=variation,
            device=device,
            threads=threads,
            seed=seed,
            file_format=container,
            subtype=subtype,
            on_missing=on_missing,
            trust=trust,
        )
    # What listens to the stem itself hears silence, which no file has to be there for.
    facts = {"source": SILENCE, "sha256": "", "stamp": "", "target": str(target), "reference_stems": {}}
    stem = plan.stems[0].model_copy(update=facts)
    warnings = (*notes, *plan.warnings, *_no_source(resolved), *_hear_nothing(resolved, stem.name))
    update = {"name": target.stem, "stems": (stem,), "warnings": tuple(dict.fromkeys(warnings))}
    return plan.model_copy(update=update)


def _length_s(
    length: str | None, midi: Path | str | None, clock: ClockSettings, preset: Preset, name: str
) -> float:
    """Return how long it is to be, on the song's clock."""
    parsed = None if midi is None else read_midi(midi, pattern=clock.pattern, ppq=clock.ppq)
    tempo_map = build_clock(parsed, clock, hint_bpm=bpm_from_name(name) or preset.meta.bpm_hint)
    if length is not None:
        length_s = float(tempo_map.advance(0.0, parse_duration(length, "--length")))
    elif parsed is not None:
        length_s = float(tempo_map.ticks_to_seconds(parsed.end_tick))
    else:
        raise InputError(
            "nothing says how long it is to be; give --seconds 8, --length '4 bars' or --midi FILE"
        )
    if not 0 < length_s <= _MAX_LENGTH_S:
        raise InputError(f"it would be {length_s:.6g} s long; more than 0 and at most a day is accepted")
    return length_s


def _no_source(preset: Preset) -> tuple[str, ...]:
    """Say what to add where nothing in a chain makes sound; a plugin may be an instrument."""
    if any(node.enabled and node.use in ("noise", "vst3") for node in preset.chain):
        return ()
    return (
        f"nothing in the chain of {preset.meta.name} makes sound, so this will be silent; begin it with a "
        "node that uses noise, or with an instrument (vst3) and --midi",
    )


def _hear_nothing(preset: Preset, name: str) -> tuple[str, ...]:
    """Name what moves by the sound of the stem, of which there is none."""
    return tuple(
        f"modulator {modulator.id!r} listens to the stem as it enters its chain, which is silence here"
        for modulator in preset.modulators
        if name in follower_stems([modulator], name)
    )
