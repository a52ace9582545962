"""Measure hosting: how long a child takes, how fast sound goes through it, and what faults leave behind.

    python tests/bench/hosting.py             writes hosting.md
    python tests/bench/hosting.py --faults 100 --seed 3     random faults instead, added to it
    python tests/bench/hosting.py --faults 200 --plugins tests/plugins/packages
                                                            others' plugins, killed and stopped from outside

Needs the conformance plugins (`bash tests/plugins/build.sh`). Figures are the best of a few runs: everything
slower is the machine's other business.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from helpers.vst3 import EFFECT, SAMPLE_RATE, child_process_ids, noise, open_descriptors  # noqa: E402

from bridge.errors import PluginFaultError  # noqa: E402
from bridge.hosts.plugin_scan import scan  # noqa: E402
from bridge.parameters import ParamValue  # noqa: E402
from bridge.processors.vst3 import VST3  # noqa: E402

TABLE = Path(__file__).with_suffix(".md")
LINES: list[str] = []
SECONDS = 10
RUNS = 15


def best_s(run: Callable[[], object], runs: int = RUNS) -> float:
    """Return the shortest of a few runs."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def row(what: str, figure: str, target: str = "") -> None:
    line = f"| {what} | {figure} | {target} |"
    print(line, flush=True)
    LINES.append(line)


def measure() -> None:
    """Print the table of speeds."""
    sound = noise(SECONDS * int(SAMPLE_RATE))
    blocks = [np.ascontiguousarray(sound[:, i : i + 512]) for i in range(0, sound.shape[1], 512)]
    row("what", "measured", "target")
    row("---", "---", "---")
    row("child ready", f"{best_s(lambda: VST3(EFFECT).close()):.3f} s", "<= 0.5 s")

    def streamed(vst3: VST3) -> None:
        vst3.reset()
        for block in blocks:
            vst3.process(block, SAMPLE_RATE, 512, False)
        vst3.flush()

    speeds: dict[tuple[str, str], float] = {}
    for isolation in ("process", "none"):
        for load in (0.0, 1.0):
            with VST3(EFFECT, isolation=isolation, params={"load": load}) as vst3:  # type: ignore[arg-type]
                name = f"{isolation}, plugin of {load:g} % load" if load else f"{isolation}, trivial plugin"
                for size in (512, 8192):
                    whole = best_s(partial(vst3.process, sound, SAMPLE_RATE, size))
                    speeds[name, f"sound in blocks of {size}"] = SECONDS / whole
                speeds[name, "one call a block of 512"] = SECONDS / best_s(partial(streamed, vst3))
    for (name, how), speed in speeds.items():
        is_target = name == "process, trivial plugin" and "512" in how
        row(f"{name}: {how}", f"{speed:.0f} x real time", ">= 250 x" if is_target else "")
    load: dict[str, ParamValue] = {"load": 1.0}
    with VST3(EFFECT, params=load) as isolated, VST3(EFFECT, isolation="none", params=load) as here:
        ways: dict[str, Callable[[VST3], object]] = {
            "sound in blocks of 512": lambda vst3: vst3.process(sound, SAMPLE_RATE, 512),
            "one call a block of 512": streamed,
        }
        for how, play in ways.items():
            # Turn by turn, so that whatever else the machine does meets both alike.
            ratios = [best_s(partial(play, here), 1) / best_s(partial(play, isolated), 1) for _ in range(15)]
            row(f"isolated against in-process, 1 % load: {how}", f"{np.median(ratios):.2f}", ">= 0.9")

    with VST3(EFFECT) as vst3:
        lane = np.linspace(-20.0, 20.0, sound.shape[1])
        for block in (64, 512):
            vst3.automation_block_samples = block
            took = best_s(lambda: vst3.process(sound, SAMPLE_RATE, 512, automation={"gain_db": lane}))
            row(f"one parameter automated at block {block}", f"{SECONDS / took:.0f} x real time")

    plugins = [VST3(EFFECT) for _ in range(20)]

    def chain() -> None:
        output = sound
        for plugin in plugins:
            output = plugin.process(output, SAMPLE_RATE, 512)

    row("20 plugins in a row", f"{SECONDS / best_s(chain, 2):.0f} x real time")
    for plugin in plugins:
        plugin.close()


def inject_faults(count: int, seed: int) -> str:
    """Render four stems at a time, one with a random fault; return what became of all and what is left."""
    generator = random.Random(seed)
    before = len(child_process_ids()), open_descriptors()
    reports: Counter[str] = Counter()
    n_intact = 0
    for _ in range(count):
        fault, victim = generator.choice(["Crash", "Hang", "NaN", "Kill"]), generator.randrange(4)
        sound = noise(24000, seed=generator.randrange(10**6))
        for stem in range(4):
            params: dict[str, ParamValue] = {"cutoff_hz": 300.0 + 100.0 * stem, "latency_samples": 333.0}
            patience_s = 0.7 if (fault, stem) == ("Hang", victim) else 20.0
            with VST3(EFFECT, params=params, timeout_s=patience_s) as vst3:
                clean = vst3.process(sound, SAMPLE_RATE, 512)
                if stem == victim:
                    reports[_fail(vst3, fault, sound, generator)] += 1
                else:
                    n_intact += np.array_equal(vst3.process(sound, SAMPLE_RATE, 512), clean)
    after = len(child_process_ids()), open_descriptors()
    told = ", ".join(f"{n} x {what}" for what, n in sorted(reports.items()))
    return (
        f"{count} renders of 4 stems with one random fault each (seed {seed}): {n_intact} of {3 * count} "
        f"other stems bit-identical to a clean run. Told: {told}. Children and open descriptors (shared "
        f"memory is one) before {before}, after {after}."
    )


def _fail(vst3: VST3, fault: str, sound: np.ndarray, generator: random.Random) -> str:
    """Let one stem fail; return the kind of fault that was reported."""
    if fault == "Kill":
        process_id = vst3._instances._supervisors[0].driver.process_id  # type: ignore[attr-defined]
        threading.Timer(generator.random() * 0.01, os.kill, (process_id, signal.SIGKILL)).start()
    else:
        vst3.set_parameter("fault_at_samples", float(generator.randrange(1000, 23000)))
        vst3.set_parameter("fault", fault)
    try:
        while True:
            vst3.process(sound, SAMPLE_RATE, 512)
    except PluginFaultError:
        return f"{fault}: {vst3.faults[-1].kind}"


def disturb(folder: Path, count: int, seed: int) -> str:
    """Render four stems at once through others' plugins; kill or stop one's process at a random moment."""
    generator = random.Random(seed)
    found = [Path(bundle.path) for bundle, entry in scan([folder]).plugins() if not entry.is_instrument]
    known = [path for path in found if path.is_relative_to(folder.absolute())]
    before = len(child_process_ids()), open_descriptors()
    reports: Counter[str] = Counter()
    n_intact = n_others = 0
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, count, ROUNDS_A_SET):
            paths = generator.sample(known, 4)
            sound = noise(48000, seed=generator.randrange(10**6))
            stems = [VST3(path, timeout_s=20.0) for path in paths]
            clean = [_outcome(stem, sound) for stem in stems]
            # One whose own sound is another each time cannot tell anything.
            steady = [_equal(one, _outcome(stem, sound)) for one, stem in zip(clean, stems, strict=True)]
            for _ in range(start, min(count, start + ROUNDS_A_SET)):
                victim, number = generator.randrange(4), generator.choice([signal.SIGKILL, signal.SIGSTOP])
                driver = stems[victim]._instances._supervisors[0].driver
                driver._timeout_s = 1.5 if number == signal.SIGSTOP else 20.0  # type: ignore[attr-defined]
                running = [pool.submit(_outcome, stem, sound) for stem in stems]
                threading.Timer(
                    generator.random() * 0.15,
                    _send,
                    (driver.process_id, number),  # type: ignore[attr-defined]
                ).start()
                ended = [one.result() for one in running]
                time.sleep(0.2)  # the signal has come by then, if not to this sound then to the next
                for index in range(4):
                    if index != victim and steady[index]:
                        n_others += 1
                        n_intact += _equal(ended[index], clean[index])
                told = ended[victim] if isinstance(ended[victim], str) else _outcome(stems[victim], sound)
                reports[f"{number.name}: {told if isinstance(told, str) else 'not noticed'}"] += 1
                stems[victim].close()
                stems[victim] = VST3(paths[victim], timeout_s=20.0)
            for stem in stems:
                stem.close()
    after = len(child_process_ids()), open_descriptors()
    told_all = ", ".join(f"{n} x {what}" for what, n in sorted(reports.items()))
    return (
        f"{count} renders of 4 stems at once through {len(known)} plugins that others wrote, one of them "
        f"killed or stopped from outside at a random moment (seed {seed}): {n_intact} of {n_others} other "
        f"stems bit-identical to a clean run. Told: {told_all}. "
        f"Children and open descriptors before {before}, after {after}."
    )


ROUNDS_A_SET = 20


def _send(process_id: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # the round was over first
        os.kill(process_id, number)


def _outcome(vst3: VST3, sound: np.ndarray) -> np.ndarray | str:
    try:
        return vst3.process(sound, SAMPLE_RATE, 512)
    except PluginFaultError:
        return vst3.faults[-1].kind


def _equal(one: np.ndarray | str, other: np.ndarray | str) -> bool:
    return not isinstance(one, str) and not isinstance(other, str) and np.array_equal(one, other)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=0, help="inject so many random faults")
    parser.add_argument("--plugins", type=Path, help="over the plugins in this folder, from outside")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.faults:
        if arguments.plugins:
            summary = disturb(arguments.plugins, arguments.faults, arguments.seed)
        else:
            summary = inject_faults(arguments.faults, arguments.seed)
        print(summary)
        with TABLE.open("a") as table:
            table.write(f"\n{summary}\n")
    else:
        measure()
        load = f"{os.getloadavg()[0]:.0f} processes running on {os.cpu_count()} cores"
        turns = f"stereo at 48 kHz; best of {RUNS} turns, with {load}"
        head = f"# Hosting, measured\n\nBy `tests/bench/hosting.py`, {turns}.\n\n"
        TABLE.write_text(head + "\n".join(LINES) + "\n")


if __name__ == "__main__":
    main()
