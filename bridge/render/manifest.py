"""The manifest: a plan, and what was measured and hashed while it was rendered, beside the outputs."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bridge.audio.loudness import Loudness
from bridge.errors import OutputError, PlanError
from bridge.files import write_whole
from bridge.installation import DISTRIBUTION, program_version
from bridge.plan.model import Plan
from bridge.render.gain import GainDecision

__all__ = ["Manifest", "StemRecord", "append_record", "is_settled", "read_manifest", "write_manifest"]

_PACKAGES = (DISTRIBUTION, "torch", "torchaudio", "numpy", "pedalboard", "soundfile", "mido", "soxr")


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StemRecord(_Record):
    """What is known of a finished stem."""

    key: str = Field(description="hash of all that decides its samples")
    program: str = Field(default="", description="version of the program that rendered it")
    sha256_samples: str = Field(description="of the decoded samples of the output")
    n_samples: int
    n_channels: int
    before: dict[str, float | bool | None]
    after: dict[str, float | bool | None]
    gain_db: float
    gain_reason: str
    n_clipped: int
    wall_s: float
    warnings: tuple[str, ...] = ()
    plugins: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="node to its plugin's name, version, id and sha256"
    )

    @classmethod
    def build(
        cls,
        *,
        key: str,
        sha256_samples: str,
        n_samples: int,
        n_channels: int,
        before: Loudness,
        after: Loudness,
        decision: GainDecision,
        n_clipped: int,
        wall_s: float,
        warnings: Iterable[str],
        plugins: dict[str, dict[str, str]],
    ) -> StemRecord:
        """Gather what was measured."""
        return cls(
            key=key,
            program=program_version(),
            sha256_samples=sha256_samples,
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
        )


class Manifest(_Record):
    """A plan and its results."""

    format: Literal["reverie/manifest"] = "reverie/manifest"
    version: Literal[1] = 1
    plan: Plan
    versions: dict[str, str]
    platform: str
    stems: dict[str, StemRecord] = Field(default_factory=dict)
    begun: dict[str, str] = Field(
        default_factory=dict,
        description="stems under way, by key: what has their names is ours",
    )

    @classmethod
    def begin(cls, plan: Plan, begun: dict[str, str]) -> Manifest:
        """Return the manifest of a plan nothing of which is rendered yet.

        Args:
            plan: The plan.
            begun: Key of every stem that will be rendered, by name.
        """
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
            begun=begun,
        )

    def with_stem(self, name: str, record: StemRecord) -> Manifest:
        """Return the manifest with one more finished stem."""
        begun = {other: key for other, key in self.begun.items() if other != name}
        return self.model_copy(update={"stems": {**self.stems, name: record}, "begun": begun})


def append_record(path: Path, name: str, record: StemRecord) -> None:
    """Note one finished stem beside a manifest at once, however many stems that has.

    Raises:
        OutputError: The folder cannot be written to.
    """
    line = json.dumps({"name": name, "record": record.model_dump(mode="json")})
    try:
        with _journal_path(path).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error


def is_settled(path: Path) -> bool:
    """Return whether nothing stands beside a manifest that a killed render has left there."""
    return not os.path.lexists(_journal_path(path))


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest by an atomic rename; the notes beside it are taken up into it.

    Raises:
        OutputError: The folder cannot be written to.
    """
    with write_whole(path) as part:
        part.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    _journal_path(path).unlink(missing_ok=True)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest, and what a render that was killed has noted beside it.

    Raises:
        PlanError: It is not one.
    """
    try:
        manifest = Manifest.model_validate_json(path.read_text(encoding="utf-8"))
        for name, record in _read_journal(path):
            manifest = manifest.with_stem(name, record)
        return manifest
    except FileNotFoundError:
        raise PlanError(f"{path}: no such manifest") from None
    except OSError as error:
        raise PlanError(f"{path}: cannot be read ({error.strerror}); name a PRESET.manifest.json") from None
    except (ValidationError, UnicodeDecodeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "not text"
        raise PlanError(f"{path}: not a manifest ({reason}): another kind of file, or damaged") from None


def _journal_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.finished")


def _read_journal(path: Path) -> Iterator[tuple[str, StemRecord]]:
    journal = _journal_path(path)
    if not journal.exists():
        return
    for line in journal.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):  # the last one is half where the writer was killed in it
            data = json.loads(line)
            yield data["name"], StemRecord.model_validate(data["record"])


def _levels(loudness: Loudness) -> dict[str, float | bool | None]:
    # JSON has no minus infinity: silence is null.
    return {
        name: value if isinstance(value, bool) else (round(value, 3) if math.isfinite(value) else None)
        for name, value in (
            (field, getattr(loudness, field)) for field in type(loudness).__dataclass_fields__
        )
    }
