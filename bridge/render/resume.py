"""What an earlier render has finished."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bridge.audio.hashing import hash_samples
from bridge.errors import AudioFileError, OutputError
from bridge.files import hash_file
from bridge.plan.model import Plan, StemPlan
from bridge.plan.output_names import manifest_path, stem_outputs
from bridge.render.manifest import Manifest, StemRecord, read_manifest

__all__ = ["Earlier", "begin_manifest", "is_replaceable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What an earlier render of a plan has left.

    Args:
        manifest: The plan's, with the stems that are finished.
        begun: Records of stems that were finished, or nearly, and of which files are missing: what is left of
            their files may be replaced.
        rendered_by: Which program rendered which stem.
    """

    manifest: Manifest
    begun: Mapping[str, StemRecord] = field(default_factory=dict)
    rendered_by: Mapping[str, str] = field(default_factory=dict)


def begin_manifest(plan: Plan, overwrite: bool) -> Earlier:
    """Return what is finished of a plan.

    A stem's record is noted before its file gets its name, so what has the name without a record that fits
    is a file of the user's.

    Raises:
        InputError: The folder's manifest cannot be read, or would lose records.
    """
    path = manifest_path(plan)
    if overwrite or not os.path.lexists(path):
        return Earlier(manifest=Manifest.begin(plan))
    earlier = read_manifest(path)
    others = _other_stems(plan, earlier, path)
    fresh = Manifest.begin(plan.with_stems(others))
    begun: dict[str, StemRecord] = {}
    for stem in plan.stems:
        record = earlier.stems.get(stem.name)
        if record is None or record.key != plan.stem_key(stem):
            continue
        if _is_as_written(stem, record):
            fresh = fresh.with_stem(stem.name, record)
        else:
            begun[stem.name] = record
    for stem in others:
        if _is_as_written(stem, earlier.stems[stem.name]):
            fresh = fresh.with_stem(stem.name, earlier.stems[stem.name])
    programs = {name: record.program for name, record in earlier.stems.items()}
    return Earlier(manifest=fresh, begun=begun, rendered_by=programs)


def _is_as_written(stem: StemPlan, record: StemRecord) -> bool:
    """Return whether what has a stem's name, and its ladder's, is what its record says was rendered."""
    records = record.by_depth
    try:
        return all(
            hash_samples(path) == records[depth].sha256_samples
            for depth, path in stem_outputs(stem, record.ladder).items()
        )
    except AudioFileError:  # gone, or another file
        return False


def is_replaceable(target: Path, record: StemRecord) -> bool:
    """Return whether what has an output's name is, to the last byte, the file that its record tells of.

    One with the same samples and other tags is the user's work, and so is a link.
    """
    try:
        return not target.is_symlink() and hash_file(target) == record.sha256_file
    except OSError:
        return False


def _other_stems(plan: Plan, earlier: Manifest, path: Path) -> tuple[StemPlan, ...]:
    """Return the finished stems of an earlier render of the same kind that this one does not name."""
    names = {stem.name for stem in plan.stems}
    others = tuple(s for s in earlier.plan.stems if s.name not in names and s.name in earlier.stems)
    if others and earlier.plan.settings_digest() != plan.settings_digest():
        raise OutputError(
            f"{path}: records {others[0].name!r}, rendered with other settings, and would be lost. "
            "Use another --out, or --overwrite to drop the record (the audio file stays)"
        )
    if others and plan.shares_gain_or_length:
        raise OutputError(
            f"{path}: records {others[0].name!r}, whose level or length was shared with other stems than "
            "these. Render all of them together with --overwrite, or use another --out"
        )
    return others
