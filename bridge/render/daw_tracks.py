"""From a finished render back to the DAW: which files go where in the session, with their depth lanes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bridge.daw.dawproject_write import write_dawproject
from bridge.daw.model import Clip, Session, StemTrack
from bridge.daw.read import read_session
from bridge.daw.reaper_write import write_reaper
from bridge.daw.write_back import WriteBack, back_up, check_kinds, clock_warning, may_write
from bridge.errors import SessionError, nearest_names
from bridge.files import hash_file
from bridge.midi.file import MidiFile
from bridge.midi.write import TICKS_PER_BEAT, thin_lane
from bridge.plan.model import Plan, StemPlan
from bridge.plan.stem_envelopes import stem_envelopes
from bridge.render.manifest import Manifest, read_manifest

__all__ = ["WrittenSession", "build_rendered_stems", "write_into_session"]

_LANE_VALUES_PER_S = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenSession:
    """Say where a session was written, what it was before, and what the user should know."""

    path: Path
    backup: Path | None
    warnings: tuple[str, ...]


def write_into_session(
    manifest_path: Path, source: Path, target: Path, how: WriteBack, *, may_have_changed: bool = False
) -> WrittenSession:
    """Write a render back into the session its stems came from.

    Args:
        manifest_path: The render's manifest.
        source: The session.
        target: Where the result goes; the source itself is backed up first.
        how: What becomes of the tracks the stems were made from.
        may_have_changed: Whether a session that is another than when it was rendered is written into.

    Raises:
        SessionError: One of them is of a kind that is not written, or the session has changed, or is
            another render's.
        OutputError: A file is in the way.
    """
    check_kinds(source, target)
    session, manifest = read_session(source), read_manifest(manifest_path)
    rendered = manifest.plan.session
    is_its_own = rendered is not None and Path(rendered.path).name == source.name
    has_changed = is_its_own and rendered is not None and hash_file(source) != rendered.sha256
    if has_changed and not may_have_changed:
        raise SessionError(
            f"{source}: has changed since it was rendered, so clips may lie elsewhere now; render it again, "
            "or write into it all the same with --changed"
        )
    stems = build_rendered_stems(manifest, session)
    warnings = [
        f"{stem.name}: no track has its name or plays its file; added last"
        for stem in stems
        if stem.source_track is None
    ]
    longest = max(manifest.plan.stems, key=lambda stem: stem.duration_s)
    apart = clock_warning(manifest.plan.tempo_map, session.tempo_map, longest.duration_s, longest.sample_rate)
    warnings += [apart] if apart is not None else []
    write = write_dawproject if session.format == "dawproject" else write_reaper
    may_write(source, target, how)
    with back_up(source, target) as backup:
        warnings += write(source, target, stems, how)
    return WrittenSession(path=target, backup=backup, warnings=tuple(warnings))


def build_rendered_stems(manifest: Manifest, session: Session | None = None) -> tuple[StemTrack, ...]:
    """Name what a render hands back: one entry a finished stem.

    A depth lane is scaled so that its highest value is full: controller 127 is the deepest dream.

    Args:
        manifest: Of the render.
        session: Where it goes; each stem is then paired with the track of its name, or the track that plays
            a file of its name. One without such a track gets its own last.

    Raises:
        SessionError: No stem has a track in the session: it is another session's render.
    """
    preset = manifest.plan.preset.meta.name
    stems = [stem for stem in manifest.plan.stems if stem.name in manifest.stems]
    midi = manifest.plan.load_midi()
    pairs = {stem.name: _find_track(manifest.plan, session, stem) for stem in stems}
    tracks = {name: name if session is None else track for name, (track, _) in pairs.items()}
    if session is not None and not any(tracks.values()):
        known = nearest_names(stems[0].name if stems else "", [track.name for track in session.tracks])
        raise SessionError(
            f"{session.path}: no track has the name of a rendered stem or plays its file "
            f"({', '.join(tracks) or 'none is finished'}); {known}"
        )
    return tuple(
        StemTrack(
            source_track=tracks[stem.name],
            name=f"{stem.name} [{preset}]",
            audio=Path(stem.target),
            start_s=pairs[stem.name][1],
            depth_points=_depth_points(manifest.plan, stem, midi),
        )
        for stem in stems
    )


def _find_track(plan: Plan, session: Session | None, stem: StemPlan) -> tuple[str | None, float]:
    """Return the track a stem was made from, and where in the session its sound begins."""
    begins_s = 0.0 if stem.section is None or not stem.is_cropped else stem.section[0] / stem.sample_rate
    if session is None:
        return None, begins_s
    source = plan.session
    if source is not None and stem.name in source.tracks:
        return source.tracks[stem.name][0], begins_s
    wanted = stem.name.casefold()
    named = next((track for track in session.tracks if track.name.casefold() == wanted), None)
    playing = next(((t, c) for t in session.tracks for c in t.clips if _plays(c, stem)), None)
    if playing is not None and (named is None or playing[0] is named):
        return playing[0].name, begins_s + _starts_at(playing[1], stem)
    return (None if named is None else named.name), begins_s


def _plays(clip: Clip, stem: StemPlan) -> bool:
    return Path(clip.media).stem.casefold() == stem.name.casefold()


def _starts_at(clip: Clip, stem: StemPlan) -> float:
    """Return where in the session a stem begins that is the whole file of a clip."""
    if clip.rate != 1.0 or clip.is_reversed or clip.section_s is not None:
        return 0.0
    return clip.start_s - clip.offset_s - stem.head_samples / stem.sample_rate


def _depth_points(plan: Plan, stem: StemPlan, midi: MidiFile | None) -> tuple[tuple[float, float], ...]:
    dreams = {node.id for node in plan.preset.dream_nodes}
    envelopes = stem_envelopes(plan, stem, midi)
    lane = next((one for one in envelopes.moving if one[0] in dreams and one[1] == "depth"), None)
    if lane is None:
        return ()
    step = max(1, stem.sample_rate // _LANE_VALUES_PER_S)
    depth = envelopes.values(*lane, 0, stem.n_samples, step)
    highest = float(depth.max(initial=0.0))
    if highest <= 0:
        return ()
    beats = plan.tempo_map.samples_to_beats(np.arange(len(depth)) * step, stem.sample_rate)
    ticks, levels = thin_lane(np.rint(beats * TICKS_PER_BEAT).astype(np.int64), depth / highest, 7)
    return tuple((tick / TICKS_PER_BEAT, level / 127) for tick, level in zip(ticks, levels, strict=True))
