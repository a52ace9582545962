"""A plan: everything a render will do, resolved, as data.

It prints as JSON and reads back; rendering takes a plan and nothing else, so the same plan is the same
render. `bridge.plan.planner` makes one.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from bridge.audio.alignment import Placement
from bridge.audio.formats import MAX_CHANNELS, MAX_SAMPLE_RATE, SUBTYPE_BITS
from bridge.clock.tempo_map import TempoMap
from bridge.daw.model import Session
from bridge.daw.read import read_session
from bridge.daw.session_midi import add_session
from bridge.errors import MidiFileError, PlanError, SessionError
from bridge.files import hash_file
from bridge.installation import program_version
from bridge.midi.file import MidiFile, read_midi
from bridge.presets.model import Preset, parse_preset
from bridge.processors.contract import AUTOMATION_BLOCK_SAMPLES

__all__ = ["SELF", "SILENCE", "MidiSource", "Plan", "SessionSource", "StemPlan"]


SELF = "self"
"""Stands among references for the stem itself, as it enters its chain."""

SILENCE = "silence"
"""Stands for the source of a stem that is silent and read from nowhere; files have absolute paths."""


_MAX_SAMPLES = 1 << 40
"""Months at any rate: a file that says more is damaged."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _check_path(path: str) -> str:
    if "\0" in path or Path(path).name in ("", ".", ".."):
        raise ValueError("is not the path of a file")
    return path


def _check_subtype(subtype: str) -> str:
    if subtype not in SUBTYPE_BITS:
        raise ValueError(f"is none of {', '.join(SUBTYPE_BITS)}")
    return subtype


def _check_name(name: str) -> str:
    """A manifest comes from anywhere, and its plan's name becomes a file's: it must not lead elsewhere."""
    if not name or name in (".", "..") or set(name) & set("/\\\0"):
        raise ValueError("is not a plain file name")
    return name


class MidiSource(_Record):
    """The MIDI file a plan reads."""

    path: str
    sha256: str
    pattern: int | None = Field(default=None, description="which track of a type 2 file")
    ppq: int | None = Field(default=None, description="ticks a quarter note, for a file that says 0")

    def load(self) -> MidiFile:
        """Read the file as the plan reads it.

        Raises:
            MidiFileError: It is gone, or cannot be read.
        """
        return read_midi(self.path, pattern=self.pattern, ppq=self.ppq)

    def check(self) -> None:
        """Refuse a file that is not the one the plan was made with.

        Raises:
            MidiFileError: It is gone, or has changed.
        """
        path = Path(self.path)
        if not path.exists() or hash_file(path) != self.sha256:
            raise MidiFileError(f"{path}: is gone or has changed since the plan was made; plan again")


class SessionSource(_Record):
    """The session a plan's clock, notes and stems come from."""

    path: str
    sha256: str
    tracks: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="stems made of it, to the tracks in them"
    )

    def load(self) -> Session:
        """Read the session again.

        Raises:
            SessionError: It is gone, or cannot be read.
        """
        return read_session(self.path)

    def check(self) -> None:
        """Refuse a session that is not the one the plan was made with.

        Raises:
            SessionError: It is gone, or has changed.
        """
        path = Path(self.path)
        if not path.exists() or hash_file(path) != self.sha256:
            raise SessionError(f"{path}: is gone or has changed since the plan was made; plan again")


def _read_preset(given: object) -> Preset:
    return given if isinstance(given, Preset) else parse_preset(_table(given, "preset"), "plan")


def _read_tempo_map(given: object) -> TempoMap:
    return given if isinstance(given, TempoMap) else TempoMap.from_dict(_table(given, "tempo_map"))


def _table(given: object, name: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"{name} is {type(given).__name__}; a table is accepted")
    return given


class StemPlan(_Record):
    """One stem: what goes in, where it goes, and what it will cost.

    `sample_rate` and `n_samples` are the session's, which all its stems share; `source` may differ.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    name: str
    source: Annotated[str, AfterValidator(_check_path)]
    sha256: str
    stamp: str = Field(default="", description="size and time of the source when it was hashed")
    sample_rate: int = Field(ge=1, le=MAX_SAMPLE_RATE)
    n_channels: int = Field(ge=1, le=MAX_CHANNELS)
    n_samples: int = Field(ge=0, le=_MAX_SAMPLES)
    subtype: str
    target: Annotated[str, AfterValidator(_check_path)]
    target_subtype: Annotated[str, AfterValidator(_check_subtype)]
    head_samples: int = Field(
        default=0, ge=0, le=_MAX_SAMPLES, description="silence in front, up to the session's start"
    )
    own_samples: int = Field(
        ge=0, le=_MAX_SAMPLES, description="length of the stem itself, at the session's rate"
    )
    start_samples: int | None = Field(
        default=None, ge=0, le=_MAX_SAMPLES, description="the session's start, since midnight"
    )
    section: tuple[int, int] | None = Field(
        default=None, description="first sample rendered, and the one after the last; None is all of it"
    )
    is_cropped: bool = Field(
        default=False, description="whether the output begins with the section, not with the session"
    )
    reference_stems: dict[str, str] = Field(
        default_factory=dict,
        alias="listens_to",
        description="stems it follows, dreams towards or is keyed by, to their sha256",
    )
    peak_depth: float = Field(ge=0, description="deepest dream in steps")
    depth_integral_s: float = Field(ge=0, description="integral of depth over time: steps x seconds")

    @model_serializer(mode="wrap")
    def _by_stored_names(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What manifests hold keeps its name: renders of earlier versions are taken up by it.
        data: dict[str, Any] = dump(self)
        if self.section is None:  # a whole stem is what it was before there were sections
            data = {key: value for key, value in data.items() if key not in ("section", "is_cropped")}
        return {"listens_to" if key == "reference_stems" else key: value for key, value in data.items()}

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate

    @property
    def span(self) -> tuple[int, int]:
        """The first sample that is rendered, and the one after the last."""
        return (0, self.n_samples) if self.section is None else self.section

    @property
    def rendered_s(self) -> float:
        """Length in seconds of what is rendered."""
        first, last = self.span
        return (last - first) / self.sample_rate

    @property
    def lead_samples(self) -> int:
        """How much silence stands in front of what is rendered."""
        return 0 if self.is_cropped else self.span[0]

    @property
    def out_samples(self) -> int:
        """Length of the output, but for its tail."""
        first, last = self.span
        return self.lead_samples + last - first

    @property
    def is_silence(self) -> bool:
        """Whether it is silence, and no file."""
        return self.source == SILENCE

    @property
    def placement(self) -> Placement:
        """Where the file lies on the session's timeline."""
        return Placement(path=Path(self.source), head_samples=self.head_samples, n_samples=self.own_samples)


class Plan(_Record):
    """Everything a render will do.

    Args:
        name: What tells it apart in its folder: preset, variation, and MIDI file where outputs bear that.
        is_aligned: Whether the stems are one session: one rate, start and length.
        preset: The resolved preset.
        tempo_map: The song's clock.
        midi: Where notes and lanes come from, if anywhere.
        session: The session they or the clock come from, if any.
        stems: What is rendered.
        out_dir: Where it goes.
        networks: What listens, and the hashes of its weights.
        plugins: What is hosted, and the hashes of its binaries.
        device: ``cpu``, ``cuda:0``, ``cuda:0,cuda:1``; ``auto`` is resolved where anything dreams.
        threads: Torch's threads on the CPU; None is resolved likewise.
        seed: Added to every seed in the preset.
        ladder: Depths, in whole steps of the last dream, at which every stem is delivered too.
        automation_block_samples: How often a parameter moves where it cannot move at every sample.
        on_missing: What a plugin that is not installed means: the render fails, or its node is bypassed.
        warnings: What the user should know before rendering.
    """

    format: Literal["reverie/plan"] = "reverie/plan"
    version: Literal[1] = 1
    name: Annotated[str, AfterValidator(_check_name)]
    is_aligned: bool = True
    preset: Annotated[Preset, PlainValidator(_read_preset), PlainSerializer(Preset.to_dict)]
    preset_sha256: str
    tempo_map: Annotated[TempoMap, PlainValidator(_read_tempo_map), PlainSerializer(TempoMap.to_dict)]
    midi: MidiSource | None = None
    session: SessionSource | None = None
    stems: tuple[StemPlan, ...]
    out_dir: str
    networks: dict[str, str] = Field(default_factory=dict, description="network to sha256 of its weights")
    plugins: dict[str, str] = Field(default_factory=dict, description="plugin to sha256, or 'missing'")
    device: str = Field(default="auto", description="several, with commas between, take the stems in turn")
    threads: int | None = Field(default=None, ge=1, le=256)
    seed: int = Field(default=0, ge=0, le=1 << 62)
    ladder: tuple[Annotated[int, Field(ge=1, le=100)], ...] = ()
    automation_block_samples: int = Field(default=AUTOMATION_BLOCK_SAMPLES, ge=1, le=1 << 20)
    on_missing: Literal["fail", "bypass"] = "fail"
    warnings: tuple[str, ...] = ()

    def load_midi(self) -> MidiFile | None:
        """Return what the song plays, read anew from MIDI file and session; None where nothing does.

        Raises:
            MidiFileError: The MIDI file is gone, or cannot be read.
            SessionError: The session is gone, or cannot be read.
        """
        parsed = None if self.midi is None else self.midi.load()
        return parsed if self.session is None else add_session(parsed, self.session.load())

    def check_song(self) -> None:
        """Refuse a MIDI file or a session that is not the one the plan was made with.

        Raises:
            MidiFileError: The MIDI file is gone, or has changed.
            SessionError: The session is gone, or has changed.
        """
        for source in (self.midi, self.session):
            if source is not None:
                source.check()

    def to_json(self) -> str:
        """Return the plan as JSON; `from_json` reads it back."""
        return self.model_dump_json(indent=2)

    @classmethod
    def from_json(cls, text: str, where: str = "plan") -> Plan:
        """Read a plan from JSON.

        Raises:
            PlanError: It is not one.
            PresetError: Its preset does not validate.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise PlanError(f"{where}: not a plan: {place}: {first['msg']}") from None

    def read_preset(self) -> Preset:
        """Return `preset`; the name of the last release."""
        warnings.warn("Plan.read_preset() is Plan.preset now", DeprecationWarning, stacklevel=2)
        return self.preset

    def read_tempo_map(self) -> TempoMap:
        """Return `tempo_map`; the name of the last release."""
        warnings.warn("Plan.read_tempo_map() is Plan.tempo_map now", DeprecationWarning, stacklevel=2)
        return self.tempo_map

    @property
    def is_shared(self) -> bool:
        """Whether the stems share a gain or a length, so that none is delivered before all were heard."""
        return len(self.stems) > 1 and self.shares_gain_or_length

    @property
    def shares_gain_or_length(self) -> bool:
        """Whether one stem's gain or length would depend on others beside it."""
        tails_differ = self.is_aligned and self.preset.tail.mode == "auto"
        return self.preset.level.common_trim or tails_differ

    def device_for(self, stem: StemPlan) -> str:
        """Return where a stem is dreamed: several devices take the stems in turn."""
        devices = self.device.split(",")
        return devices[self.stems.index(stem) % len(devices)]

    def with_stems(self, stems: Iterable[StemPlan]) -> Plan:
        """Return the plan with more stems, as an earlier render of the same settings has them."""
        return self.model_copy(update={"stems": (*self.stems, *stems)})

    def settings_digest(self) -> str:
        """Return what decides all stems alike, as a hash."""
        return _digest(self._settings())

    def stem_key(self, stem: StemPlan) -> str:
        """Return what decides a stem's samples, as a hash: equal keys, equal work.

        The program that renders belongs to it: another version may render the same plan otherwise.
        """
        others = {other.name: other.sha256 for other in self.stems}
        decisive = {
            "program": program_version(),
            "settings": self._settings(),
            "stem": stem.model_dump(exclude={"source", "stamp", "target", "peak_depth", "depth_integral_s"}),
            "session": others if self.is_shared else {},
        }
        return _digest(decisive)

    def _settings(self) -> dict[str, Any]:
        return {
            **({"ladder": list(self.ladder)} if self.ladder else {}),
            "preset": self.preset.to_dict(),
            "networks": self.networks,
            "plugins": self.plugins,
            "on_missing": self.on_missing,
            "device": [self.device.partition(":")[0], self.threads],
            "tempo_map": self.tempo_map.to_dict(),
            "midi": self.midi.model_dump(exclude={"path"}) if self.midi else None,
            **({"session": self.session.sha256} if self.session else {}),
            "seed": self.seed,
            "automation_block_samples": self.automation_block_samples,
        }


def _digest(data: object) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
