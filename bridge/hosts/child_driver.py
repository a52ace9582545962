"""The parent's side of an isolated plugin: spawn, time out, kill, reap.

The child is a fresh interpreter (never a fork: plugins loaded after one hang) that runs
:mod:`bridge.hosts.child_main`. A watchdog thread kills it when an answer is overdue, which closes the pipe
that the caller waits on, so one blocking read covers answer, crash and hang on every platform.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import weakref
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from bridge.arrays import AudioArray
from bridge.errors import PluginError
from bridge.hosts.contract import (
    BackendName,
    ChannelCountError,
    EventArray,
    HostedParameter,
    PluginDescription,
    SeveralPluginsError,
    StreamChannels,
)
from bridge.hosts.faults import DriverFault
from bridge.hosts.start_child import start_child
from bridge.hosts.wire import (
    ASKING_THE_MODULE,
    LONG_MEASUREMENT,
    Frame,
    Opcode,
    SharedAudio,
    read_frame,
    write_frame,
)

__all__ = ["ChildDriver"]

_LAST_WORDS_BYTES = 2048
_LAST_WORDS_SHOWN = 160

_REAP_S = 2.0
"""How long a process whose pipe has closed may take to end by itself."""


class ChildDriver:
    """A plugin in a child process, driven as a stream; see :class:`bridge.hosts.driver.PluginDriver`.

    Args:
        path: The bundle.
        plugin_name: Which of its plugins; None where it holds one.
        backend: Which host loads it.
        uid: Class id, for a module that does not tell its own.
        timeout_s: Longest wait for one answer: a block of sound, a state.
        load_timeout_s: Longest wait for the plugin to load.
        sample_rate: Hz; the parameters are described as the plugin shows them at this rate.

    Raises:
        PluginError: The plugin cannot be loaded; also where it crashes or hangs while loading.
    """

    def __init__(
        self,
        path: Path,
        plugin_name: str | None,
        *,
        backend: BackendName = "pedalboard",
        uid: str = "",
        timeout_s: float = 10.0,
        load_timeout_s: float = 30.0,
        sample_rate: float = 48000.0,
    ) -> None:
        self._timeout_s, self._load_timeout_s = timeout_s, load_timeout_s
        self._outputs = 0
        request: dict[str, Any] = {
            "path": str(path),
            "plugin_name": plugin_name,
            "backend": backend,
            "uid": uid,
            "sample_rate": sample_rate,
        }
        try:
            self._description = self._load({**request, "asks_module": True})
        except DriverFault as fault:
            if fault.position_samples != ASKING_THE_MODULE:
                raise _loading_error(path, fault) from fault
            try:
                self._description = self._load({**request, "asks_module": False})
            except DriverFault as second:
                raise _loading_error(path, second) from second

    def _load(self, request: dict[str, Any]) -> PluginDescription:
        """Start a child and have it load the plugin; the child ends where that fails."""
        self._awaited_s = self._timeout_s
        self._shared = SharedAudio()
        self._process = _spawn(self._shared, self._timeout_s, self._load_timeout_s)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to_child, self._from_child = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._watchdog = _Watchdog(self._process, min(self._timeout_s, self._load_timeout_s))
        self._last_words = _LastWords(self._process)
        self._end = weakref.finalize(
            self, _end_child, self._process, self._watchdog, self._last_words, self._shared
        )
        try:
            answer = self._ask(Frame(Opcode.LOAD, fields=request), self._load_timeout_s)
        except (DriverFault, PluginError):
            self.close()
            raise
        assert answer.fields is not None
        return _read_description(answer.fields)

    @property
    def description(self) -> PluginDescription:
        """What the plugin says of itself."""
        return self._description

    @property
    def process_id(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def position_samples(self) -> int:
        """First sample of the block being processed."""
        return int(self._shared.progress[0])

    def raw_values(self) -> npt.NDArray[np.float32]:
        """Return the position of every parameter."""
        return np.frombuffer(self._ask(Frame(Opcode.RAW_VALUES)).data, np.float32)

    def set_raw(self, values: dict[int, float]) -> None:
        """Move parameters, by index."""
        self._ask(Frame(Opcode.SET_RAW, fields={str(index): value for index, value in values.items()}))

    def describe(self, sample_rate: float) -> PluginDescription:
        """Return what the plugin says of itself at a sample rate (Hz)."""
        answer = self._ask(Frame(Opcode.DESCRIBE, fields={"sample_rate": sample_rate}))
        self._description = _read_description(answer.fields or {})
        return self._description

    def read_back(self) -> npt.NDArray[np.float32]:
        """Return the position of every parameter after a program has moved them."""
        return np.frombuffer(self._ask(Frame(Opcode.READ_BACK)).data, np.float32)

    def start(self, sample_rate: float, channels: StreamChannels, block_samples: int) -> None:
        """Begin a stream."""
        fields = {"sample_rate": sample_rate, "channels": channels, "block_samples": block_samples}
        self._outputs = channels.total_out
        self._ask(Frame(Opcode.START, fields=fields))

    def process(self, audio: AudioArray, events: EventArray) -> AudioArray:
        """Continue the stream, in as many turns as shared memory is large."""
        n_samples = audio.shape[1]
        chunk_samples = SharedAudio.chunk_samples(max(audio.shape[0], self._outputs))
        if n_samples <= chunk_samples:
            return self._process_chunk(audio, events)
        outputs = []
        for start in range(0, n_samples, chunk_samples):
            end = min(n_samples, start + chunk_samples)
            low, high = np.searchsorted(events["offset"], (start, end))
            shifted = events[low:high].copy()
            shifted["offset"] -= start
            outputs.append(self._process_chunk(audio[:, start:end], shifted))
        return np.concatenate(outputs, axis=1)

    def _process_chunk(self, audio: AudioArray, events: EventArray) -> AudioArray:
        n_channels, n_samples = audio.shape
        self._shared.to_child(n_channels, n_samples)[...] = audio
        answer = self._ask(Frame(Opcode.PROCESS, n_samples, data=events.tobytes() if len(events) else b""))
        try:
            return self._shared.from_child(self._outputs, answer.samples).copy()
        except ValueError:
            self._give_up("the child answers nonsense")

    @property
    def latency_samples(self) -> int:
        """The latency as of the last block processed."""
        return int(self._shared.progress[1])

    def settle(self) -> None:
        """Process a little silence, so that parameters arrive and latency and state are current."""
        self._ask(Frame(Opcode.SETTLE))

    def tail_seconds(self) -> float:
        """Measure how long the plugin sounds on after its input has ended."""
        fields = self._ask(Frame(Opcode.TAIL), LONG_MEASUREMENT * self._timeout_s).fields
        return float((fields or {})["seconds"])

    def get_state(self) -> bytes:
        """Return the plugin's state as the bytes of a ``.vstpreset``."""
        return self._ask(Frame(Opcode.GET_STATE)).data

    def set_state(self, data: bytes) -> None:
        """Restore a state."""
        self._ask(Frame(Opcode.SET_STATE, data=data))

    def close(self) -> None:
        """End the child and reap it; safe to call twice."""
        self._end()

    def _ask(self, frame: Frame, timeout_s: float | None = None) -> Frame:
        if not self._end.alive:
            raise DriverFault("crash", "the plugin's process has ended", 0)
        self._awaited_s = timeout_s or self._timeout_s
        self._watchdog.deadline = time.monotonic() + self._awaited_s
        try:
            write_frame(self._to_child, frame)
            answer = read_frame(self._from_child)
        except (EOFError, OSError, ValueError):
            self._give_up()
        except BaseException:  # interrupted between question and answer: nobody knows what comes next
            self.close()
            raise
        finally:
            self._watchdog.deadline = 0.0
        if answer.opcode == Opcode.DONE:
            return answer
        if answer.opcode != Opcode.REFUSED or answer.fields is None:
            self._give_up("the child answers nonsense")
        if "accepted" in answer.fields:
            raise ChannelCountError(*answer.fields["accepted"])
        if "names" in answer.fields:
            raise SeveralPluginsError(answer.fields["message"], answer.fields["names"])
        raise PluginError(answer.fields["message"])

    def _give_up(self, detail: str = "") -> NoReturn:
        """End the child and say how it ended."""
        position = self.position_samples
        has_hung = self._watchdog.has_fired
        try:
            ending = _describe_exit(self._process.wait(_REAP_S))
        except subprocess.TimeoutExpired:
            ending = "it has closed its connection"
        self.close()
        if has_hung:
            raise DriverFault("hang", f"no answer within {self._awaited_s:g} s, killed", position)
        raise DriverFault("crash", detail or ending + self._last_words.quote(), position)


class _Watchdog:
    """Kills a process when `deadline` passes; 0 means nobody waits."""

    def __init__(self, process: subprocess.Popen[bytes], timeout_s: float) -> None:
        self.deadline = 0.0
        self.has_fired = False
        self._process = process
        self._interval_s = min(0.25, timeout_s / 4)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="plugin-watchdog", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._is_over.wait(self._interval_s):
            if 0.0 < self.deadline < time.monotonic():
                self.has_fired = True
                self._process.kill()
                return

    def stop(self) -> None:
        self._is_over.set()
        if self._thread is not threading.current_thread():
            self._thread.join()


class _LastWords:
    """Reads what a plugin prints, which no terminal shows, and keeps the end: it may explain a fault."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        self._descriptor = process.stderr.fileno()
        self._kept, self._is_over = b"", False
        self._thread = threading.Thread(target=self._read, name="plugin-last-words", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._is_over:
            try:
                data = os.read(self._descriptor, 4096)
            except OSError:
                return
            if not data:
                return
            self._kept = (self._kept + data)[-_LAST_WORDS_BYTES:]

    def quote(self) -> str:
        """Return the last line printed, to be put after how the process ended; empty where there is none."""
        self._thread.join(_REAP_S)
        lines = [line.strip() for line in self._kept.decode("utf-8", "replace").splitlines() if line.strip()]
        text = "".join(character for character in lines[-1] if character.isprintable()) if lines else ""
        return f"; it last printed {text[-_LAST_WORDS_SHOWN:]!r}" if text else ""

    def stop(self) -> None:
        self._is_over = True
        self._thread.join(_REAP_S)


def _loading_error(path: Path, fault: DriverFault) -> PluginError:
    return PluginError(f"{path.name}: {fault.kind} while it was loaded ({fault.detail})")


def _spawn(shared: SharedAudio, timeout_s: float, load_timeout_s: float) -> subprocess.Popen[bytes]:
    arguments = [shared.child_argument, str(os.getpid()), str(timeout_s), str(load_timeout_s)]
    return start_child(
        "bridge.hosts.child_main",
        arguments,
        stderr=subprocess.PIPE,
        bufsize=0,
        pass_fds=shared.inherited_descriptors,
    )


def _end_child(
    process: subprocess.Popen[bytes], watchdog: _Watchdog, last_words: _LastWords, shared: SharedAudio
) -> None:
    watchdog.stop()
    process.kill()
    last_words.stop()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    process.wait()
    shared.close()


def _describe_exit(code: int) -> str:
    if code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def _read_description(fields: dict[str, Any]) -> PluginDescription:
    parameters = tuple(
        HostedParameter(**{**parameter, "texts": tuple((raw, text) for raw, text in parameter["texts"])})
        for parameter in fields["parameters"]
    )
    lists = {
        "plugin_names": tuple(fields["plugin_names"]),
        "output_channels": tuple(fields["output_channels"]),
    }
    return PluginDescription(**{**fields, **lists, "parameters": parameters})
