"""Presets: a chain, what moves it, and what a musician sees of it, in one TOML file.

A preset is data. Reading one loads no network, no plugin and no audio code; everything wrong with it is said
at once, with the place in the file, what is accepted and the nearest name. Parameters are in real units
under their target's own names.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from bridge.envelopes.map_keys import MidiMap, keyswitches
from bridge.envelopes.places import During
from bridge.envelopes.schema import Macro, Modulator, Route, modulator_keys
from bridge.errors import PresetError, ProcessorError, nearest_names
from bridge.parameters import ParamSpec, check_parameter
from bridge.presets.migrate import migrate
from bridge.presets.policies import LevelPolicy, TailPolicy
from bridge.presets.toml_lines import find_line
from bridge.processors.catalogue import (
    DREAMING,
    dream_parameters,
    dreams_parameters,
    processor_parameters,
)
from bridge.processors.contract import MIX_SPEC

__all__ = [
    "FORMAT",
    "VERSION",
    "Meta",
    "NodeSpec",
    "Preset",
    "Requires",
    "Variation",
    "node_parameters",
    "parse_preset",
    "preset_schema",
]

FORMAT = "reverie/preset"
VERSION = 2

Category = Literal[
    "Bloom", "Pulse", "Texture", "Space", "Vocal", "Drums", "Bass", "Glitch", "Transition", "Utility"
]

_PLUGIN_KEYS = (
    "plugin",
    "plugin_name",
    "state",
    "program",
    "plugin_version",
    "sidechain",
    "midi",
    "channel",
    "track",
)

_NOTE_KEYS = ("channel", "track")
"""Those that say whose notes: a dream may play some, a growth begin at some."""

_ID = r"^[a-z][a-z0-9_-]{0,31}$"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Meta(_Model):
    """What a library shows of a preset."""

    name: str = Field(min_length=1, max_length=80)
    author: str = ""
    license: str = "CC0-1.0"
    category: Category
    tags: tuple[str, ...] = ()
    character: tuple[str, ...] = ()
    suits: tuple[str, ...] = ()
    description: str = ""
    bpm_hint: float | None = Field(default=None, ge=10, le=1000)
    preview: str | None = None


def _join_list(value: object) -> object:
    """Turn a list of texts, as `each` may be written, into the one text that parameters hold."""
    is_list = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
    return "; ".join(value) if is_list else value  # type: ignore[arg-type]


Param = Annotated[
    float | bool | str,
    BeforeValidator(_join_list),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number"},
                {"type": "boolean"},
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}},
            ]
        }
    ),
]
"""What a parameter may be in a preset."""


class NodeSpec(During):
    """One node of the chain, as data."""

    id: str = Field(pattern=_ID)
    use: str
    enabled: bool = True
    mix: float = Field(default=1.0, ge=0.0, le=1.0)
    params: dict[str, Param] = Field(default_factory=dict)
    plugin: str | None = Field(default=None, description="for `vst3`: the plugin's name or path")
    plugin_name: str | None = Field(default=None, description="which plugin of a bundle with several")
    state: str | None = Field(
        default=None, description="for `vst3`: base64, or a .vstpreset beside the preset"
    )
    program: str | None = Field(
        default=None,
        description="for `vst3`: one of the plugin's own programs, after the state and before `params`",
    )
    plugin_version: str | None = Field(
        default=None, description="for `vst3`: the version the state was saved with; another one is a warning"
    )
    sidechain: str | None = Field(
        default=None, description="for `vst3`: the stem its second input hears; needs reverie-audio[host]"
    )
    midi: bool | None = Field(
        default=None,
        description="for an effect (`vst3`): whether it hears the song's MIDI; needs reverie-audio[host]",
    )
    channel: int | None = Field(
        default=None,
        ge=1,
        le=16,
        description="for an instrument, or an effect with `midi`: the MIDI channel it plays; for a dream or "
        "a growth of notes: whose",
    )
    track: int | str | None = Field(
        default=None, description="the same for a MIDI track, by number (from 1) or name"
    )
    isolation: Literal["process"] = Field(
        default="process", description="for `vst3`: in a process of its own, so that a crash costs one stem"
    )
    backend: Literal["auto", "pedalboard", "minihost"] = Field(
        default="auto", description="for `vst3`: the host; auto takes the one that can"
    )
    on_fault: Literal["fail", "bypass", "retry"] = Field(
        default="fail", description="for `vst3`: what to do after a crash, a hang or invalid output"
    )

    @field_validator("isolation", mode="before")
    @classmethod
    def _is_isolated(cls, value: object) -> object:
        if value == "none":
            raise ValueError("a preset cannot switch isolation off; remove the line")
        return value


class Variation(_Model):
    """A named set of changes to the preset it stands in."""

    name: str = Field(pattern=_ID)
    description: str = ""
    set: dict[str, Param] = Field(default_factory=dict, description="`node.param` to value")
    macros: dict[str, float] = Field(default_factory=dict)


def _check_network_name(text: str) -> str:
    name, mark, sha256 = text.partition("@sha256:")
    if mark and (not name or not re.fullmatch(r"[0-9a-f]{64}", sha256)):
        raise ValueError(
            f"{text[:80]!r} is not a network; a name is accepted, or NAME@sha256: and the 64 digits that "
            "`reverie networks show NAME` prints"
        )
    return text


class Requires(_Model):
    """What must be installed for the preset to sound as meant.

    Args:
        plugins: By name.
        networks: By name, or as ``NAME@sha256:HASH`` where the weights must be those ones.
    """

    plugins: tuple[str, ...] = ()
    networks: tuple[Annotated[str, AfterValidator(_check_network_name)], ...] = ()


_CAME_LATER: Mapping[str, Any] = {"during": [], "fade": "0 s", "midi": None, "program": None}
"""Keys of nodes and routes that presets did not have at first, and what stands for their absence."""


class Preset(_Model):
    """A preset, whole and valid."""

    format: Literal["reverie/preset"] = "reverie/preset"
    version: Literal[2] = 2
    uuid: UUID
    revision: int = Field(default=1, ge=1)
    meta: Meta
    chain: tuple[NodeSpec, ...] = ()
    modulators: tuple[Modulator, ...] = ()
    routes: tuple[Route, ...] = ()
    macros: tuple[Macro, ...] = ()
    midi_map: MidiMap = Field(default_factory=dict)
    level: LevelPolicy = Field(default_factory=LevelPolicy)
    tail: TailPolicy = Field(default_factory=TailPolicy)
    variations: tuple[Variation, ...] = ()
    requires: Requires = Field(default_factory=Requires)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Preset:
        for what, names in (
            ("chain ids", [node.id for node in self.chain]),
            ("modulator ids", [modulator.id for modulator in self.modulators]),
            ("macro ids", [macro.id for macro in self.macros]),
            ("variation names", [variation.name for variation in self.variations]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} must differ; used twice: {', '.join(twice)}")
        return self

    @property
    def slug(self) -> str:
        """The name as files carry it, in any script.

        Names that differ in more than case and hyphens differ: where signs are lost, a hash stands for them.
        """
        name = unicodedata.normalize("NFC", " ".join(self.meta.name.split())).casefold()
        plain = unicodedata.normalize("NFKC", name)
        spelt = "".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in plain)
        slug = "-".join(spelt.split())
        if slug == name.replace(" ", "-"):
            return slug
        digits = hashlib.sha256(name.encode()).hexdigest()[:6]
        return f"{slug or 'preset'}-{digits}"

    def to_dict(self) -> dict[str, Any]:
        """Return the preset as plain data; `parse_preset` reads it back.

        Keys that came later are left out where they say nothing, so that a preset keeps its hash.
        """
        data: dict[str, Any] = self.model_dump(mode="json", exclude_defaults=False)
        for table in (*data["chain"], *data["routes"]):
            for key, nothing in _CAME_LATER.items():
                if key in table and table[key] == nothing:
                    del table[key]
        return data

    def digest(self) -> str:
        """Return the sha256 of the preset's canonical JSON."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def without(self, node_ids: Collection[str]) -> Preset:
        """Return the preset with some nodes disabled."""
        chain = tuple(
            node.model_copy(update={"enabled": False}) if node.id in node_ids else node for node in self.chain
        )
        return self.model_copy(update={"chain": chain})

    def nodes_of(self, use: str) -> tuple[NodeSpec, ...]:
        """Return the enabled nodes of one processor, in the order of the chain."""
        return tuple(node for node in self.chain if node.use == use and node.enabled)

    @property
    def dream_nodes(self) -> tuple[NodeSpec, ...]:
        """The enabled nodes that dream, in the order of the chain."""
        return tuple(node for node in self.chain if node.use in DREAMING and node.enabled)

    def node(self, node_id: str) -> NodeSpec:
        """Return the node of an id.

        Raises:
            PresetError: There is none.
        """
        for node in self.chain:
            if node.id == node_id:
                return node
        raise PresetError(
            f"preset {self.meta.name!r} has no node {node_id!r}; "
            f"{nearest_names(node_id, [node.id for node in self.chain])}"
        )


def node_parameters(node: NodeSpec, midi_map: Mapping[str, Any] | None = None) -> dict[str, ParamSpec]:
    """Return what routes and settings can reach at a node: its processor's parameters and its mix.

    A plugin's parameters are known once it is open; for ``vst3`` only the mix is listed.

    Args:
        node: The node.
        midi_map: The preset's: its keyswitches' objectives may have weights too.

    Raises:
        ProcessorError: A weight of an objective has a name that is taken.
    """
    if node.use == "vst3":
        return {"mix": MIX_SPEC}
    if node.use == "dreams":
        return {"mix": MIX_SPEC, **dreams_parameters(str(node.params.get("each", "")))}
    if node.use != "dream":
        return {"mix": MIX_SPEC, **processor_parameters(node.use)}
    switched = keyswitches(midi_map or {}).values()
    specs = dream_parameters(str(node.params.get("objective", "")), *switched)
    taken = [name for name in specs if name.startswith("key_")] if switched else []
    if taken:
        raise ProcessorError(
            f"a weight cannot be called {taken[0]!r} where there are keyswitches: their weights are called "
            f"so; write another, as {{{taken[0].removeprefix('key_')}_share}}"
        )
    return {"mix": MIX_SPEC, **specs}


def parse_preset(data: Mapping[str, Any], where: str, text: str = "") -> Preset:
    """Build a preset from plain data.

    Args:
        data: What TOML or JSON gave.
        where: File name, put at the start of errors.
        text: The TOML the data came from, so that errors can point at its lines.

    Raises:
        PresetError: Anything in it is wrong; the message names the place and what is accepted.
    """
    if data.get("format", FORMAT) != FORMAT:
        raise PresetError(f"{where}: format = {data['format']!r} is not a preset; {FORMAT!r} is accepted")
    if "extends" in data:
        raise PresetError(f"{where}: extends is looked up from a file; `load_preset` reads one with its base")
    version = data.get("version", VERSION)
    if isinstance(version, int) and version > VERSION:
        raise PresetError(
            f"{where}: version {version} is newer than this program reads ({VERSION}); update reverie-audio"
        )
    data = migrate(data)
    try:
        preset = Preset.model_validate(data)
    except ValidationError as error:
        line = find_line(text, error.errors()[0]["loc"])
        raise PresetError(_explain(error, where if line is None else f"{where}:{line}")) from None
    _check_chain(preset, where)
    return preset


def preset_schema() -> dict[str, Any]:
    """Return the JSON Schema of preset files, for editors."""
    schema = Preset.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Reverie preset"
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "the preset this one changes: a name, factory:NAME, NAME@REVISION or a file beside it",
    }
    return schema


def _check_chain(preset: Preset, where: str) -> None:
    for i, node in enumerate(preset.chain):
        place = f"{where}: chain[{i}] {node.id!r}"
        if node.use == "vst3":
            if not node.plugin:
                raise PresetError(f"{place}: a vst3 node needs plugin = its name or path")
            continue
        own = _NOTE_KEYS if node.use in (*DREAMING, "grow") else ()
        foreign = [name for name in _PLUGIN_KEYS if getattr(node, name) is not None and name not in own]
        if foreign:
            raise PresetError(f"{place}: {foreign[0]} belongs to vst3 nodes; this one uses {node.use!r}")
        try:
            processor_parameters(node.use)
            known = node_parameters(node, preset.midi_map)
            specs = {name: spec for name, spec in known.items() if spec is not MIX_SPEC}
            for name, value in node.params.items():
                check_parameter(name, value, specs, place)
        except ProcessorError as error:
            text = str(error)
            raise PresetError(text if text.startswith(where) else f"{place}: {text}") from None


def _explain(error: ValidationError, where: str) -> str:
    first = error.errors()[0]
    place = _dotted(first["loc"]) or "the preset"
    n_more = error.error_count() - 1
    more = f" (and {n_more} more)" if n_more else ""
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        accepted = _siblings(first["loc"])
        hint = nearest_names(key, accepted) if accepted else "remove it"
        return f"{where}: {place}: no such key; {hint}{more}"
    if first["type"] == "missing":
        return f"{where}: {place} is missing{more}"
    given = first.get("input")
    shown = f" = {given!r}" if isinstance(given, (str, int, float, bool)) else ""
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {place}{shown}: {message[0].lower()}{message[1:]}{more}"


def _dotted(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Preset
    homes = {
        "meta": Meta,
        "chain": NodeSpec,
        "level": LevelPolicy,
        "tail": TailPolicy,
        "variations": Variation,
        "requires": Requires,
        "routes": Route,
        "macros": Macro,
    }
    if location[0] == "modulators":
        return modulator_keys(location[2:-1])
    if len(location) > 1:
        model = homes.get(str(location[0]))
    return list(model.model_fields) if model is not None else []
