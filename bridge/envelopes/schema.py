"""The words of an envelope: modulators, triggers, routes and macros as validated data.

Goal: what a musician writes in a preset is checked to the last key before anything sounds.

Conventions: a modulator gives 0..1, or -1..1 where its polarity is ``bipolar``; times are texts as in
`bridge.clock.durations` and stay texts here, so that a preset written back reads as it was; channels are
1..16; note names have C3 as middle C (60), so C1 is the General MIDI kick.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from bridge.clock.durations import parse_duration, parse_position, parse_rate
from bridge.envelopes.places import During
from bridge.errors import InputError
from dream_core.names import parse_key

__all__ = [
    "Adsr",
    "Breakpoint",
    "Breakpoints",
    "Combine",
    "Follower",
    "Hearing",
    "Lfo",
    "Macro",
    "MacroModulator",
    "MidiModulator",
    "Modulator",
    "Route",
    "Steps",
    "Trigger",
    "modulator_keys",
    "parse_notes",
]


def parse_notes(text: str) -> frozenset[int]:
    """Read a set of notes: single ones and ranges, separated by commas.

    >>> sorted(parse_notes("C1, D1..E1"))
    [36, 38, 39, 40]
    """
    notes: set[int] = set()
    for part in text.split(","):
        low, _, high = part.partition("..")
        first = parse_key(low)
        last = parse_key(high) if high else first
        if last < first:
            raise ValueError(f"{part.strip()!r} runs downwards; write the lower note first")
        notes.update(range(first, last + 1))
    return frozenset(notes)


def _checked(parse: Callable[[str], object]) -> Callable[[str], str]:
    """Make a check of a parser: the text is kept, its errors become validation errors."""

    def check(text: str) -> str:
        try:
            parse(text)
        except InputError as error:
            raise ValueError(str(error).removeprefix("value: ")) from None
        return text

    return check


def _check_place(text: str) -> str:
    """Accept a position, or a duration counted from where the contour starts."""
    try:
        parse_duration(text)
    except InputError:
        return _checked(lambda value: parse_position(value, "value"))(text)
    return text


DurationText = Annotated[
    str,
    AfterValidator(_checked(lambda text: parse_duration(text, "value"))),
    Field(examples=["1/4", "1/8T", "2 bars", "250 ms"]),
]
RateText = Annotated[
    str,
    AfterValidator(_checked(lambda text: parse_rate(text, "value"))),
    Field(examples=["1/8T", "2 bars", "2 Hz"]),
]
PlaceText = Annotated[str, AfterValidator(_check_place), Field(examples=["9:1", "@Chorus+2 bars", "1/4"])]
NotesText = Annotated[
    str, AfterValidator(lambda text: parse_notes(text) and text), Field(examples=["C1..D1"])
]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=64)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Bend = Annotated[
    float, Field(ge=-1.0, le=1.0, description="0 straight, above 0 slow at first, below 0 fast at first")
]
Channel = Annotated[int, Field(ge=1, le=16)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
PlayMode = Literal["free", "sync", "trigger", "one_shot"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Trigger(_Model):
    """What starts a modulator: notes, a controller going up, markers, a grid, loud sound or the song."""

    on: Literal["note", "cc", "marker", "grid", "audio", "start"] = "note"
    channel: Channel | None = None
    track: int | str | None = Field(default=None, description="1-based number or name of a MIDI track")
    notes: NotesText | None = None
    min_velocity: int = Field(default=1, ge=1, le=127)
    pedal: bool = Field(default=False, description="A held sustain pedal keeps the gate open")
    number: int = Field(default=64, ge=0, le=127, description="Controller, for on = 'cc'")
    threshold: int = Field(default=64, ge=1, le=127, description="Controller value that opens the gate")
    every: RateText | None = Field(default=None, description="Grid spacing, for on = 'grid'")
    gate: Share = Field(default=0.5, description="Part of the grid spacing that the gate is open")
    marker: str | None = Field(default=None, description="One marker's name; none means every marker")
    stem: str | None = Field(
        default=None, description="Sidechain stem, for on = 'audio'; none means the stem itself"
    )
    threshold_db: float = Field(default=-30.0, ge=-96.0, le=0.0)

    @model_validator(mode="after")
    def _grid_has_spacing(self) -> Trigger:
        if self.on == "grid" and self.every is None:
            raise ValueError("a grid trigger needs its spacing, such as every = '1/4'")
        return self


class _Common(_Model):
    id: Name
    label: str = ""
    polarity: Literal["unipolar", "bipolar"] = "unipolar"
    smooth: DurationText | None = Field(
        default=None, description="Time constant of a one-pole, such as '20 ms'"
    )
    swing: float = Field(default=50.0, ge=50.0, le=75.0, description="Percent of a pair the first step takes")
    swing_grid: RateText = "1/16"


class Lfo(_Common):
    """A wave that repeats: its sine and triangle start in the middle, rising; `phase` starts it elsewhere."""

    type: Literal["lfo"] = "lfo"
    shape: Literal[
        "sine", "triangle", "saw_up", "saw_down", "square", "pulse", "sample_hold", "random_smooth", "perlin"
    ] = "sine"
    rate: RateText = "1/4"
    phase: float = Field(default=0.0, ge=-360.0, le=360.0, description="Degrees")
    width: float = Field(default=0.5, gt=0.0, lt=1.0, description="Part of the cycle that a pulse is up")
    mode: PlayMode = "sync"
    delay: DurationText = "0 ms"
    fade_in: DurationText = "0 ms"
    stereo_phase: float = Field(
        default=0.0, ge=-360.0, le=360.0, description="Degrees that source '<id>.right' is ahead of '<id>'"
    )
    seed: Seed = 0
    trigger: Trigger = Trigger()


class Adsr(_Common):
    """Delay, attack, hold, decay, sustain, release after a trigger."""

    type: Literal["adsr"] = "adsr"
    delay: DurationText = "0 ms"
    attack: DurationText = "5 ms"
    hold: DurationText = "0 ms"
    decay: DurationText = "100 ms"
    sustain: Share = 1.0
    release: DurationText = "200 ms"
    attack_curve: Bend = 0.0
    decay_curve: Bend = -0.5
    release_curve: Bend = -0.5
    velocity: Share = Field(default=0.0, description="How much a soft note lowers the peak")
    retrigger: bool = Field(
        default=True, description="Whether a note played into another starts the attack again"
    )
    trigger: Trigger = Trigger()


class Breakpoint(_Model):
    """One point of a contour and the way to the next."""

    at: PlaceText
    value: Share
    curve: Literal["hold", "linear", "curve", "s_curve", "stairs", "pulse"] = "linear"
    tension: Bend = 0.0
    steps: int = Field(default=4, ge=1, le=256, description="Number of stairs or pulses on the way")


class Breakpoints(_Common):
    """A drawn contour: once along the song (``timeline``), looped in time with it, or from a trigger."""

    type: Literal["breakpoints"] = "breakpoints"
    points: Annotated[tuple[Breakpoint, ...], Field(min_length=1, max_length=4096)]
    mode: Literal["timeline", "sync", "trigger", "one_shot"] = "timeline"
    length: RateText | None = Field(
        default=None, description="Length of the loop; the last point's place by default"
    )
    loop: bool = False
    loop_start: DurationText = "0 ms"
    sustain_at: DurationText | None = Field(default=None, description="Where it waits while the gate is open")
    trigger: Trigger = Trigger()


class Steps(_Common):
    """A step sequencer."""

    type: Literal["steps"] = "steps"
    rate: RateText = "1/16"
    steps: Annotated[tuple[Share, ...], Field(min_length=1, max_length=1024)]
    direction: Literal["forward", "backward", "ping_pong", "random"] = "forward"
    gate: float = Field(default=1.0, gt=0.0, le=1.0, description="Part of a step that sounds")
    glide: Share = Field(default=0.0, description="Part of a step spent sliding from the one before")
    seed: Seed = 0
    mode: PlayMode = "sync"
    trigger: Trigger = Trigger()


class Follower(_Common):
    """The loudness of the stem itself or of another one, from `floor_db` (0) to 0 dBFS (1)."""

    type: Literal["follower"] = "follower"
    source: Literal["self", "sidechain"] = "self"
    stem: str | None = None
    detector: Literal["peak", "rms", "lufs_m"] = "rms"
    attack: DurationText = "10 ms"
    release: DurationText = "150 ms"
    gain_db: float = Field(default=0.0, ge=-60.0, le=60.0)
    floor_db: float = Field(default=-60.0, ge=-120.0, lt=0.0)
    low_cut_hz: float | None = Field(default=None, gt=0.0, le=20000.0)
    high_cut_hz: float | None = Field(default=None, gt=0.0, le=20000.0)

    @model_validator(mode="after")
    def _sidechain_has_stem(self) -> Follower:
        if (self.source == "sidechain") != (self.stem is not None):
            raise ValueError("source = 'sidechain' needs a stem (stem = 'kick'); source = 'self' takes none")
        return self


class Hearing(_Common):
    """How much a network hears of a class, or a layer's channel, from `floor` (0) to `ceiling` (1)."""

    type: Literal["hearing"] = "hearing"
    network: str = Field(default="timbre", min_length=1, description="Who hears, as `networks list` names it")
    class_name: str | None = Field(
        default=None, alias="class", min_length=1, description="One of the network's classes"
    )
    layer: str | None = Field(default=None, min_length=1, description="A layer, in place of a class")
    channel: int | None = Field(default=None, ge=0, description="Which channel of that layer")
    stem: str | None = Field(
        default=None, description="Another stem to listen to; none means the stem itself"
    )
    floor: float = Field(
        default=0.0, allow_inf_nan=False, description="The probability, or mean of the channel, that gives 0"
    )
    ceiling: float = Field(default=1.0, allow_inf_nan=False, description="That which gives 1")
    attack: DurationText = "10 ms"
    release: DurationText = "150 ms"
    patch_hop: int = Field(
        default=0,
        ge=0,
        description="Frames of the network from one value to the next; 0: four values a second",
    )

    @model_validator(mode="after")
    def _hears_one_thing(self) -> Hearing:
        if (self.class_name is None) == (self.layer is None):
            raise ValueError("say what is heard: class = 'vocal', or layer = 'block3' with channel = 12")
        if (self.layer is None) != (self.channel is None):
            raise ValueError("layer and channel go together: layer = 'block3', channel = 12")
        if not self.floor < self.ceiling:
            raise ValueError(f"floor = {self.floor:g} is not below ceiling = {self.ceiling:g}")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"class" if key == "class_name" else key: value for key, value in dump(self).items()}


class MidiModulator(_Common):
    """What the MIDI file plays: controllers hold, smoothed by 20 ms unless `smooth` says otherwise."""

    type: Literal["midi"] = "midi"
    event: Literal[
        "cc",
        "cc14",
        "pitch_bend",
        "channel_pressure",
        "poly_pressure",
        "velocity",
        "note_number",
        "gate",
        "rpn",
        "nrpn",
    ] = "cc"
    number: int | None = Field(default=None, ge=0, le=16383)
    channel: Channel | None = None
    track: int | str | None = Field(default=None, description="1-based number or name")
    notes: NotesText | None = None
    pedal: bool = False
    mpe: bool = Field(default=False, description="Follow the channel of the newest note")
    bend_range: float | None = Field(
        default=None,
        gt=0.0,
        le=96.0,
        description="Semitones of bend that count as full; by default the lane's own",
    )
    interpolate: Literal["hold", "linear"] = "hold"
    max_gap: DurationText = Field(default="1 bars", description="Longest gap that linear bridges")
    default: Share | None = Field(
        default=None, description="Value before the first event; 0 by default, the middle for a pitch bend"
    )
    chase: bool = Field(default=False, description="Take the first event's value before it instead")

    @model_validator(mode="after")
    def _controllers_have_numbers(self) -> MidiModulator:
        highest = {"cc": 127, "cc14": 31, "rpn": 16383, "nrpn": 16383}.get(self.event)
        if highest is not None and (self.number is None or self.number > highest):
            raise ValueError(f"event = '{self.event}' needs number = 0..{highest}, got {self.number}")
        return self


class MacroModulator(_Common):
    """A macro as a source, where it is to be smoothed or combined."""

    type: Literal["macro"] = "macro"
    macro: Name


class Combine(_Common):
    """Several sources as one; ``xfade`` goes from the first to the second by the third."""

    type: Literal["combine"] = "combine"
    op: Literal["multiply", "add", "max", "min", "mean", "xfade"] = "multiply"
    inputs: Annotated[tuple[str, ...], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _xfade_has_three(self) -> Combine:
        if self.op == "xfade" and len(self.inputs) != 3:
            raise ValueError(f"xfade takes three inputs (from, to, position), got {len(self.inputs)}")
        return self


Modulator = Annotated[
    Lfo | Adsr | Breakpoints | Steps | Follower | Hearing | MidiModulator | MacroModulator | Combine,
    Field(discriminator="type"),
]
"""Any modulator, told apart by its ``type``."""


def modulator_keys(location: Sequence[str | int]) -> list[str]:
    """List the keys accepted at a place within a modulator, given as its type and what follows.

    >>> modulator_keys(("lfo", "trigger"))[:2]
    ['on', 'channel']
    """
    kinds = get_args(get_args(Modulator)[0])
    models: dict[str, type[BaseModel]] = {kind.model_fields["type"].default: kind for kind in kinds}
    models |= {"trigger": Trigger, "points": Breakpoint}
    names = [part for part in location if isinstance(part, str) and part in models]
    fields = models[names[-1]].model_fields if names else {}
    return [field.alias or name for name, field in fields.items()]


class Macro(_Model):
    """A knob the user sees."""

    id: Name
    label: str = ""
    value: Share = 0.0


class Route(During):
    """Send a source to a parameter.

    The source moves the parameter along its own curve: ``add`` moves it from where it is by ``amount`` of the
    span from `min` to `max`, ``replace`` places it within that span, ``multiply`` scales it. Several routes
    to a parameter apply in the order they are written. With `during` it acts in those sections alone.
    """

    source: str = Field(
        description="A modulator's id, '<id>.right' of an LFO, 'macro.<id>', or 'lane:<track>/<parameter>' "
        "of a session's automation"
    )
    target: str = Field(pattern=r"^[^.]+\.[^.]+$", description="node.param")
    amount: float = Field(default=1.0, ge=-1.0, le=1.0)
    min: float | None = Field(default=None, description="In the parameter's own unit")
    max: float | None = Field(default=None, description="In the parameter's own unit")
    curve: Literal["linear", "exp", "log", "s_curve"] = "linear"
    tension: Bend = 0.0
    invert: bool = False
    quantize: float | tuple[float, ...] | None = Field(
        default=None,
        description="Multiples of a number, or the nearest of a list, in the parameter's own unit",
    )
    op: Literal["add", "replace", "multiply"] = "add"
    enabled: bool = True

    @model_validator(mode="after")
    def _range_rises(self) -> Route:
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise ValueError(
                f"min = {self.min:g} is not below max = {self.max:g}; use invert to reverse a route"
            )
        grid = self.quantize
        steps = grid if isinstance(grid, tuple) else () if grid is None else (grid,)
        is_positive = isinstance(grid, tuple) or grid is None or grid > 0
        if grid == () or not is_positive or not all(map(math.isfinite, steps)):
            raise ValueError("quantize takes a number above 0 or a list of values")
        return self
