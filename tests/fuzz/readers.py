"""Every reader of foreign files."""

from __future__ import annotations

from collections.abc import Mapping

from fuzz.reader import Reader
from fuzz.readers_audio import AUDIO_READERS
from fuzz.readers_cli import CLI_READERS
from fuzz.readers_data import DATA_READERS
from fuzz.readers_midi import MIDI_READERS
from fuzz.readers_render import RENDER_READERS
from fuzz.readers_weights import WEIGHTS_READERS

__all__ = ["READERS"]

READERS: Mapping[str, Reader] = {
    reader.name: reader
    for reader in (
        *AUDIO_READERS,
        *CLI_READERS,
        *DATA_READERS,
        *MIDI_READERS,
        *RENDER_READERS,
        *WEIGHTS_READERS,
    )
}
"""By name."""
