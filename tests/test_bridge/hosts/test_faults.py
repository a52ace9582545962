"""A plugin that crashes, hangs or sends nonsense costs its own stem, is named, and leaves nothing behind."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.vst3 import (
    EFFECT,
    INSTRUMENT,
    PACKAGES,
    SAMPLE_RATE,
    child_process_ids,
    is_running,
    misbehaving_copy,
    needs_packages,
    needs_plugins,
    noise,
    open_descriptors,
)

from bridge.clock.tempo_map import TempoMap
from bridge.errors import PluginError, PluginFaultError
from bridge.hosts.child_driver import ChildDriver
from bridge.hosts.faults import FaultAction, FaultKind, HostedPluginError, PluginFault
from bridge.parameters import ParamValue
from bridge.processors.chain import Chain
from bridge.processors.vst3 import VST3

pytestmark = needs_plugins

SOUND = noise(48000)
AT = 30000
FAULTS: dict[str, FaultKind] = {
    "Crash": "crash",
    "Hang": "hang",
    "NaN": "not a number",
    "Infinity": "not a number",
    "Runaway": "runaway level",
}


def faulty(fault: str, on_fault: FaultAction, latency: int = 777) -> VST3:
    params: dict[str, ParamValue] = {
        "fault": fault,
        "fault_at_samples": float(AT),
        "latency_samples": float(latency),
    }
    return VST3(EFFECT, params=params, timeout_s=patience_s(fault), on_fault=on_fault)


def patience_s(fault: str) -> float:
    """Return a timeout: short where a hang is meant to run into it, long where only a busy machine could."""
    return 0.7 if fault == "Hang" else 20.0


def child_of(vst3: VST3) -> ChildDriver:
    driver = vst3._instances._supervisors[0].driver
    assert isinstance(driver, ChildDriver)
    return driver


@pytest.fixture(autouse=True)
def nothing_is_left() -> object:
    """After every test there are as many children and descriptors (shared memory is one) as before."""
    gc.collect()
    before = child_process_ids(), open_descriptors()
    yield
    gc.collect()
    assert (child_process_ids(), open_descriptors()) == before


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_with_name_and_place(fault: str) -> None:
    """With on_fault = fail the error names the plugin, what happened and the sample."""
    with faulty(fault, "fail") as vst3, pytest.raises(PluginFaultError, match="Conformance Effect") as caught:
        vst3.process(SOUND, SAMPLE_RATE, 512)
    assert isinstance(caught.value, HostedPluginError)
    record = caught.value.fault
    assert record.kind == FAULTS[fault]
    is_exact = fault in ("NaN", "Infinity", "Runaway")
    expected = AT - 777 if is_exact else AT // 512 * 512
    assert record.position_samples == expected
    assert f"at sample {expected}" in str(caught.value)
    assert vst3.faults == (record,)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bypassed_fault_lets_the_sound_through_in_place(fault: str) -> None:
    """With on_fault = bypass the whole sound comes out, dry from the fault on, aligned to the sample."""
    with faulty(fault, "bypass") as vst3:
        vst3.set_parameter("mode", "Invert")
        output = vst3.process(SOUND, SAMPLE_RATE, 512)
        start = int(np.argmax((output == SOUND).all(axis=0)))
        assert start <= AT
        assert np.array_equal(output[:, :start], -SOUND[:, :start])
        assert np.array_equal(output[:, start:], SOUND[:, start:])
        assert [record.action for record in vst3.faults] == ["bypass"]


def test_a_bypassed_stream_is_whole() -> None:
    """A stream through a plugin that crashes is wet, then dry from one sample on, and whole."""
    with faulty("Crash", "bypass") as vst3:
        vst3.set_parameter("mode", "Invert")
        pieces = [vst3.process(SOUND[:, i : i + 512], SAMPLE_RATE, 512, False) for i in range(0, 48000, 512)]
        output = np.concatenate([*pieces, vst3.flush()], axis=1)
    n_wet = int(np.argmax((output == SOUND).all(axis=0)))
    assert AT - 777 - 8192 <= n_wet <= AT
    assert np.array_equal(output[:, :n_wet], -SOUND[:, :n_wet])
    assert np.array_equal(output[:, n_wet:], SOUND[:, n_wet:])


def test_a_retry_after_a_kill_is_as_if_nothing_had_been() -> None:
    """With on_fault = retry a child killed in the middle of a stream is replaced; the sound is clean."""
    params: dict[str, ParamValue] = {
        "cutoff_hz": 300.0,
        "tail_s": 1.0,
        "noise_db": -30.0,
        "latency_samples": 777.0,
    }
    lane = np.linspace(-12.0, 0.0, 48000)
    with VST3(EFFECT, params=params, on_fault="retry") as vst3:

        def play(kill_at: int) -> np.ndarray:
            vst3.set_parameter("gain_db", 0.0)
            pieces = []
            for i in range(0, 48000, 4000):
                if i == kill_at:
                    os.kill(child_of(vst3).process_id, signal.SIGKILL)
                lanes = {"gain_db": lane[i : i + 4000]}
                pieces.append(vst3.process(SOUND[:, i : i + 4000], SAMPLE_RATE, 512, False, automation=lanes))
            return np.concatenate([*pieces, vst3.flush()], axis=1)

        clean = play(kill_at=-1)
        assert np.array_equal(play(kill_at=20000), clean)
        assert [(f.kind, f.detail, f.action) for f in vst3.faults] == [("crash", "SIGKILL", "retry")]


def test_a_fault_that_comes_again_fails() -> None:
    """A retry is made once: a plugin that crashes at the same place again fails the stem."""
    with faulty("Crash", "retry") as vst3:
        with pytest.raises(PluginFaultError):
            vst3.process(SOUND, SAMPLE_RATE, 512)
        assert [record.action for record in vst3.faults] == ["retry", "fail"]


def test_a_plugin_that_failed_can_be_used_again() -> None:
    """After a fault the next sound gets a fresh child with the same parameters."""
    with faulty("Crash", "fail") as vst3:
        with pytest.raises(PluginFaultError):
            vst3.process(SOUND, SAMPLE_RATE)
        vst3.set_parameter("fault", "None")
        assert np.array_equal(vst3.process(SOUND, SAMPLE_RATE), SOUND)
        assert vst3.get_parameter("latency_samples") == 777


def test_a_crash_of_a_plugin_that_is_not_late_is_placed_to_8192_samples() -> None:
    """Whole blocks go together to such a plugin, and nobody can tell in which of them it ended."""
    with faulty("Crash", "fail", latency=0) as vst3, pytest.raises(PluginFaultError) as caught:
        vst3.process(SOUND, SAMPLE_RATE, 512)
    assert isinstance(caught.value, HostedPluginError)
    assert caught.value.fault.position_samples == AT // 8192 * 8192


def test_a_fault_while_a_tail_is_measured_is_told_in_the_sound() -> None:
    """Asking a crashing plugin for its tail reports nothing; the sound then fails with its own place."""
    with faulty("Crash", "fail") as vst3:
        assert vst3.tail_seconds == 0.0
        assert vst3.faults == ()
        with pytest.raises(PluginFaultError):
            vst3.process(SOUND, SAMPLE_RATE, 512)
        assert [fault.position_samples for fault in vst3.faults] == [AT // 512 * 512]


def test_one_fault_leaves_the_neighbour_alone() -> None:
    """While one plugin crashes, another one's sound is bit for bit what it is alone."""
    with faulty("Crash", "fail") as bad, VST3(EFFECT, params={"cutoff_hz": 500.0}) as good:
        alone = good.process(SOUND, SAMPLE_RATE)
        caught: list[Exception] = []

        def crash() -> None:
            try:
                bad.process(SOUND, SAMPLE_RATE)
            except PluginFaultError as error:
                caught.append(error)

        thread = threading.Thread(target=crash)
        thread.start()
        together = good.process(SOUND, SAMPLE_RATE)
        thread.join()
        assert len(caught) == 1
        assert np.array_equal(together, alone)


def test_nan_in_the_input_is_not_the_plugins_fault() -> None:
    """NaN that comes in is blamed on what is before the plugin."""
    sound = SOUND.copy()
    sound[0, 100] = np.nan
    with VST3(EFFECT) as vst3, pytest.raises(Exception, match="that goes in holds NaN"):
        vst3.process(sound, SAMPLE_RATE)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("crash", "crash while it was loaded .SIGSEGV"),
        ("hang", "hang while it was loaded .no answer within 1 s"),
    ],
)
def test_faults_at_load_are_named(tmp_path: Path, how: str, says: str) -> None:
    """A plugin that crashes or hangs while it is loaded is an error, not the end of the program."""
    bundle = misbehaving_copy(tmp_path, "Bad", load=how)
    with pytest.raises(PluginError, match=says):
        VST3(bundle, load_timeout_s=1.0)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda binary: binary[:100000], "Cut.vst3: (crash while it was loaded|no plugin in it loads)"),
        (lambda _: Path(sys.executable).resolve().read_bytes(), "Cut.vst3: no plugin in it loads"),
    ],
    ids=["truncated", "another program"],
)
def test_a_library_without_a_plugin_is_an_error(
    tmp_path: Path, content: Callable[[bytes], bytes], says: str
) -> None:
    """A truncated binary, or one that is no plugin, is an error that names the bundle."""
    bundle = misbehaving_copy(tmp_path, "Cut")
    binary = next(bundle.glob("Contents/*/*.so"))
    binary.write_bytes(content(binary.read_bytes()))
    with pytest.raises(PluginError, match=says):
        VST3(bundle)


def test_a_crash_between_sounds_is_an_error_too() -> None:
    """Asking a killed plugin for its state says so; the next question gets a fresh one."""
    with VST3(EFFECT, params={"gain_db": -6.0}) as vst3:
        os.kill(child_of(vst3).process_id, signal.SIGKILL)
        with pytest.raises(PluginFaultError, match="SIGKILL"):
            vst3.preset_data  # noqa: B018
        assert vst3.preset_data.startswith(b"VST3")
        assert np.allclose(vst3.process(SOUND, SAMPLE_RATE), SOUND * 10 ** (-6 / 20), rtol=1e-5, atol=0)


def test_forgotten_plugins_are_reaped() -> None:
    """A plugin that is never closed ends with its last reference."""
    vst3 = VST3(EFFECT)
    process_id = child_of(vst3).process_id
    del vst3
    gc.collect()
    assert not is_running(process_id)


ORPHANS = """
import sys, numpy as np
from bridge.processors.vst3 import VST3
params = {params!r}
vst3 = VST3({path!r}, params=params, timeout_s=60)
print(vst3._instances._supervisors[0].driver.process_id, flush=True)
sound = np.zeros((2, 48000), np.float32)
while True:
    vst3.process(sound, 48000, 512)
"""


@pytest.mark.parametrize(
    ("fault", "how"), [("None", signal.SIGKILL), ("Hang", signal.SIGKILL), ("Hang", signal.SIGINT)]
)
def test_children_die_with_their_parent(fault: str, how: signal.Signals) -> None:
    """Kill -9 of the parent, or Ctrl-C, ends the child, also one that hangs in its plugin."""
    script = ORPHANS.format(params={"fault": fault, "fault_at_samples": 100}, path=str(EFFECT))
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(0.3)
    assert is_running(child)
    parent.send_signal(how)
    parent.wait(timeout=20)
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(child)


def test_a_child_ends_itself_when_its_answer_is_overdue() -> None:
    """The child's own alarm ends a hang where the parent, here stopped, cannot."""
    script = ORPHANS.format(params={"fault": "Hang", "fault_at_samples": 100}, path=str(EFFECT))
    script = script.replace("timeout_s=60", "timeout_s=1")
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(0.3)
    parent.send_signal(signal.SIGSTOP)
    assert is_running(child)
    deadline = time.monotonic() + 10
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    ended = not is_running(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert ended


def test_twenty_plugins_in_a_row_are_the_input() -> None:
    """Twenty instances, each late by another number of samples, still null."""
    plugins = [VST3(EFFECT, params={"latency_samples": float(i * 37)}) for i in range(20)]
    sound = SOUND[:, :9600]
    chain = Chain(plugins)
    assert chain.latency_samples == sum(i * 37 for i in range(20))
    output = chain.process(sound, SAMPLE_RATE)
    for vst3 in plugins:
        vst3.close()
    assert np.array_equal(output, sound)


@pytest.mark.parametrize("on_fault", ["bypass", "retry"])
def test_instruments_survive_too(on_fault: FaultAction) -> None:
    """A killed instrument is silent when bypassed and whole when repeated."""
    notes = [(0.0, bytes([0x90, 69, 100]))]
    with VST3(INSTRUMENT, on_fault=on_fault) as vst3:
        clean = vst3.render(notes, 0.5, SAMPLE_RATE)
        os.kill(child_of(vst3).process_id, signal.SIGKILL)
        output = vst3.render(notes, 0.5, SAMPLE_RATE)
        assert np.array_equal(output, clean if on_fault == "retry" else np.zeros_like(clean))


def inject(fault: str, generator: random.Random) -> tuple[str, str]:
    """Render four stems, one with a fault at a random place; return what was said and what was wrong."""
    sound = noise(24000, seed=generator.randrange(1000))
    victim, at = generator.randrange(4), generator.randrange(1000, 23000)
    said, wrong = "", ""
    for stem in range(4):
        params: dict[str, ParamValue] = {"cutoff_hz": 400.0 + 100.0 * stem, "latency_samples": 333.0}
        with VST3(EFFECT, params=params, timeout_s=patience_s(fault if stem == victim else "")) as vst3:
            clean = vst3.process(sound, SAMPLE_RATE, 512)
            if stem != victim:
                if not np.array_equal(vst3.process(sound, SAMPLE_RATE, 512), clean):
                    wrong = f"stem {stem} differs"
                continue
            if fault == "Kill":
                process_id = child_of(vst3).process_id
                threading.Timer(generator.random() * 0.01, os.kill, (process_id, signal.SIGKILL)).start()
            else:
                vst3.set_parameter("fault_at_samples", float(at))
                vst3.set_parameter("fault", fault)
            try:
                while True:  # a kill lands somewhere in these
                    vst3.process(sound, SAMPLE_RATE, 512)
            except PluginFaultError as error:
                said = str(error)
    return said, wrong


def test_random_faults_cost_one_stem_each() -> None:
    """Whatever is injected: the parent goes on, the other stems are bit for bit, the fault is named."""
    generator = random.Random(5)
    kinds = {"Crash": "crash", "Hang": "hang", "NaN": "not a number", "Kill": "SIGKILL"}
    for fault, kind in kinds.items():
        said, wrong = inject(fault, generator)
        assert kind in said
        assert "at sample" in said
        assert not wrong


@pytest.mark.slow
def test_many_random_faults_leave_nothing() -> None:
    """The same again and again; tests/bench/hosting.py --faults 100 does it a hundred times."""
    generator = random.Random(0)
    for _ in range(12):
        fault = generator.choice(["Crash", "Hang", "NaN", "Kill"])
        said, wrong = inject(fault, generator)
        assert said
        assert not wrong


def test_a_fault_is_told_with_its_time_and_bar() -> None:
    """Sample, time and, where the clock is known, the bar; what was done, and how to block the plugin."""
    fault = PluginFault(
        plugin="Odd",
        kind="crash",
        position_samples=72000,
        detail="SIGSEGV",
        action="bypass",
        sample_rate=48000.0,
    )
    clock = TempoMap.constant(120.0, (3, 4))
    assert fault.told(clock) == (
        "Odd: crash at sample 72000, 0:01.500 into the sound, bar 2:1:000 (SIGSEGV); bypassed from there "
        "on: the rest of the stem is dry at this node. To never load it again run: reverie plugins block "
        "'Odd'"
    )
    failed = str(HostedPluginError(replace(fault, action="fail", position_samples=48000 * 61), clock))
    assert "1:01.000 into the sound, bar 41:3:000" in failed
    for way in (
        'on_fault = "bypass"',
        '"retry"',
        "reverie plugins check 'Odd'",
        "reverie plugins block 'Odd'",
    ):
        assert way in failed
    again = str(HostedPluginError(replace(fault, action="fail", is_second=True)))
    assert "also after it was started again" in again
    assert '"retry"' not in again


class TestOfOthers:
    """Plugins from Debian's packages, killed and stopped from outside."""

    pytestmark = needs_packages

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
    def test_a_plugin_ended_from_outside_costs_its_own_stem(self, number: signal.Signals) -> None:
        """The other stem is what it is undisturbed; the victim's fault names its plugin and the place."""
        names = ("ZamCompX2", "DragonflyPlateReverb")
        with ExitStack() as stack:
            victim, other = (
                stack.enter_context(VST3(PACKAGES / f"{name}.vst3", timeout_s=20.0)) for name in names
            )
            victim_s = 1.0 if number == signal.SIGSTOP else 20.0
            child_of(victim)._timeout_s = victim_s
            clean = other.process(SOUND, SAMPLE_RATE, 512)
            for start in range(0, 16384, 4096):
                victim.process(SOUND[:, start : start + 4096], SAMPLE_RATE, 512, False)
            os.kill(child_of(victim).process_id, number)
            with pytest.raises(HostedPluginError) as caught:
                victim.process(SOUND[:, 16384:], SAMPLE_RATE, 512, False)
            assert np.array_equal(other.process(SOUND, SAMPLE_RATE, 512), clean)
        fault = caught.value.fault
        assert fault.kind == ("hang" if number == signal.SIGSTOP else "crash")
        assert (fault.plugin, fault.position_samples) == ("ZamCompX2", 16384)
