"""A plan: everything a render will do, resolved, as data.

Building one reads headers, hashes, the MIDI file and the preset, and checks all that can be checked without
making sound; it writes nothing. A plan prints as JSON and reads back; rendering takes a plan and nothing
else, so the same plan is the same render.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bridge.audiofile import (
    AUDIO_SUFFIXES,
    OUTPUT_SUBTYPES,
    PART_SUFFIX,
    AudioInfo,
    AudioReader,
    output_subtype,
    read_info,
)
from bridge.audiosink import SUBTYPE_BITS
from bridge.envelopes import Envelopes, FollowerSource, Song, build_envelopes, follower_stems
from bridge.errors import AudioFileError, OutputError, PresetError, nearest_names
from bridge.library import load_preset
from bridge.midifile import MidiFile, read_midi
from bridge.naming import audio_values, build_name, check_names, check_template
from bridge.plancheck import MISSING, check_dreams, check_plugins
from bridge.preset import NodeSpec, Preset, apply_settings, node_parameters, parse_preset
from bridge.processors.specs import processor_parameters
from bridge.records import ParamSpec
from bridge.tempo import TempoMap, bpm_from_name, build_tempo_map

__all__ = ["MidiSource", "Plan", "StemPlan", "build_plan", "find_stems", "plan_envelopes"]

_HASH_BLOCK = 1 << 20
_CONTAINERS = {"W64": ".w64", "AIFF": ".aiff", "FLAC": ".flac"}


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MidiSource(_Record):
    """The MIDI file a plan reads."""

    path: str
    sha256: str


class StemPlan(_Record):
    """One stem: what goes in, where it goes, and what it will cost."""

    name: str
    source: str
    sha256: str
    sample_rate: int
    n_channels: int
    n_samples: int
    subtype: str
    target: str
    target_subtype: str
    listens_to: dict[str, str] = Field(
        default_factory=dict, description="other stems it follows or dreams towards, to the sha256 of each"
    )
    peak_depth: float = Field(description="deepest dream in steps")
    depth_integral_s: float = Field(description="integral of depth over time: steps x seconds")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate


class Plan(_Record):
    """Everything a render will do.

    Args:
        preset: The resolved preset as plain data.
        tempo_map: The song's clock as plain data.
        midi: Where notes and lanes come from, if anywhere.
        stems: What is rendered.
        out_dir: Where it goes.
        networks: What listens, and the hashes of its weights.
        plugins: What is hosted, and the hashes of its binaries.
        device: ``cpu``, ``cuda:0``; ``auto`` is resolved where anything dreams.
        threads: Torch's threads on the CPU; None is resolved likewise.
        seed: Added to every seed in the preset.
        automation_block_samples: How often a parameter moves where it cannot move at every sample.
        on_missing: What a plugin that is not installed means: the render fails, or its node is bypassed.
        warnings: What the user should know before rendering.
    """

    format: Literal["reverie/plan"] = "reverie/plan"
    version: Literal[1] = 1
    preset: dict[str, Any]
    preset_sha256: str
    tempo_map: dict[str, Any]
    midi: MidiSource | None = None
    stems: tuple[StemPlan, ...]
    out_dir: str
    networks: dict[str, str] = Field(default_factory=dict, description="network to sha256 of its weights")
    plugins: dict[str, str] = Field(default_factory=dict, description="plugin to sha256, or 'missing'")
    device: str = "auto"
    threads: int | None = None
    seed: int = 0
    automation_block_samples: int = 64
    on_missing: Literal["fail", "bypass"] = "fail"
    warnings: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the plan as JSON; `from_json` reads it back."""
        return self.model_dump_json(indent=2)

    @classmethod
    def from_json(cls, text: str, where: str = "plan") -> Plan:
        """Read a plan from JSON.

        Raises:
            PresetError: It is not one.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise PresetError(f"{where}: not a plan: {place}: {first['msg']}") from None

    def read_preset(self) -> Preset:
        """Return the preset."""
        return parse_preset(self.preset, "plan")

    def read_tempo_map(self) -> TempoMap:
        """Return the song's clock."""
        return TempoMap.from_dict(self.tempo_map)

    def stem_key(self, stem: StemPlan) -> str:
        """Return what decides a stem's samples, as a hash: equal keys, equal work."""
        others = {other.name: other.sha256 for other in self.stems}
        is_shared = self.preset["level"]["common_trim"]
        decisive = {
            "preset": self.preset_sha256,
            "networks": self.networks,
            "plugins": self.plugins,
            "on_missing": self.on_missing,
            "device": [self.device.partition(":")[0], self.threads],
            "tempo_map": self.tempo_map,
            "midi": self.midi.sha256 if self.midi else None,
            "seed": self.seed,
            "automation_block_samples": self.automation_block_samples,
            "stem": stem.model_dump(exclude={"source", "target", "peak_depth", "depth_integral_s"}),
            "session": others if is_shared else {},
            "song_s": max(other.duration_s for other in self.stems),
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def find_stems(paths: Iterable[Path | str]) -> list[Path]:
    """Return the audio files that files and folders name, in order, each once.

    Raises:
        AudioFileError: A path does not exist, or a folder holds no audio.
    """
    found: list[Path] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            inside = sorted(
                file
                for file in path.iterdir()
                if file.suffix.lower() in AUDIO_SUFFIXES
                and not file.name.startswith(".")
                and not file.name.endswith(PART_SUFFIX)
            )
            if not inside:
                raise AudioFileError(
                    f"{path}: the folder holds no audio files; {', '.join(AUDIO_SUFFIXES[:6])} ... are read"
                )
            found += inside
        else:
            found.append(path)
    if not found:
        raise AudioFileError("no stems were given; name audio files or a folder of them")
    return list(dict.fromkeys(path.resolve() for path in found))


def build_plan(
    stems: Sequence[Path | str],
    preset: Preset | str | Path,
    *,
    out_dir: Path | str,
    midi: Path | str | None = None,
    bpm: float | None = None,
    settings: Sequence[str] = (),
    variation: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    subtype: str | None = None,
    name_template: str = "reverie",
    on_missing: Literal["fail", "bypass"] = "fail",
) -> Plan:
    """Resolve what a render will do; nothing is written.

    Args:
        stems: Audio files and folders of them.
        preset: A preset, its name, or a path to one.
        out_dir: Where rendered stems go.
        midi: A MIDI file with tempo, meter, markers, notes and lanes.
        bpm: A tempo that wins over the MIDI file's.
        settings: ``node.param=value`` changes to the preset.
        variation: One of the preset's variations.
        device: Where dreams are computed.
        threads: Torch's threads on the CPU.
        seed: Added to every seed in the preset.
        subtype: Sample type to write (``PCM_24``, ``FLOAT``); None keeps each stem's own.
        name_template: How outputs are called: a template of `bridge.naming`, or the name of one.
        on_missing: ``fail``, or ``bypass`` the nodes whose plugins are not installed.

    Raises:
        InputError: Anything given cannot be used.

    >>> plan = build_plan(["examples/song"], "null-reference", out_dir="out")
    >>> [stem.name for stem in plan.stems]
    ['bass', 'drums', 'keys', 'lead']
    """
    loaded = preset if isinstance(preset, Preset) else load_preset(preset)
    resolved = apply_settings(loaded, settings, variation)
    template = check_template(name_template)
    infos = [_inspect(path) for path in find_stems(stems)]
    parsed = None if midi is None else read_midi(midi)
    tempo_map = _tempo_map(parsed, bpm, infos, resolved)
    song = Song(tempo_map=tempo_map, midi=parsed, length_s=max(info.duration_s for info in infos))
    warnings = [*tempo_map.warnings, *(() if parsed is None else parsed.warnings)]
    hashes = {info.path.stem: hash_file(info.path) for info in infos}
    dreams = check_dreams(resolved, list(hashes), device, threads, seed)
    plugins = check_plugins(resolved, on_missing)
    warnings += [
        f"{name} is not installed: what needs it is bypassed" for name in plugins if plugins[name] == MISSING
    ]
    names: dict[str, object] = {"preset": resolved.slug, "variation": variation, "date": date.today()}
    names["bpm"] = f"{float(tempo_map.bpm_at(0.0)):g}"
    planned: list[StemPlan] = []
    for info in infos:
        envelopes = plan_envelopes(resolved, song, info.sample_rate, seed, stem=info.path.stem)
        warnings += envelopes.warnings
        names["index"] = f"{len(planned) + 1:02d}"
        heard = dreams.wanted | set(follower_stems(resolved.modulators, info.path.stem))
        listens_to = {name: hashes[name] for name in sorted(heard) if name in hashes}
        stem = _plan_stem(info, resolved, envelopes, Path(out_dir), subtype, template, names)
        planned.append(stem.model_copy(update={"sha256": hashes[info.path.stem], "listens_to": listens_to}))
    _check_targets(planned)
    return Plan(
        preset=resolved.to_dict(),
        preset_sha256=resolved.digest(),
        tempo_map=tempo_map.to_dict(),
        midi=None
        if midi is None
        else MidiSource(path=str(Path(midi).resolve()), sha256=hash_file(Path(midi))),
        stems=tuple(planned),
        out_dir=str(Path(out_dir).resolve()),
        networks=dreams.networks,
        plugins=plugins,
        device=dreams.device,
        threads=dreams.threads,
        seed=seed,
        on_missing=on_missing,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def plan_envelopes(
    preset: Preset,
    song: Song,
    sample_rate: int,
    seed: int,
    *,
    stem: str,
    opened: Mapping[str, Mapping[str, ParamSpec]] | None = None,
    followers: Mapping[str, FollowerSource] | None = None,
) -> Envelopes:
    """Build what moves a preset's parameters over a song.

    Args:
        preset: The resolved preset.
        song: Clock, MIDI and length.
        sample_rate: Hz, of the stem.
        seed: Added to the modulators' seeds.
        stem: Name of the stem, for modulators that follow it.
        opened: Parameters of nodes that are known only once they are open (plugins), by node id; routes to
            such nodes are left out while it is None.
        followers: How loud stems are, by name; None while an estimate is made.
    """
    nodes = [node for node in preset.chain if node.enabled]
    targets: dict[str, Mapping[str, ParamSpec]] = {node.id: node_parameters(node) for node in nodes}
    if opened is not None:
        targets |= {node_id: {**targets[node_id], **specs} for node_id, specs in opened.items()}
    unopened = {node.id for node in nodes if node.use == "vst3"} if opened is None else set()
    disabled = {node.id for node in preset.chain if not node.enabled}
    routes = tuple(
        route for route in preset.routes if route.target.partition(".")[0] not in unopened | disabled
    )
    return build_envelopes(
        modulators=preset.modulators,
        routes=routes,
        macros=preset.macros,
        midi_map=preset.midi_map,
        targets=targets,
        bases={node.id: _bases(node, targets[node.id]) for node in nodes},
        song=song,
        sample_rate=sample_rate,
        seed=seed,
        stem=stem,
        followers=followers,
    )


def hash_file(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _inspect(path: Path) -> AudioInfo:
    info = read_info(path)
    if info.subtype in ("FLOAT", "DOUBLE"):
        # Only float files can hold what is no number; the reader names the place.
        with AudioReader(path) as reader:
            while reader.read(1 << 18).shape[1]:
                pass
    return info


def _tempo_map(
    midi: MidiFile | None, bpm: float | None, infos: Sequence[AudioInfo], preset: Preset
) -> TempoMap:
    hinted = next((found for info in infos if (found := bpm_from_name(info.path.stem)) is not None), None)
    default = hinted if hinted is not None else preset.meta.bpm_hint
    if midi is not None:
        return build_tempo_map(midi, bpm=bpm, default_bpm=default)
    if bpm is not None:
        return TempoMap.constant(bpm)
    if default is not None:
        source = "stem name" if hinted is not None else "preset default"
        return TempoMap.constant(default, source=source)
    needs_clock = bool(preset.modulators)
    warning = "no tempo was given: 120 BPM in 4/4 is used. Give --midi or --bpm."
    return TempoMap.constant(120.0, source="default", warnings=(warning,) if needs_clock else ())


def _bases(node: NodeSpec, specs: Mapping[str, ParamSpec]) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, spec in specs.items():
        if spec.is_continuous:
            own = node.params.get(name, spec.default)
            is_node_mix = name == "mix" and (
                node.use == "vst3" or "mix" not in processor_parameters(node.use)
            )
            values[name] = float(node.mix if is_node_mix else own)
    return values


def _plan_stem(
    info: AudioInfo,
    preset: Preset,
    envelopes: Envelopes,
    out_dir: Path,
    subtype: str | None,
    template: str,
    names: Mapping[str, object],
) -> StemPlan:
    suffix = _CONTAINERS.get(info.format, ".wav")
    container = {".aiff": "AIFF", ".flac": "FLAC", ".w64": "W64"}.get(suffix, "WAV")
    written = subtype or output_subtype(info.subtype, container)
    if written not in OUTPUT_SUBTYPES[container]:
        suffix, container = ".wav", "WAV"
    if written not in OUTPUT_SUBTYPES[container]:
        raise OutputError(f"no file can hold {written!r}; {nearest_names(written, OUTPUT_SUBTYPES['WAV'])}")
    peak, integral = _depth(preset, envelopes, info)
    values = {**names, **audio_values(info.path.stem, info.sample_rate, SUBTYPE_BITS[written])}
    return StemPlan(
        name=info.path.stem,
        source=str(info.path),
        sha256="",
        sample_rate=info.sample_rate,
        n_channels=info.n_channels,
        n_samples=info.n_samples,
        subtype=info.subtype,
        target=str(out_dir.resolve() / build_name(template, values, suffix)),
        target_subtype=written,
        peak_depth=peak,
        depth_integral_s=integral,
    )


def _depth(preset: Preset, envelopes: Envelopes, info: AudioInfo) -> tuple[float, float]:
    peak, integral = 0.0, 0.0
    for node in preset.chain:
        if node.use != "dream" or not node.enabled:
            continue
        if (node.id, "depth") in envelopes.moving:
            peak = max(peak, envelopes.peak(node.id, "depth", info.n_samples))
            integral += envelopes.integral(node.id, "depth", info.n_samples)
        else:
            depth = float(node.params.get("depth", node_parameters(node)["depth"].default))
            peak, integral = max(peak, depth), integral + depth * info.duration_s
    return peak, integral


def _check_targets(stems: Sequence[StemPlan]) -> None:
    check_names((stem.source, Path(stem.target)) for stem in stems)
    named: dict[str, str] = {}
    for stem in stems:
        if stem.name in named:
            raise OutputError(
                f"{named[stem.name]} and {stem.source} have one name as stems; rename one of them"
            )
        named[stem.name] = stem.source
        if stem.target == stem.source:
            raise OutputError(f"{stem.source} would be replaced by its own render; choose another --out")
