"""What an earlier render has finished, and what may be replaced of it."""

from __future__ import annotations

from pathlib import Path

from bridge.audio.hashing import hash_samples
from bridge.errors import OutputError
from bridge.files import hash_file, stamp_file
from bridge.plan.model import Plan, StemPlan
from bridge.plan.output_names import manifest_path
from bridge.render.manifest import Manifest, read_manifest


def begin_manifest(plan: Plan, overwrite: bool) -> tuple[Manifest, frozenset[str], dict[str, str]]:
    """Return what is finished of a plan, the stems whose targets may be replaced, and who rendered which.

    An output appears before the manifest can tell of it. A render killed in between has left its mark when
    it began, so that what it wrote is known as its own and not as a file of the user's.
    """
    path = manifest_path(plan)
    begun = {stem.name: plan.stem_key(stem) for stem in plan.stems}
    if overwrite or not path.exists():
        fresh = Manifest.begin(plan, begun)
        return fresh, frozenset(begun if overwrite else ()), {}
    earlier = read_manifest(path)
    others = _other_stems(plan, earlier, path)
    fresh = Manifest.begin(plan.with_stems(others), begun)
    for stem in plan.stems:
        record = earlier.stems.get(stem.name)
        if record is None or record.key != begun[stem.name]:
            continue
        target = Path(stem.target)
        # Only what is still there, as it was written, counts as done.
        if target.exists() and hash_samples(target) == record.sha256_samples:
            fresh = fresh.with_stem(stem.name, record)
    for stem in others:
        fresh = fresh.with_stem(stem.name, earlier.stems[stem.name])
    ours = frozenset(name for name, key in begun.items() if earlier.begun.get(name) == key)
    return fresh, ours, {name: record.program for name, record in earlier.stems.items()}


def _other_stems(plan: Plan, earlier: Manifest, path: Path) -> tuple[StemPlan, ...]:
    """Return the finished stems of an earlier render of the same kind that this one does not name."""
    names = {stem.name for stem in plan.stems}
    others = tuple(s for s in earlier.plan.stems if s.name not in names and s.name in earlier.stems)
    if others and earlier.plan.settings_digest() != plan.settings_digest():
        raise OutputError(
            f"{path}: records {others[0].name!r}, rendered with other settings, and would be lost. "
            "Use another --out, or --overwrite to drop the record (the audio file stays)"
        )
    return others


def is_as_planned(stem: StemPlan) -> bool:
    """Return whether a stem's source is still what it was when the plan was made."""
    source = Path(stem.source)
    return source.exists() and (stamp_file(source) == stem.stamp or hash_file(source) == stem.sha256)
