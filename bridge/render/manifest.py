"""The manifest: a plan, and what was measured and hashed while it was rendered, beside the outputs."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal, TextIO

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from bridge.audio.loudness import Loudness
from bridge.errors import InputError, OutputError, PlanError
from bridge.files import read_regular, write_whole
from bridge.installation import DISTRIBUTION, program_version
from bridge.plan.model import Plan
from bridge.render.dream_steps import DreamStep, first_and_last_heard
from bridge.render.gain import GainDecision

__all__ = [
    "HeardRecord",
    "Journal",
    "Manifest",
    "StemRecord",
    "find_manifest",
    "is_settled",
    "read_manifest",
    "write_manifest",
]

_LIMIT_BYTES = 1 << 28
_JOURNAL_REMEDY = "remove it, and the stems it tells of are rendered again"
_LEVELS = frozenset(field.name for field in dataclasses.fields(Loudness))
_PACKAGES = (DISTRIBUTION, "torch", "torchaudio", "numpy", "pedalboard", "soundfile", "mido", "soxr")


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _check_levels(levels: dict[str, float | bool | None]) -> dict[str, float | bool | None]:
    wrong = sorted(_LEVELS ^ levels.keys())
    if wrong:
        raise ValueError(f"{wrong[0]!r} is {'missing' if wrong[0] in _LEVELS else 'unknown'}")
    return levels


Levels = Annotated[dict[str, float | bool | None], AfterValidator(_check_levels)]


class HeardRecord(_Record):
    """What a dream heard in a stem, as it began and as it ended."""

    first: str = Field(description="class that leads before the first step of its windows")
    first_probability: float
    last: str = Field(description="class that leads before the last one")
    last_probability: float


class StemRecord(_Record):
    """What is known of a finished stem."""

    key: str = Field(description="hash of all that decides its samples")
    program: str = Field(default="", description="version of the program that rendered it")
    sha256_samples: str = Field(description="of the decoded samples of the output")
    sha256_file: str = Field(default="", description="of the output's bytes; not known of earlier ones")
    n_samples: int = Field(ge=0)
    n_channels: int = Field(ge=1)
    before: Levels
    after: Levels
    gain_db: float
    gain_reason: str
    n_clipped: int
    wall_s: float
    warnings: tuple[str, ...] = ()
    plugins: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="node to its plugin's name, version, id and sha256"
    )
    heard: dict[str, HeardRecord] = Field(
        default_factory=dict, description="dreams that ask for classes to what they heard"
    )
    ladder: dict[int, StemRecord] = Field(
        default_factory=dict, description="the same stem at depths of a ladder, beside it"
    )

    @property
    def by_depth(self) -> dict[int | None, StemRecord]:
        """The record, under None, with those of its ladder."""
        rungs: Mapping[int | None, StemRecord] = dict(self.ladder.items())
        return {None: self, **rungs}

    @classmethod
    def build(
        cls,
        *,
        key: str,
        sha256_samples: str,
        sha256_file: str,
        n_samples: int,
        n_channels: int,
        before: Loudness,
        after: Loudness,
        decision: GainDecision,
        n_clipped: int,
        wall_s: float,
        warnings: Iterable[str],
        plugins: dict[str, dict[str, str]],
        steps: Iterable[DreamStep] = (),
    ) -> StemRecord:
        """Gather what was measured."""
        return cls(
            key=key,
            program=program_version(),
            sha256_samples=sha256_samples,
            sha256_file=sha256_file,
            n_samples=n_samples,
            n_channels=n_channels,
            before=_levels(before),
            after=_levels(after),
            gain_db=decision.gain_db,
            gain_reason=decision.reason,
            n_clipped=n_clipped,
            wall_s=round(wall_s, 3),
            warnings=tuple(warnings),
            plugins=plugins,
            heard={
                node: HeardRecord(
                    first=first[0],
                    first_probability=round(first[1], 4),
                    last=last[0],
                    last_probability=round(last[1], 4),
                )
                for node, (first, last) in first_and_last_heard(steps).items()
            },
        )


class Manifest(_Record):
    """A plan and its results."""

    format: Literal["reverie/manifest"] = "reverie/manifest"
    version: Literal[1] = 1
    plan: Plan
    versions: dict[str, str]
    platform: str
    stems: dict[str, StemRecord] = Field(default_factory=dict)
    begun: dict[str, str] = Field(default_factory=dict, description="no longer used; earlier versions do")

    @classmethod
    def begin(cls, plan: Plan) -> Manifest:
        """Return the manifest of a plan nothing of which is rendered yet."""
        versions = {"python": platform.python_version()}
        for name in _PACKAGES:
            try:
                versions[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        return cls(
            plan=plan,
            versions=versions,
            platform=f"{platform.system()} {platform.machine()}",
        )

    def with_stem(self, name: str, record: StemRecord) -> Manifest:
        """Return the manifest with one more finished stem."""
        return self.model_copy(update={"stems": {**self.stems, name: record}})


class _Line(_Record):
    """A line of a journal."""

    name: str
    record: StemRecord


class Journal:
    """Note finished stems beside a manifest one by one, however many that has.

    It is made anew by the first note, and never follows a link that somebody has put there.

    Args:
        path: The manifest's.
    """

    def __init__(self, path: Path) -> None:
        self._path = _journal_path(path)
        self._file: TextIO | None = None

    def append(self, name: str, record: StemRecord) -> None:
        """Note one stem; it is on its way to the disk when this returns.

        Raises:
            OutputError: The folder cannot be written to.
        """
        line = _Line(name=name, record=record).model_dump_json()
        try:
            if self._file is None:
                self._file = self._path.open("x", encoding="utf-8")
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written ({error.strerror})") from error

    def close(self) -> None:
        """Close the file; `write_manifest` takes up what is in it."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # what was written was flushed
                self._file.close()
            self._file = None


def is_settled(path: Path) -> bool:
    """Return whether nothing stands beside a manifest that a killed render has left there."""
    return not os.path.lexists(_journal_path(path))


def find_manifest(session: Path) -> Path:
    """Return the manifest of the last render of a session, from its folder or one in it.

    Raises:
        InputError: No render of it is there.
    """
    wanted = session.resolve()
    near = [*wanted.parent.glob("*.manifest.json"), *wanted.parent.glob("*/*.manifest.json")]
    for path in sorted(near, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        source = read_manifest(path).plan.session
        if source is not None and Path(source.path) == wanted:
            return path
    raise InputError(
        f"{session}: no render of it lies in {wanted.parent} or a folder there; give the render's manifest, "
        f"or run: reverie render {session} --preset NAME --out {wanted.parent / 'rendered'}"
    )


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest by an atomic rename; the notes beside it are taken up into it.

    Raises:
        OutputError: The folder cannot be written to.
    """
    with write_whole(path) as part:
        part.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    journal = _journal_path(path)
    try:
        journal.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{journal}: is in the way ({error.strerror}); move it elsewhere") from None


def read_manifest(path: Path) -> Manifest:
    """Read a manifest, and what a render that was killed has noted beside it.

    Raises:
        PlanError: It is not one.
    """
    try:
        manifest = Manifest.model_validate_json(read_regular(path, _LIMIT_BYTES))
    except FileNotFoundError:
        raise PlanError(f"{path}: no such manifest") from None
    except OSError as error:
        raise PlanError(f"{path}: cannot be read ({error.strerror}); name a PRESET.manifest.json") from None
    except ValidationError as error:
        raise PlanError(
            f"{path}: not a manifest ({_reason(error)}): another kind of file, or damaged"
        ) from None
    except InputError as error:  # its preset or its clock
        raise PlanError(f"{path}: not a manifest that can be used: {error}") from None
    for line in _read_journal(_journal_path(path)):
        manifest = manifest.with_stem(line.name, line.record)
    return manifest


def _journal_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.finished")


def _read_journal(journal: Path) -> Iterator[_Line]:
    try:
        data = read_regular(journal, _LIMIT_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise PlanError(f"{journal}: cannot be read ({error.strerror}); {_JOURNAL_REMEDY}") from None
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):  # the last is half, or nothing
        try:
            yield _Line.model_validate_json(line)
        except ValidationError as error:
            raise PlanError(
                f"{journal}: line {number} is damaged ({_reason(error)}); {_JOURNAL_REMEDY}"
            ) from None


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    message = " ".join(first["msg"].removeprefix("Value error, ").split())
    return f"{place}: {message}" if place else message


def _levels(loudness: Loudness) -> dict[str, float | bool | None]:
    # JSON has no minus infinity: silence is null.
    return {
        name: value if isinstance(value, bool) else (round(value, 3) if math.isfinite(value) else None)
        for name, value in (
            (field, getattr(loudness, field)) for field in type(loudness).__dataclass_fields__
        )
    }
