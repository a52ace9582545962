"""Both hosts without the product, as `plugins_measure.py` compares it with."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from helpers.vst3 import noise  # noqa: E402

from bridge.hosts.bundle import find_binary  # noqa: E402
from bridge.hosts.narrow_bundle import narrow_bundle  # noqa: E402
from bridge.hosts.plugin_factory import read_factory  # noqa: E402

Raws = dict[int, float]
BLOCK = 512
SECONDS = 0.5
RATES = (44100, 48000, 96000)
NOTES = [
    (0.02, bytes([0x90, 60, 100])),
    (0.05, bytes([0xB0, 64, 127])),
    (0.08, bytes([0xE0, 0, 80])),
    (0.15, bytes([0x80, 60, 0])),
    (0.20, bytes([0x90, 67, 90])),
    (0.25, bytes([0xB0, 64, 0])),
    (0.30, bytes([0xE0, 0, 64])),
    (0.40, bytes([0x80, 67, 0])),
]


def notes_at(rate: int) -> list[tuple[int, bytes]]:
    """Return what is played, at samples: what is no note where a block begins.

    There a bare host tells it; the product cuts a block for it, and a plugin may sound otherwise in a
    shorter one.
    """
    return [
        (round(at * rate) if message[0] & 0xE0 == 0x80 else round(at * rate / BLOCK) * BLOCK, message)
        for at, message in NOTES
    ]


@dataclass(frozen=True)
class Case:
    """One sound through one setting."""

    rate: int
    channels: int
    raws: Raws

    @property
    def sound(self) -> np.ndarray:
        return noise(int(SECONDS * self.rate), self.channels, seed=7)


class BarePedalboard:
    """pedalboard without the product."""

    name = "pedalboard"

    def __init__(self, path: Path, plugin_name: str | None) -> None:
        from pedalboard import VST3Plugin

        from bridge.hosts.pedalboard_backend import ask_no_texts

        ask_no_texts()
        self.plugin: Any = VST3Plugin(str(path), plugin_name=plugin_name, initialization_timeout=5.0)
        self.is_instrument = bool(self.plugin.is_instrument)

    def titles(self) -> list[str]:
        return [parameter.name for parameter in self.plugin._parameters]

    def texts(self, rate: int, channels: int, asked: dict[int, list[float]]) -> dict[int, list[str]]:
        if self.is_instrument:
            self.plugin.process([], 0.1, rate, channels, BLOCK, True)
        else:
            self.plugin.process(np.zeros((channels, BLOCK), np.float32), rate, BLOCK, True)
        known = list(self.plugin._parameters)
        return {at: [known[at].get_text_for_raw_value(raw) for raw in raws] for at, raws in asked.items()}

    def set(self, raws: Raws) -> None:
        for index, raw in raws.items():
            self.plugin._parameters[index].raw_value = raw

    def run(self, case: Case) -> np.ndarray:
        if self.is_instrument:
            # pedalboard keeps seconds in float32; half a sample in is the sample for certain.
            messages = [(message, (at + 0.5) / case.rate) for at, message in notes_at(case.rate)]
            seconds = (int(SECONDS * case.rate) + 0.5) / case.rate
            return np.asarray(self.plugin.process(messages, seconds, case.rate, case.channels, BLOCK, True))
        return np.asarray(self.plugin.process(case.sound, case.rate, BLOCK, True))

    def staircase(self, case: Case, index: int, stairs: np.ndarray, step: int) -> np.ndarray:
        sound = case.sound
        self.plugin.process(np.zeros((case.channels, step), np.float32), case.rate, step, True)
        self.plugin.reset()
        pieces = []
        for at in range(0, sound.shape[1], step):
            self.plugin._parameters[index].raw_value = float(stairs[at])
            pieces.append(self.plugin.process(sound[:, at : at + step], case.rate, step, False))
        return np.concatenate(pieces, axis=1)


class BareMinihost:
    """minihost without the product; opened anew for each sound, which is how it forgets."""

    name = "minihost"

    def __init__(self, path: Path, plugin_name: str | None) -> None:
        import minihost

        self.host = minihost
        if plugin_name is not None:
            (chosen,) = [one for one in read_factory(find_binary(path)) if one.name == plugin_name][:1]
            path = narrow_bundle(path, chosen)
        self.path, self.raws = str(path), {}
        first = self._open(48000, 2)
        self.is_instrument = first.num_input_channels == 0
        self.n_sidechain = first.get_bus_info(True, 1)["num_channels"] if first.num_input_buses > 1 else 0
        self.n_main = first.get_bus_info(True, 0)["num_channels"] if first.num_input_buses else 0
        self.kept = [first]

    def _open(self, rate: int, channels: int, sidechain: int = 0) -> Any:
        plugin = self.host.Plugin(self.path, float(rate), BLOCK, channels, channels, sidechain)
        plugin.non_realtime = True
        return plugin

    def texts(self, rate: int, channels: int, asked: dict[int, list[float]]) -> dict[int, list[str]]:
        plugin = self._open(rate, channels)
        self.kept.append(plugin)
        return {at: [plugin.param_to_text(at, raw) for raw in raws] for at, raws in asked.items()}

    def titles(self) -> list[str]:
        plugin = self.kept[0]
        return [plugin.get_param_info(index)["name"] for index in range(plugin.num_params)]

    def set(self, raws: Raws) -> None:
        self.raws = dict(raws)

    def run(self, case: Case, sidechain: np.ndarray | None = None) -> np.ndarray:
        n_side = 0 if sidechain is None else sidechain.shape[0]
        plugin = self._open(case.rate, case.channels, n_side)
        self.kept.append(plugin)
        buses = [is_input for is_input in (True, False) if not (is_input and self.is_instrument)]
        for is_input in buses:
            has = plugin.get_bus_info(is_input, 0)["num_channels"]
            if has != case.channels:
                raise ValueError(f"plays {has} channels, not {case.channels}")
        for index, raw in self.raws.items():
            plugin.set_param(index, raw)
        late = int(plugin.latency_samples)
        n_samples = case.sound.shape[1]
        sound = np.concatenate([case.sound, np.zeros((case.channels, late), np.float32)], axis=1)
        if self.is_instrument:
            sound = np.zeros_like(sound)
        if sidechain is not None:
            sidechain = np.concatenate([sidechain, np.zeros((n_side, late), np.float32)], axis=1)
        output = np.zeros_like(sound)
        events = [(at, *message) for at, message in notes_at(case.rate)] if self.is_instrument else []
        for at in range(0, sound.shape[1], BLOCK):
            piece = np.ascontiguousarray(sound[:, at : at + BLOCK])
            made = np.zeros_like(piece)
            midi = [(when - at, *rest) for when, *rest in events if at <= when < at + BLOCK]
            if sidechain is None:
                plugin.process_midi(piece, made, midi)
            else:
                key = np.ascontiguousarray(sidechain[:, at : at + BLOCK])
                plugin.process_sidechain_midi(piece, made, key, midi)
            output[:, at : at + BLOCK] = made
        return output[:, late : late + n_samples]
