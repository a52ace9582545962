"""Build a plan: read headers, hashes, the MIDI file and the preset, and check all that needs no sound.

Nothing is written, and nothing is opened that can crash.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Literal

from bridge.arrays import BLOCK_SAMPLES
from bridge.audio.alignment import Alignment, Placement, align_stems
from bridge.audio.formats import SUBTYPE_BITS, choose_output
from bridge.audio.reader import AudioInfo, AudioReader, read_info, read_metadata
from bridge.clock.settings import ClockSettings, bpm_from_name
from bridge.clock.tempo_map import TempoMap
from bridge.daw.session_midi import add_session
from bridge.envelopes.evaluate import Envelopes
from bridge.envelopes.follower import follower_stems
from bridge.envelopes.song import Song
from bridge.errors import AudioFileError, EnvelopeError, InputError, OutputError, PlanError, TempoError
from bridge.files import check_names, hash_file, stamp_file
from bridge.midi.file import MidiFile, read_midi
from bridge.midi.song_clock import build_clock
from bridge.plan.checks import (
    MISSING,
    channel_warnings,
    check_dreams,
    check_followed,
    check_ladder,
    check_pitch,
    check_plugins,
    check_sidechains,
    clock_rates,
    sort_ladder,
)
from bridge.plan.find_stems import find_stems, resolve_path
from bridge.plan.growth import check_growth, growth_networks, growth_notes
from bridge.plan.held_frequencies import HeldFrequencies
from bridge.plan.model import MidiSource, Plan, SessionSource, StemPlan
from bridge.plan.output_names import audio_values, build_name, check_template, stem_outputs
from bridge.plan.played import check_played, unheard_notes
from bridge.plan.section import Section
from bridge.plan.session_stems import find_clock, session_clock
from bridge.plan.stand_in import stand_in
from bridge.plan.stem_envelopes import build_preset_envelopes
from bridge.presets.keyswitches import dreams_of
from bridge.presets.load import load_noted, with_location
from bridge.presets.model import Preset, node_parameters
from bridge.presets.overrides import apply_settings, find_overruled

__all__ = ["build_plan", "check_preset"]

NAMED_BPM_TOLERANCE = 0.5
"""Names round tempos: within this of one of the song's they agree with it."""

_NAMED = 20
"""So many stems that cannot be used are named in one message."""


def build_plan(
    stems: Sequence[Path | str],
    preset: Preset | str | Path,
    *,
    out_dir: Path | str,
    midi: Path | str | None = None,
    session: SessionSource | None = None,
    clock: ClockSettings | None = None,
    align: bool = True,
    sample_rate: int | None = None,
    settings: Sequence[str] = (),
    variation: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    file_format: str | None = None,
    subtype: str | None = None,
    name_template: str = "reverie",
    ladder: Sequence[int] = (),
    section: Section | None = None,
    crop: bool = False,
    on_missing: Literal["fail", "bypass"] = "fail",
    trust: bool = False,
    notes: Sequence[str] = (),
) -> Plan:
    """Resolve what a render will do; nothing is written.

    Args:
        stems: Audio files and folders of them.
        preset: A preset, its name, or a path to one.
        out_dir: Where rendered stems go.
        midi: A MIDI file with tempo, meter, markers, notes and lanes.
        session: A session, from `bridge.plan.session_stems.open_session`: its clock wins over the MIDI
            file's, and it plays where no MIDI file does.
        clock: Tempo, meter and place of the song; what it says wins over the MIDI file and the session.
        align: Whether the stems are one session and come out with one rate, start and length; false takes
            each on its own.
        sample_rate: Hz to render at; None takes that of most stems, or with `align` false each stem's own.
        settings: ``node.param=value`` changes to the preset.
        variation: One of the preset's variations.
        device: Where dreams are computed.
        threads: Torch's threads on the CPU.
        seed: Added to every seed in the preset.
        file_format: Container to write (``wav``, ``flac``, ``aiff`` ...); None keeps each stem's own.
        subtype: Sample type to write (``24``, ``PCM_24``, ``float`` ...); None keeps each stem's own.
        name_template: How outputs are called: a template of `bridge.plan.output_names`, or the name of one.
        ladder: Depths, in whole steps of the chain's last dream, at which every stem is delivered too: its
            sound with the depth held to that.
        section: The part of the song that is rendered, from `read_section`; None is all of it. It sounds as
            it does in the whole.
        crop: Whether outputs begin with the section; else silence stands for what comes before.
        on_missing: ``fail``, or ``bypass`` the nodes whose plugins are not installed.
        trust: Whether a preset that is read from a file may reach outside its folder, see `load_preset`.
        notes: What is known already and is to be told with the plan's warnings.

    Raises:
        InputError: Anything given cannot be used.

    >>> plan = build_plan(["examples/song"], "null-reference", out_dir="out")
    >>> [stem.name for stem in plan.stems]
    ['bass', 'drums', 'keys', 'lead']
    """
    if section is not None and ladder:
        raise PlanError("a ladder is of whole stems; render the section alone, or the ladder alone")
    found = find_stems(stems)
    out_dir = resolve_path(Path(out_dir))
    midi_path = None if midi is None else resolve_path(Path(midi))
    _check_out(stems, out_dir)
    loaded, said = (preset, ()) if isinstance(preset, Preset) else load_noted(preset, trust=trust)
    resolved, heard_by = stand_in(apply_settings(loaded, settings, variation), settings)
    template = check_template(name_template)
    with ThreadPoolExecutor() as pool:  # reading and hashing wait for disks, and let go of the interpreter
        stamps = dict(zip(found, pool.map(_stamp, found), strict=True))
        infos = _usable(found, list(pool.map(_inspect, found)))
        hashed = list(pool.map(hash_file, (info.path for info in infos)))
    clock, ladder = clock or ClockSettings(), sort_ladder(ladder)
    parsed, tempo_map = _read_clock(midi, session, clock, infos, resolved)
    warnings = [*notes, *said, *heard_by, *tempo_map.warnings]
    warnings += () if parsed is None else parsed.warnings
    warnings += find_overruled(resolved, settings)
    hashes = {info.path.stem: digest for info, digest in zip(infos, hashed, strict=True)}
    dreams = check_dreams(resolved, list(hashes), device, threads, seed)
    players = growth_networks(resolved)
    plugins = check_plugins(resolved, on_missing)
    check_pitch(resolved, parsed is not None)
    warnings += check_played(resolved, parsed)
    sidechains = check_sidechains(resolved, list(hashes))
    check_followed(resolved, list(hashes))
    warnings += channel_warnings(resolved, {info.path.stem: info.n_channels for info in infos})
    warnings += [
        f"{name} is not installed, or blocked: its nodes are bypassed"
        for name in plugins
        if plugins[name] == MISSING
    ]
    names: dict[str, object] = {"preset": resolved.slug, "variation": variation, "date": date.today()}
    names["bpm"] = f"{float(tempo_map.bpm_at(0.0)):g}"
    names["midi"] = None if midi is None else Path(midi).stem
    names["section"] = None if section is None else section.name
    planned: list[StemPlan] = []
    held = HeldFrequencies()
    for info, alignment, placement in _align(infos, align, sample_rate):
        warnings += alignment.warnings
        names["index"] = f"{len(planned) + 1:02d}"
        stem = _plan_stem(info, alignment, placement, out_dir, file_format, subtype, template, names)
        if section is not None:
            span = section.samples(tempo_map, stem.n_samples, stem.sample_rate, stem.name)
            stem = stem.model_copy(update={"section": span, "is_cropped": crop})
        song = Song(tempo_map=tempo_map, midi=parsed, length_s=stem.duration_s)
        try:
            envelopes = build_preset_envelopes(resolved, song, stem.sample_rate, seed, stem=stem.name)
        except EnvelopeError as error:
            text = str(error) if isinstance(preset, Preset) else with_location(preset, str(error))
            raise EnvelopeError(text) from None
        warnings += envelopes.warnings
        held.add(resolved, envelopes, stem)
        peak, integral = _depth(resolved, envelopes, stem)
        heard = dreams.reference_stems | sidechains | set(follower_stems(resolved.modulators, stem.name))
        facts = {
            "sha256": hashes[stem.name],
            "stamp": stamps[info.path],
            "reference_stems": {name: hashes[name] for name in sorted(heard) if name in hashes},
            "peak_depth": peak,
            "depth_integral_s": integral,
        }
        planned.append(stem.model_copy(update=facts))
    _check_targets(planned, ladder)
    warnings += check_ladder(resolved, ladder, planned)
    warnings += held.warnings()
    longest_s = max(stem.duration_s for stem in planned)
    warnings += unheard_notes(resolved, parsed, tempo_map, longest_s)
    warnings += check_growth(resolved, parsed, tempo_map, longest_s)
    changed = next((path for path in found if _stamp(path) != stamps[path]), None)
    if changed is not None:
        raise AudioFileError(f"{changed}: changes while it is read; wait until whatever writes it has ended")
    told_apart = "{preset}[-{variation}]" + ("[-{midi}]" if "{midi}" in template else "") + "[__{section}]"
    return Plan(
        name=build_name(told_apart, names, ""),
        is_aligned=align,
        preset=resolved,
        preset_sha256=resolved.digest(),
        tempo_map=tempo_map,
        midi=None
        if midi is None
        else MidiSource(
            path=str(midi_path),
            sha256=hash_file(Path(midi)),
            pattern=clock.pattern,
            ppq=clock.ppq,
        ),
        session=session,
        stems=tuple(planned),
        out_dir=str(out_dir),
        networks={**dreams.networks, **players},
        plugins=plugins,
        device=dreams.device,
        threads=dreams.threads,
        seed=seed,
        ladder=tuple(ladder),
        on_missing=on_missing,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def check_preset(preset: Preset) -> tuple[str, ...]:
    """Check all of a preset that can be checked without stems and a song, each variation too.

    Returns:
        What depends on the song it will meet: markers and tracks that it names.

    Raises:
        InputError: Something does not fit: an objective, a band, a route, a source, a macro, a variation.
    """
    notes: list[str] = []
    song = Song(tempo_map=TempoMap.constant(preset.meta.bpm_hint or 120.0), length_s=60.0)
    for variation in (None, *(one.name for one in preset.variations)):
        resolved = apply_settings(preset, (), variation)
        check_dreams(resolved, None, "cpu", None, 0)
        notes += growth_notes(resolved)
        try:
            build_preset_envelopes(resolved, song, 48_000, 0, stem="")
        except (EnvelopeError, TempoError) as error:
            if not re.search(r"\b(marker|track|stem)\b", str(error)):
                raise
            notes.append(str(error))
    return tuple(dict.fromkeys(notes))


def _check_out(stems: Sequence[Path | str], out_dir: Path) -> None:
    there = next((path for path in (out_dir, *out_dir.parents) if path.exists()), out_dir)
    if not there.is_dir():
        raise OutputError(f"{there}: is not a folder, so renders cannot go there; choose another --out")
    for path in map(Path, stems):
        if path.is_dir() and path.resolve() == out_dir:
            raise OutputError(
                f"{path}: is the folder of the stems: renders there would be taken for stems the next time; "
                f"choose another --out, such as {path / 'rendered'}"
            )


def _align(
    infos: Sequence[AudioInfo], align: bool, sample_rate: int | None
) -> Iterator[tuple[AudioInfo, Alignment, Placement]]:
    """Put stems on one timeline, or each on its own."""
    read = [(info, read_metadata(info.path)) for info in infos]
    for group in [read] if align else [[one] for one in read]:
        alignment = align_stems(group, sample_rate=sample_rate)
        for (info, _), placement in zip(group, alignment.placements, strict=True):
            yield info, alignment, placement


def _stamp(path: Path) -> str:
    try:
        return stamp_file(path)
    except (OSError, ValueError):
        return ""  # what reads it says why


def _inspect(path: Path) -> AudioInfo | InputError:
    """Look at a stem, and return what is wrong with it if it cannot be used: the others are looked at too."""
    try:
        info = read_info(path)
        if info.subtype in ("FLOAT", "DOUBLE"):
            # Only float files can hold what is not a number; the reader names the place.
            with AudioReader(path) as reader:
                while reader.read(BLOCK_SAMPLES).shape[1]:
                    pass
    except InputError as error:
        return error
    return info


def _usable(paths: Sequence[Path], looked_at: Sequence[AudioInfo | InputError]) -> list[AudioInfo]:
    """Return the stems if all can be used.

    Raises:
        InputError: Naming all that cannot.
    """
    errors = [one for one in looked_at if isinstance(one, InputError)]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        shown = "; ".join(str(error) for error in errors[:_NAMED])
        more = f"; and {len(errors) - _NAMED} more" if len(errors) > _NAMED else ""
        raise AudioFileError(f"{len(errors)} of {len(paths)} stems cannot be used: {shown}{more}")
    return [one for one in looked_at if isinstance(one, AudioInfo)]


def _read_clock(
    midi: Path | str | None,
    session: SessionSource | None,
    said: ClockSettings,
    infos: Sequence[AudioInfo],
    preset: Preset,
) -> tuple[MidiFile | None, TempoMap]:
    said_by_names = {info.path.stem: bpm_from_name(info.path.stem) for info in infos}
    named = next((bpm for bpm in said_by_names.values() if bpm is not None), None)
    parsed = None if midi is None else read_midi(midi, pattern=said.pattern, ppq=said.ppq)
    if session is not None:
        read = session.load()
        parsed = add_session(parsed, read)
        own = session_clock(read, said, parsed)
        return parsed, _with_name_warnings(own, said_by_names)
    beside = None if parsed is not None else find_clock([info.path for info in infos])
    tempo_map = build_clock(
        parsed,
        said,
        hint_bpm=preset.meta.bpm_hint if named is None else named,
        hint_source="preset default" if named is None else "stem name",
    )
    keeps_time = any(clock_rates(node) for node in preset.dream_nodes) or preset.nodes_of("grow")
    if parsed is None and said.bpm is None and (preset.modulators or keeps_time):
        bpm, source = float(tempo_map.bpm_at(0.0)), tempo_map.source
        warning = f"no tempo was given: {bpm:g} BPM is used ({source}). Give --midi or --bpm."
        if beside is not None:
            warning += f" {beside.name} lies beside the stems: --auto-clock takes the song's time from it."
        tempo_map = replace(tempo_map, warnings=(*tempo_map.warnings, warning))
    return parsed, _with_name_warnings(tempo_map, said_by_names)


def _with_name_warnings(tempo_map: TempoMap, said_by_names: Mapping[str, float | None]) -> TempoMap:
    """Warn of stems whose names state a tempo that the song does not have."""
    tempos = [float(tempo.bpm) for tempo in tempo_map.tempos]
    warnings = [
        f"stem {name!r} states {bpm:g} BPM in its name, the song begins at {tempos[0]:.6g} BPM "
        f"({tempo_map.source}), which is used"
        for name, bpm in said_by_names.items()
        if bpm is not None and min(abs(bpm - tempo) for tempo in tempos) > NAMED_BPM_TOLERANCE
    ]
    return replace(tempo_map, warnings=(*tempo_map.warnings, *warnings))


def _plan_stem(
    info: AudioInfo,
    alignment: Alignment,
    placement: Placement,
    out_dir: Path,
    file_format: str | None,
    subtype: str | None,
    template: str,
    names: Mapping[str, object],
) -> StemPlan:
    suffix, written = choose_output(info.format, info.subtype, file_format=file_format, subtype=subtype)
    values = {**names, **audio_values(info.path.stem, alignment.sample_rate, SUBTYPE_BITS[written])}
    return StemPlan(
        name=info.path.stem,
        source=str(info.path),
        sha256="",
        sample_rate=alignment.sample_rate,
        n_channels=info.n_channels,
        n_samples=alignment.n_samples,
        subtype=info.subtype,
        target=str(out_dir / build_name(template, values, suffix)),
        target_subtype=written,
        head_samples=placement.head_samples,
        own_samples=placement.n_samples,
        start_samples=alignment.start_samples,
        peak_depth=0.0,
        depth_integral_s=0.0,
    )


def _depth(preset: Preset, envelopes: Envelopes, stem: StemPlan) -> tuple[float, float]:
    """Return the deepest dream of the song, and the integral of depth over what is rendered of it."""
    peak, integral = 0.0, 0.0
    first, last = stem.span
    for node in preset.dream_nodes:
        if (node.id, "depth") in envelopes.moving:
            deepest = envelopes.peak(node.id, "depth", stem.n_samples)
            work = envelopes.integral(node.id, "depth", last - first, first)
        else:
            deepest = float(node.params.get("depth", node_parameters(node)["depth"].default))
            work = deepest * stem.rendered_s
        peak, integral = max(peak, deepest), integral + work * len(dreams_of(preset, node))
    return peak, integral


def _check_targets(stems: Sequence[StemPlan], ladder: Sequence[int]) -> None:
    check_names((stem.source, path) for stem in stems for path in stem_outputs(stem, ladder).values())
    named: dict[str, str] = {}
    for stem in stems:
        if stem.name in named:
            raise OutputError(
                f"{named[stem.name]} and {stem.source} have the same stem name; rename one of them"
            )
        named[stem.name] = stem.source
        if stem.target == stem.source:
            raise OutputError(f"{stem.source} would be replaced by its own render; choose another --out")
