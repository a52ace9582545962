"""A file rendered in the place of itself, as programs with an external editor want it.

The render is made beside the file and takes its name in one step, so the file is always whole: the old one or
the new one. The old one is kept beside it under another name.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bridge.audio.containers import walk_chunks
from bridge.audio.formats import container_of
from bridge.audio.reader import AudioInfo, read_info
from bridge.errors import AudioFileError, InputError, OutputError, RenderError
from bridge.files import (
    give_name,
    open_regular,
    private_folder,
    remove_leftovers,
    stamp_file,
    write_whole,
)
from bridge.plan.job import Job
from bridge.plan.job_list import build_plans
from bridge.plan.model import Plan
from bridge.render.manifest import StemRecord
from bridge.render.progress import Progress
from bridge.render.runner import render_plan

__all__ = ["Edit", "edit_folder", "plan_edit", "render_edit", "undo_edit"]

_NO_MEANING = frozenset({b"JUNK", b"junk", b"PAD ", b"FLLR", b"fact", b"PEAK", b"FVER", b"ds64", b"SSND"})
"""Chunks that say nothing of the sound, or only how its samples are stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Say what became of a file.

    Args:
        path: The file.
        original: Where it is kept as it was; None if it is not.
        record: What was measured.
        warnings: What the user should know.
    """

    path: Path
    original: Path | None
    record: StemRecord
    warnings: tuple[str, ...]


@contextmanager
def edit_folder(path: Path) -> Iterator[Path]:
    """Give a hidden folder beside a file to render into; it goes with all that is left in it.

    Raises:
        OutputError: It cannot be made.
    """
    folder = path.resolve().parent
    remove_leftovers(folder)  # of edits that were killed
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: nothing may be put into it, and a render waits there for its name")
    with private_folder(folder) as made:
        yield made / "out"


def plan_edit(job: Job, out_dir: Path, *, keep_length: bool = True, trust: bool = False) -> Plan:
    """Plan to render one file as it is: its container, sample type, rate and, unless told, its length.

    Args:
        job: Of one file, one preset and at most one variation and MIDI file; where it writes does not count.
        out_dir: Where the render waits for its name, on the file's disk.
        keep_length: Whether the preset's tail is left out.
        trust: Whether the preset may reach outside its folder.

    Raises:
        InputError: Anything given cannot be used, or such a file cannot be written.
    """
    (path,) = job.stems
    info = read_info(path)
    if not os.access(path, os.W_OK):
        raise OutputError(f"{path}: may not be written to; change that, or use `reverie render`")
    changes = {
        "out_dir": out_dir,
        "align": False,
        "settings": (*job.settings, "tail.mode=none") if keep_length else job.settings,
        "file_format": "rf64" if info.format == "RF64" else None,
    }
    (plan,) = build_plans(job.model_copy(update=changes), trust=trust)
    _check_kind(plan, info)
    return plan


def render_edit(
    plan: Plan,
    *,
    keep_original: bool = True,
    keep_length: bool = True,
    on_progress: Callable[[Progress], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> Edit:
    """Render a plan of `plan_edit` and put the result in the place of its file.

    Args:
        plan: The plan.
        keep_original: Whether the file is kept beside it, as ``NAME.original.wav``.
        keep_length: Whether another number of samples is refused.
        on_progress: Called as it gets on.
        is_cancelled: Asked often; true stops.

    Raises:
        ReverieError: The render failed or was stopped, or the file changed meanwhile: it is as it was.
    """
    (stem,) = plan.stems
    path = Path(stem.source)
    before, info = stamp_file(path), read_info(path)
    (result,) = render_plan(plan, on_progress=on_progress, is_cancelled=is_cancelled).stems
    if result.record is None:
        raise RenderError(f"{path}: {result.error}. The file is as it was.")
    done = read_info(result.target)
    if done.n_channels != info.n_channels or (keep_length and done.n_samples != info.n_samples):
        raise RenderError(
            f"{path}: has {info.n_channels} channels of {info.n_samples} samples, its render "
            f"{done.n_channels} of {done.n_samples}, which would not fit into its place; use `reverie "
            "render`. The file is as it was."
        )
    lost = _lost_chunks(path, result.target)
    warnings = [*result.warnings, *([f"not kept of the file: {', '.join(lost)}"] if lost else [])]
    shutil.copymode(path, result.target)
    original = _keep(path) if keep_original else None
    try:
        if stamp_file(path) != before:
            raise OutputError(f"{path}: changed while it was rendered; it stays as it is now. Try again.")
        give_name(result.target, path, overwrite=True)
    except BaseException as error:
        if original is not None:
            original.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputError(
                f"{path}: cannot be replaced ({error.strerror}); close it in other programs"
            ) from None
        raise
    return Edit(path=path, original=original, record=result.record, warnings=tuple(warnings))


def undo_edit(path: Path) -> Path:
    """Put back what the last edit of a file has kept; what the file holds now is dropped.

    Returns:
        Where the original was.

    Raises:
        InputError: There is none, or it cannot be put back.
    """
    path = path.resolve()
    numbers = [n for n in map(_number_of(path), _siblings(path)) if n is not None]
    if not numbers:
        raise InputError(
            f"{path}: no {_original(path, 1).name} lies beside it, so there is nothing to undo; "
            "an edit with --no-backup keeps none"
        )
    original = _original(path, max(numbers))
    try:
        original.replace(path)
        os.utime(path)  # programs look at a file again when its time has changed
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be put back ({error.strerror}); close it in other programs. It lies in "
            f"{original}"
        ) from None
    return original


def _check_kind(plan: Plan, info: AudioInfo) -> None:
    """Refuse what would come out as another kind of file."""
    (stem,) = plan.stems
    container = "WAV" if info.format == "WAVEX" else info.format
    if (container_of(Path(stem.target)), stem.target_subtype) != (container, info.subtype):
        raise AudioFileError(
            f"{info.path}: {info.format} files of type {info.subtype} are read but not written, so it cannot "
            "be edited in place; `reverie render` makes another file of it"
        )


def _lost_chunks(path: Path, rendered: Path) -> list[str]:
    """Return the kinds of chunks that a file has and its render lacks."""
    kinds: list[set[bytes]] = []
    for one in (path, rendered):
        with open_regular(one) as file:
            container = walk_chunks(file)
        chunks = () if container is None else container.chunks
        kinds.append({chunk.chunk_id for chunk in chunks})
    return sorted(kind.decode("latin-1").strip() for kind in kinds[0] - kinds[1] - _NO_MEANING)


def _original(path: Path, number: int) -> Path:
    mark = ".original" if number == 1 else f".original-{number}"
    return path.with_name(f"{path.stem}{mark}{path.suffix}")


def _siblings(path: Path) -> list[str]:
    return [entry.name for entry in os.scandir(path.parent)]


def _number_of(path: Path) -> Callable[[str], int | None]:
    form = re.compile(rf"{re.escape(path.stem)}\.original(?:-(\d{{1,9}}))?{re.escape(path.suffix)}")

    def number(name: str) -> int | None:
        matched = form.fullmatch(name)
        return None if matched is None else int(matched[1] or 1)

    return number


def _keep(path: Path) -> Path:
    """Give a file one more name, or a copy, that nothing has yet."""
    numbers = [n for n in map(_number_of(path), _siblings(path)) if n is not None]
    original = _original(path, max(numbers, default=0) + 1)
    try:
        os.link(path, original)
    except FileExistsError:
        raise OutputError(f"{original}: appeared just now; nothing was changed. Try again.") from None
    except OSError:  # file systems without links
        with write_whole(original, overwrite=False) as part:
            shutil.copy2(path, part)
    return original
