"""What plays the notes of a data set: a preset of a soundfont, or a VST3 instrument in one of its states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from bridge.arrays import Float32Array
from bridge.errors import InputError
from dream_core.training.fluidsynth import (
    RENDER_RATE,
    SLOT_S,
    Note,
    check_fluidsynth,
    list_presets,
    render_slots,
)
from dream_core.training.notes import FAMILY_PRESETS, PITCH_RANGES

if TYPE_CHECKING:
    from bridge.processors.vst3 import VST3

__all__ = ["Instrument", "PluginSound", "choose_plugins", "choose_presets"]

_PLUGIN_KEYS: Final = (28, 100)
"""From the lowest to above the highest; keys that a plugin does not play are silent and left out."""

_PLUGIN_CHANNELS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginSound:
    """A sound of a VST3 instrument.

    Args:
        plugin: An installed plugin's name, or the path of a bundle.
        plugin_name: Which plugin of a bundle that holds several.
        state: A ``.vstpreset``; None for the sound the plugin begins with.
    """

    plugin: str
    plugin_name: str | None = None
    state: Path | None = None


class Instrument(Protocol):
    """What plays notes."""

    @property
    def name(self) -> str:
        """What is never split: soundfont and preset, or plugin and state."""

    @property
    def label(self) -> str:
        """Its class."""

    @property
    def folder(self) -> Path:
        """Where its files go, inside the set."""

    @property
    def keys(self) -> tuple[int, int]:
        """Its lowest MIDI key, and the one above its highest."""

    @property
    def seed(self) -> tuple[int, ...]:
        """Draws its notes, beside the seed of the set."""

    @property
    def source(self) -> str:
        """Where its sound comes from."""

    @property
    def licence(self) -> str:
        """Of its sound."""

    def render(self, slots: Sequence[Sequence[Note]]) -> Iterator[Float32Array]:
        """Yield what it plays in each slot, mono at `RENDER_RATE`."""


@dataclass(frozen=True, slots=True)
class _Preset:
    """A General MIDI preset of a soundfont."""

    soundfont: Path
    family: str
    preset: tuple[int, int]

    @property
    def name(self) -> str:
        return f"{self.soundfont.stem} {self._number}"

    @property
    def label(self) -> str:
        return self.family

    @property
    def folder(self) -> Path:
        return Path(self.soundfont.stem, self._number)

    @property
    def keys(self) -> tuple[int, int]:
        return PITCH_RANGES[self.family]

    @property
    def seed(self) -> tuple[int, ...]:
        return self.preset

    @property
    def source(self) -> str:
        return self.soundfont.stem

    @property
    def licence(self) -> str:
        return f"that of {self.soundfont.name}"

    @property
    def _number(self) -> str:
        return f"{self.preset[0]:03d}-{self.preset[1]:03d}"

    def render(self, slots: Sequence[Sequence[Note]]) -> Iterator[Float32Array]:
        yield from render_slots(self.preset, slots, self.soundfont)


@dataclass(frozen=True, slots=True)
class _Plugin:
    """A VST3 instrument in one state."""

    sound: PluginSound
    title: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.title} {self._state}"

    @property
    def label(self) -> str:
        return self.title

    @property
    def folder(self) -> Path:
        return Path("plugins", f"{self.number:03d}-{self._state}")

    @property
    def keys(self) -> tuple[int, int]:
        return _PLUGIN_KEYS

    @property
    def seed(self) -> tuple[int, ...]:
        return (128, self.number)  # behind the banks of soundfonts

    @property
    def source(self) -> str:
        return self.title

    @property
    def licence(self) -> str:
        return f"that of {self.title}"

    @property
    def _state(self) -> str:
        return self.sound.state.stem if self.sound.state else "default"

    def render(self, slots: Sequence[Sequence[Note]]) -> Iterator[Float32Array]:
        with _opened(self.sound) as vst3:
            for notes in slots:
                events = [(0.0, bytes((0x90, note.pitch, note.velocity))) for note in notes]
                events += [(note.duration_s, bytes((0x80, note.pitch, 0))) for note in notes]
                played = vst3.render(
                    sorted(events, key=lambda event: event[0]), SLOT_S, RENDER_RATE, channels=_PLUGIN_CHANNELS
                )
                yield played.mean(axis=0, dtype=np.float32)


def choose_presets(soundfonts: Sequence[Path], families: Sequence[str]) -> tuple[list[Instrument], int]:
    """Return the General MIDI presets of soundfonts, and how many of them are not there.

    Args:
        soundfonts: SF2 or SF3 files.
        families: General MIDI families; empty takes all.

    Raises:
        InputError: There is no such soundfont, two have one name, or none has a preset that is wanted.
        SettingError: FluidSynth is not installed, or a file is no soundfont.
    """
    if not soundfonts:
        return [], 0
    check_fluidsynth()
    missing = [str(path) for path in soundfonts if not path.is_file()]
    if missing:
        raise InputError(f"{', '.join(missing)}: no such soundfont; --soundfont needs an .sf2 or .sf3 file")
    stems = [path.stem for path in soundfonts]
    if len(set(stems)) < len(stems):
        raise InputError(f"{', '.join(map(str, soundfonts))}: two have one name; rename one")
    wanted: list[Instrument] = []
    n_absent = 0
    for soundfont in soundfonts:
        there = list_presets(soundfont)
        for family in families or tuple(FAMILY_PRESETS):
            own = [preset for preset in FAMILY_PRESETS[family] if preset[0] == 0]
            wanted += [_Preset(soundfont, family, preset) for preset in own if preset in there]
            n_absent += sum(preset not in there for preset in own)
    if not wanted:
        raise InputError(f"{', '.join(map(str, soundfonts))}: has none of the General MIDI presets wanted")
    return wanted, n_absent


def choose_plugins(sounds: Sequence[PluginSound]) -> list[Instrument]:
    """Return the instruments of plugins; each is loaded once, to see that it can be.

    Raises:
        PluginError: There is no such plugin, it does not load, or the state is not its own.
        InputError: One is an effect, or two are the same plugin in the same state.
    """
    found: list[Instrument] = []
    for number, sound in enumerate(sounds):
        with _opened(sound) as vst3:
            if not vst3.is_instrument:
                raise InputError(
                    f"--plugin {sound.plugin}: {vst3.name} is an effect and plays no notes; give an "
                    "instrument (reverie plugins list shows which is which)"
                )
            one = _Plugin(sound, vst3.name, number)
        if one.name in {other.name for other in found}:
            raise InputError(
                f"--plugin {sound.plugin}: {one.name} is given twice; give a --state of another name"
            )
        found.append(one)
    return found


@contextmanager
def _opened(sound: PluginSound) -> Iterator[VST3]:
    from bridge.processors.vst3 import VST3

    with VST3(sound.plugin, plugin_name=sound.plugin_name, state=sound.state) as vst3:
        yield vst3
