"""Measure one plugin against both bare hosts: what `plugins.py` starts for each.

    python tests/bench/plugins_measure.py REQUEST     JSON: path, name, several, backend, skip

Prints a line of JSON as a stage begins, `{"begin": stage}`, and one of what it found, `{"stage": ...}`.
A bare host is first compared with itself (two fresh instances); only where it is equal can the product be.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from helpers.vst3 import noise  # noqa: E402

from bridge.hosts.bundle import find_binary  # noqa: E402
from bridge.hosts.narrow_bundle import narrow_bundle  # noqa: E402
from bridge.hosts.plugin_factory import read_factory  # noqa: E402
from bridge.processors.vst3 import VST3  # noqa: E402

Fact = dict[str, Any]
Raws = dict[int, float]
BLOCK = 512
SECONDS = 0.5
RATES = (44100, 48000, 96000)
HOST_OWNED = ("buffer size", "sample rate", "program", "bypass", "latency", "preset", "midi cc")
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

    def set(self, raws: Raws) -> None:
        for index, raw in raws.items():
            self.plugin._parameters[index].raw_value = raw

    def run(self, case: Case) -> np.ndarray:
        if self.is_instrument:
            # pedalboard keeps seconds in float32; half a sample in is the sample for certain.
            messages = [(message, (round(at * case.rate) + 0.5) / case.rate) for at, message in NOTES]
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
        self.kept = [first]

    def _open(self, rate: int, channels: int, sidechain: int = 0) -> Any:
        plugin = self.host.Plugin(self.path, float(rate), BLOCK, channels, channels, sidechain)
        plugin.non_realtime = True
        return plugin

    def titles(self) -> list[str]:
        plugin = self.kept[0]
        return [plugin.get_param_info(index)["name"] for index in range(plugin.num_params)]

    def set(self, raws: Raws) -> None:
        self.raws = dict(raws)

    def run(self, case: Case, sidechain: np.ndarray | None = None) -> np.ndarray:
        n_side = 0 if sidechain is None else sidechain.shape[0]
        plugin = self._open(case.rate, case.channels, n_side)
        self.kept.append(plugin)
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
        events = [(round(at * case.rate), *message) for at, message in NOTES] if self.is_instrument else []
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


class Measurement:
    """All stages of one plugin."""

    def __init__(self, path: Path, name: str | None, backend: str) -> None:
        self.path, self.plugin_name, self.backend = path, name, backend
        self._vst3: VST3 | None = None

    @property
    def vst3(self) -> VST3:
        if self._vst3 is None:
            options: Any = {"backend": self.backend}
            self._vst3 = VST3(self.path, plugin_name=self.plugin_name, **options)
        return self._vst3

    def bare(self) -> BarePedalboard | BareMinihost:
        kind = BarePedalboard if self.backend == "pedalboard" else BareMinihost
        return kind(self.path, self.plugin_name)

    @cached_property
    def channels(self) -> int:
        """How many channels the bare host plays it with: two, where it does."""
        try:
            self.bare().run(Case(48000, 2, {}))
        except Exception:
            return 1
        return 2

    def movable(self) -> dict[str, int]:
        """Return the parameters a user moves, with their place in the plugin's list."""
        found = {}
        for name, one in self.vst3._controls._parameters.items():
            title = self.vst3.description.parameters[one.index].title.lower()
            if one.spec.automation != "none" and not any(word in title for word in HOST_OWNED):
                found[name] = one.index
        return dict(list(found.items())[:128])

    def random_raws(self, seed: int) -> dict[str, float]:
        generator = np.random.default_rng(seed)
        steps = self.vst3.description.parameters
        raws = {}
        for name, index in self.movable().items():
            raw = generator.uniform(0.2, 0.8)
            count = steps[index].steps
            raws[name] = float(np.float32(round(raw * count) / count if count else raw))
        return raws

    def show(self) -> Fact:
        started = time.perf_counter()
        specs = self.vst3.parameters
        n_units = sum(
            bool(spec.unit) or bool(spec.choices) or spec.minimum is None for spec in specs.values()
        )
        bare_titles = [title.lower() for title in self.bare().titles()]
        told = [parameter.title.lower() for parameter in self.vst3.description.parameters]
        return {
            "seconds": round(time.perf_counter() - started, 2),
            "parameters": len(specs),
            "with_unit": n_units,
            "is_instrument": self.vst3.is_instrument,
            "latency": self.vst3.latency_samples,
            "same_list": told == bare_titles,
        }

    def check(self) -> Fact:
        from bridge.processors.vst3_check import check_plugin

        options: Any = {"backend": self.backend}
        try:
            results = check_plugin(self.path, plugin_name=self.plugin_name, level=3, **options)
        except TypeError:
            results = check_plugin(self.path, plugin_name=self.plugin_name, level=3)
        failed = [f"{result.name}: {result.detail}" for result in results if result.outcome == "failed"]
        return {"checks": len(results), "failed": failed}

    def ours(self, case: Case, raws: dict[str, float]) -> np.ndarray:
        for name, raw in raws.items():
            self.vst3.set_raw(name, raw)
        if self.vst3.is_instrument:
            return self.vst3.render(NOTES, SECONDS, case.rate, channels=case.channels, buffer_size=BLOCK)
        return self.vst3.process(case.sound, case.rate, BLOCK)

    def equality(self) -> Fact:
        names = self.movable()
        defaults = {name: self.vst3.get_raw(name) for name in names}
        rows: list[Fact] = []
        for setting, raws in (("default", {}), ("random", self.random_raws(1))):
            for rate in RATES:
                for channels in (2, 1):
                    case = Case(rate, channels, {names[name]: raw for name, raw in raws.items()})
                    rows.append({"case": f"{setting} {rate} {channels}", **self._compare(case, raws)})
        for name, raw in defaults.items():
            self.vst3.set_raw(name, raw)
        return {"rows": rows}

    def _compare(self, case: Case, raws: dict[str, float]) -> Fact:
        try:
            sounds = []
            for _ in range(2):
                bare = self.bare()
                bare.set(case.raws)
                sounds.append(bare.run(case))
        except Exception as error:
            return {"bare": f"refused: {error}"[:160]}
        if sounds[0].shape != sounds[1].shape or not np.array_equal(*sounds, equal_nan=True):
            return {"bare": "differs from itself", "by": _distance(*sounds)}
        if not np.isfinite(sounds[0]).all():
            return {"bare": "gives what is not a number"}
        try:
            ours = self.ours(case, raws)
        except Exception as error:
            return {"bare": "steady", "ours": f"refused: {error}"[:200]}
        if ours.shape == sounds[0].shape and np.array_equal(ours, sounds[0], equal_nan=True):
            return {"bare": "steady", "ours": "equal", "peak": float(np.abs(ours).max())}
        return {"bare": "steady", "ours": "differs", "by": _distance(ours, sounds[0])}

    def state(self) -> Fact:
        case = Case(48000, self.channels, {})
        before = {name: self.vst3.get_raw(name) for name in self.movable()}
        raws = self.random_raws(2)
        first = self.ours(case, raws)
        again = self.ours(case, {})
        data = self.vst3.preset_data
        values = {name: self.vst3.get_raw(name) for name in raws}
        options: Any = {"backend": self.backend}
        with VST3(self.path, plugin_name=self.plugin_name, state=data, **options) as other:
            moved = [name for name in raws if abs(other.get_raw(name) - values[name]) > 1e-4]
            self._vst3, kept = other, self._vst3
            try:
                second = self.ours(case, {})
            finally:
                self._vst3 = kept
        for name, raw in before.items():
            self.vst3.set_raw(name, raw)
        steady = np.array_equal(first, again, equal_nan=True)
        return {"steady": steady, "by": _distance(first, second), "moved": moved[:6], "n_moved": len(moved)}

    def automation(self) -> Fact:
        if self.vst3.is_instrument or self.backend != "pedalboard":
            return {"skipped": "the bare host's staircase is pedalboard's, of an effect"}
        names = self.movable()
        specs = self.vst3.parameters
        moving = [name for name in names if specs[name].is_continuous]
        case = Case(48000, self.channels, {})
        neutral = self.ours(case, {})
        loud = next((name for name in moving if _differs(self, case, name, neutral)), None)
        if loud is None:
            return {"skipped": "no parameter changes the sound"}
        before = self.vst3.get_raw(loud)
        n_samples = case.sound.shape[1]
        law = self.vst3._controls._parameters[loud]
        rows = {}
        for step in (64, 16):
            stairs = np.linspace(0.3, 0.6, -(-n_samples // step)).astype(np.float32)
            lane = np.repeat([float(law.to_value(float(raw))) for raw in stairs], step)[:n_samples]
            held = np.repeat(stairs, step)[:n_samples]
            sounds = [self.bare().staircase(case, names[loud], held, step) for _ in range(2)]
            if not np.array_equal(*sounds, equal_nan=True):
                return {"skipped": "the bare host differs from itself"}
            self.vst3.set_raw(loud, float(stairs[0]))
            self.vst3.automation_block_samples = step
            ours = self.vst3.process(case.sound, case.rate, BLOCK, automation={loud: lane})
            n_common = min(ours.shape[1], sounds[0].shape[1])
            rows[str(step)] = _distance(ours[:, :n_common], sounds[0][:, :n_common])
        self.vst3.set_raw(loud, before)
        return {"parameter": loud, "by": rows}

    def sidechain(self) -> Fact:
        bare = BareMinihost(self.path, self.plugin_name)
        if bare.is_instrument or not bare.n_sidechain:
            return {"skipped": "no second input"}
        case = Case(48000, 2, {})
        key = noise(case.sound.shape[1], bare.n_sidechain, seed=3)
        sounds = [BareMinihost(self.path, self.plugin_name).run(case, key) for _ in range(2)]
        if not np.array_equal(*sounds, equal_nan=True):
            return {"skipped": "the bare host differs from itself"}
        with VST3(self.path, plugin_name=self.plugin_name, has_sidechain=True) as vst3:
            ours = vst3.process(case.sound, case.rate, BLOCK, sidechain=key)
        return {"channels": bare.n_sidechain, "by": _distance(ours, sounds[0])}

    def speed(self) -> Fact:
        """Compare seconds of processor: of this process for the bare host, and of the child for ours too."""
        seconds = 10
        sound = noise(seconds * 48000, self.channels, seed=5)
        bare = self.bare()
        if bare.is_instrument:
            return {"skipped": "an instrument"}
        if isinstance(bare, BarePedalboard):
            bare.plugin.process(sound[:, :9600], 48000, BLOCK, True)
            started = time.process_time()
            bare.plugin.process(sound, 48000, BLOCK, True)
        else:
            plugin = bare._open(48000, self.channels)
            started = time.process_time()
            for at in range(0, sound.shape[1], BLOCK):
                piece = np.ascontiguousarray(sound[:, at : at + BLOCK])
                plugin.process_midi(piece, np.zeros_like(piece), [])
        bare_s = time.process_time() - started
        self.vst3.process(sound[:, :9600], 48000, BLOCK)
        started = self._processor_s()
        self.vst3.process(sound, 48000, BLOCK)
        ours_s = self._processor_s() - started
        return {"load": round(bare_s / seconds, 4), "ratio": round(bare_s / max(ours_s, 1e-9), 3)}

    def _processor_s(self) -> float:
        child = self.vst3._instances._supervisors[0].driver.process_id  # type: ignore[attr-defined]
        # In nanoseconds, where the process's own clock counts hundredths of a second.
        spent = int(Path(f"/proc/{child}/schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{child}/task").iterdir():
            if int(task.name) != child:
                spent += int((task / "schedstat").read_text().split()[0]) / 1e9
        return spent + time.process_time()


def _differs(measurement: Measurement, case: Case, name: str, neutral: np.ndarray) -> bool:
    before = measurement.vst3.get_raw(name)
    other = measurement.ours(case, {name: 0.35 if abs(before - 0.35) > 0.1 else 0.6})
    measurement.vst3.set_raw(name, before)
    return not np.array_equal(other, neutral, equal_nan=True)


def _distance(one: np.ndarray, other: np.ndarray) -> float | str:
    """Return the largest difference in dB below the louder's peak; a word where the shapes differ."""
    if one.shape != other.shape:
        return f"shapes {one.shape} {other.shape}"
    if np.array_equal(one, other, equal_nan=True):
        return -999.0
    peak = max(float(np.nanmax(np.abs(other))), 1e-9)
    return round(20 * float(np.log10(max(float(np.nanmax(np.abs(one - other))), 1e-12) / peak)), 1)


# The other host comes last: two of a kind in one process do not always end well.
STAGES = ("show", "check", "equality", "state", "automation", "speed", "sidechain")


def _run(request: Fact) -> Iterator[Fact]:
    name = request["name"] if request["several"] else None
    measurement = Measurement(Path(request["path"]), name, request["backend"])
    for stage in STAGES:
        if stage in request["skip"]:
            continue
        yield {"begin": stage}
        run: Callable[[], Fact] = getattr(measurement, stage)
        started = time.perf_counter()
        try:
            fact = run()
        except Exception as error:
            fact = {"error": f"{type(error).__name__}: {error}"[:300]}
        yield {"stage": stage, "wall_s": round(time.perf_counter() - started, 1), **fact}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for fact in _run(json.loads(sys.argv[1])):
        print(json.dumps(fact), file=answers, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
