"""From a finished render back to the DAW: which files go where in the session, with their depth lanes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bridge.daw.model import Session, StemTrack
from bridge.errors import SessionError, nearest_names
from bridge.midi.file import MidiFile
from bridge.midi.write import TICKS_PER_BEAT, thin_lane
from bridge.plan.model import Plan, StemPlan
from bridge.plan.stem_envelopes import stem_envelopes
from bridge.render.manifest import Manifest

__all__ = ["build_rendered_stems"]

_LANE_VALUES_PER_S = 200


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
    tracks = {stem.name: stem.name if session is None else _find_track(session, stem) for stem in stems}
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
            depth_points=_depth_points(manifest.plan, stem, midi),
        )
        for stem in stems
    )


def _find_track(session: Session, stem: StemPlan) -> str | None:
    wanted = stem.name.casefold()
    for track in session.tracks:
        if track.name.casefold() == wanted:
            return track.name
    for track in session.tracks:
        if any(Path(clip.media).stem.casefold() == wanted for clip in track.clips):
            return track.name
    return None


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
