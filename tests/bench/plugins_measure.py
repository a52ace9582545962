"""Measure one plugin against both bare hosts: what `plugins.py` starts for each.

    python tests/bench/plugins_measure.py REQUEST     JSON: path, name, several, backend, skip

Prints a line of JSON as a stage begins, `{"begin": stage}`, and one of what it found, `{"stage": ...}`.
A bare host is first compared with itself (two fresh instances); only where it is equal can the product be.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from helpers.vst3 import noise  # noqa: E402
from plugins_hosts import (  # noqa: E402
    BLOCK,
    RATES,
    SECONDS,
    BareMinihost,
    BarePedalboard,
    Case,
    notes_at,
)

from bridge.processors.vst3 import VST3  # noqa: E402

Fact = dict[str, Any]
NUMBER = re.compile(r"\s*([-+]?\d*\.?\d+)\s*([^\d\s].*)?$")
HOST_OWNED = ("buffer size", "sample rate", "program", "bypass", "latency", "preset", "midi cc")


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

    def units(self) -> Fact:
        """Compare real units with what the bare host displays, in shares of the range, at three rates.

        What the display rounds off is taken off; a word must be the word.
        """
        worst, n_far, far = 0.0, 0, []
        generator = np.random.default_rng(4)
        for rate in RATES:
            self.vst3._instances.describe_at(rate)
            laws = {name: self.vst3._controls._parameters[name] for name in self.movable()}
            numeric = {name: law for name, law in laws.items() if law.law not in ("switch", "choice")}
            asked = {law.index: generator.uniform(0, 1, 40).tolist() for law in numeric.values()}
            shown = self.bare().texts(rate, self.channels, asked)
            for name, law in numeric.items():
                share = _farthest(law, asked[law.index], shown[law.index])
                worst = max(worst, share)
                if share > 0.005:
                    n_far, far = n_far + 1, [*far, f"{name} {rate}: {share:.3f}"]
        return {"worst": round(worst, 5), "n": 3 * len(numeric), "n_far": n_far, "far": far[:6]}

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
            notes = [(at / case.rate, message) for at, message in notes_at(case.rate)]
            return self.vst3.render(notes, SECONDS, case.rate, channels=case.channels, buffer_size=BLOCK)
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
        # Between two steps the product goes to one of them, and the plugin perhaps to the other.
        laws = self.vst3._controls._parameters
        moving = [name for name in names if specs[name].is_continuous and not laws[name].steps]
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
        case = Case(48000, bare.n_main, {})
        key = noise(case.sound.shape[1], bare.n_sidechain, seed=3)
        sounds = [BareMinihost(self.path, self.plugin_name).run(case, key) for _ in range(2)]
        if not np.array_equal(*sounds, equal_nan=True):
            return {"skipped": "the bare host differs from itself"}
        with VST3(self.path, plugin_name=self.plugin_name, has_sidechain=True) as vst3:
            ours = vst3.process(case.sound, case.rate, BLOCK, sidechain=key)
        return {"channels": bare.n_sidechain, "by": _distance(ours, sounds[0])}

    def speed(self) -> Fact:
        """Compare seconds of processor for a second of sound, between a long sound and a short one.

        The difference leaves out what a sound costs once, a fresh instance among it. Of this process for the
        bare host; for ours of the child too. The two take turns.
        """
        bare = self.bare()
        if bare.is_instrument:
            return {"skipped": "an instrument"}
        whole = _slopes(lambda sound: self._bare_s(bare, sound), self._ours_s, self.channels)
        fact = {"load": round(whole[0], 6), "ratio": round(whole[0] / max(whole[1], 1e-9), 3)}
        name = next((one for one in self.movable() if self.vst3.parameters[one].is_continuous), None)
        if name is None or not isinstance(bare, BarePedalboard):
            return fact
        index = self.movable()[name]
        ours = _slope(lambda sound: self._ours_moved_s(name, sound), self.channels)
        raw = _slope(lambda sound: self._bare_moved_s(bare, index, sound), self.channels)
        fact["automated_raw"] = round(raw / max(ours, 1e-9), 3)
        shown = bare.plugin.parameters.get(name)
        if shown is not None and shown.type is float:
            spelt = _slope(lambda sound: self._bare_spelt_s(bare, name, shown.range, sound), self.channels)
            fact["automated"] = round(spelt / max(ours, 1e-9), 3)
        return fact

    def _bare_spelt_s(
        self, bare: BarePedalboard, name: str, travel: tuple[float, ...], sound: np.ndarray
    ) -> float:
        """Move a parameter each 64 samples as pedalboard's documentation does: by its attribute."""
        steps = -(-sound.shape[1] // 64)
        values = np.linspace(0.7 * travel[0] + 0.3 * travel[1], 0.4 * travel[0] + 0.6 * travel[1], steps)
        started = time.thread_time()
        bare.plugin.reset()
        pieces = []
        for step, value in enumerate(values):
            setattr(bare.plugin, name, float(value))
            pieces.append(bare.plugin.process(sound[:, 64 * step : 64 * step + 64], 48000, 64, False))
        np.concatenate(pieces, axis=1)
        return time.thread_time() - started

    def _bare_moved_s(self, bare: BarePedalboard, index: int, sound: np.ndarray) -> float:
        """Move a parameter each 64 samples, in the fastest way there is: its raw position."""
        stairs = np.linspace(0.3, 0.6, -(-sound.shape[1] // 64))
        started = time.thread_time()
        bare.plugin.reset()
        parameter, pieces = bare.plugin._parameters[index], []
        for step, raw in enumerate(stairs):
            parameter.raw_value = float(raw)
            pieces.append(bare.plugin.process(sound[:, 64 * step : 64 * step + 64], 48000, 64, False))
        np.concatenate(pieces, axis=1)
        return time.thread_time() - started

    def _ours_moved_s(self, name: str, sound: np.ndarray) -> float:
        law = self.vst3._controls._parameters[name]
        lane = np.linspace(float(law.to_value(0.3)), float(law.to_value(0.6)), sound.shape[1])
        self.vst3.automation_block_samples = 64
        started = self._processor_s()
        self.vst3.process(sound, 48000, BLOCK, automation={name: lane})
        return self._processor_s() - started

    def _bare_s(self, bare: BarePedalboard | BareMinihost, sound: np.ndarray) -> float:
        if isinstance(bare, BarePedalboard):
            started = time.thread_time()
            bare.plugin.process(sound, 48000, BLOCK, True)
            return time.thread_time() - started
        plugin = bare._open(48000, self.channels)
        bare.kept.append(plugin)
        started = time.thread_time()
        for at in range(0, sound.shape[1], BLOCK):
            piece = np.ascontiguousarray(sound[:, at : at + BLOCK])
            plugin.process_midi(piece, np.zeros_like(piece), [])
        return time.thread_time() - started

    def _ours_s(self, sound: np.ndarray) -> float:
        started = self._processor_s()
        self.vst3.process(sound, 48000, BLOCK)
        return self._processor_s() - started

    def _processor_s(self) -> float:
        child = self.vst3._instances._supervisors[0].driver.process_id  # type: ignore[attr-defined]
        # In nanoseconds, where the process's own clock counts hundredths of a second.
        spent = int(Path(f"/proc/{child}/schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{child}/task").iterdir():
            if int(task.name) != child:
                spent += int((task / "schedstat").read_text().split()[0]) / 1e9
        return spent + time.process_time()


def _slopes(
    bare: Callable[[np.ndarray], float], ours: Callable[[np.ndarray], float], channels: int
) -> tuple[float, float]:
    """Return what a second of sound costs both, in seconds of processor: the middle of five turns."""
    short = noise(2 * 48000, channels, seed=5)
    long = np.tile(short, (1, 6))
    ours(short)
    rows = []
    for _ in range(5):
        bare_s = -bare(short) + bare(long)
        ours_s = -ours(short) + ours(long)
        rows.append((bare_s / 10, ours_s / 10))
    middle = np.median(np.array(rows), axis=0)
    return float(middle[0]), float(middle[1])


def _slope(one: Callable[[np.ndarray], float], channels: int) -> float:
    """Return what a second of sound costs, in seconds of processor: the middle of three turns."""
    short = noise(48000, channels, seed=5)
    long = np.tile(short, (1, 3))
    one(short)
    return float(np.median([one(long) - one(short) for _ in range(3)])) / 2


def _farthest(law: Any, raws: list[float], texts: list[str]) -> float:
    """Return how far values are from texts, in shares of the range; 1 where a word is another."""
    span = (law.spec.maximum - law.spec.minimum) or 1.0
    farthest = 0.0
    for raw, text in zip(raws, texts, strict=True):
        value, found = law.to_value(raw), NUMBER.match(text)
        if found is None or isinstance(value, str):
            if found is not None or (isinstance(value, str) and value != text.strip()):
                farthest = 1.0
            continue
        digits, unit = found.group(1), (found.group(2) or "").strip().lower()
        factor = 1000.0 if unit == "khz" or (unit in ("s", "sec") and law.spec.unit == "ms") else 1.0
        rounding = factor * 10.0 ** -len(digits.partition(".")[2])
        apart = abs(factor * float(digits) - float(value)) - rounding
        farthest = max(farthest, apart / span)
    return farthest


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
STAGES = ("show", "units", "check", "equality", "state", "automation", "speed", "sidechain")


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
