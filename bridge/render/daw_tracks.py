"""From a finished render back to the DAW: which files go where in the session, with their depth lanes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bridge.daw.model import Session, StemTrack
from bridge.envelopes.song import Song
from bridge.errors import SessionError, nearest_names
from bridge.midi.write import TICKS_PER_BEAT, thin_lane
from bridge.plan.model import StemPlan
from bridge.plan.plan_envelopes import plan_envelopes
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
    preset = str(manifest.plan.preset["meta"]["name"])
    stems = [stem for stem in manifest.plan.stems if stem.name in manifest.stems]
    tracks = {stem.name: stem.name if session is None else _find_track(session, stem) for stem in stems}
    if session is not None and not any(tracks.values()):
        known = nearest_names(stems[0].name if stems else "", [track.name for track in session.tracks])
        raise SessionError(
            f"{session.path}: no track is called as a stem of the render is or plays its file "
            f"({', '.join(tracks) or 'none is finished'}); {known}"
        )
    return tuple(
        StemTrack(
            source_track=tracks[stem.name],
            name=f"{stem.name} [{preset}]",
            audio=Path(stem.target),
            depth_points=_depth_points(manifest, stem),
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


def _depth_points(manifest: Manifest, stem: StemPlan) -> tuple[tuple[float, float], ...]:
    plan = manifest.plan
    midi = None if plan.midi is None else plan.midi.read()
    tempo_map = plan.read_tempo_map()
    song = Song(tempo_map=tempo_map, midi=midi, length_s=stem.duration_s)
    envelopes = plan_envelopes(plan.read_preset(), song, stem.sample_rate, plan.seed, stem=stem.name)
    lane = _first_dream_lane(envelopes.moving, plan.preset["chain"])
    if lane is None:
        return ()
    step = max(1, stem.sample_rate // _LANE_VALUES_PER_S)
    depth = envelopes.values(*lane, 0, stem.n_samples, step)
    highest = float(depth.max(initial=0.0))
    if highest <= 0:
        return ()
    beats = tempo_map.samples_to_beats(np.arange(len(depth)) * step, stem.sample_rate)
    ticks, levels = thin_lane(np.rint(beats * TICKS_PER_BEAT).astype(np.int64), depth / highest, 7)
    return tuple((tick / TICKS_PER_BEAT, level / 127) for tick, level in zip(ticks, levels, strict=True))


def _first_dream_lane(
    moving: Sequence[tuple[str, str]], chain: Sequence[dict[str, object]]
) -> tuple[str, str] | None:
    dreams = {str(node["id"]) for node in chain if node["use"] == "dream"}
    return next(((node, name) for node, name in moving if node in dreams and name == "depth"), None)
