"""The child's side: one plugin in one process, asked over stdin, answering over what was stdout.

Plugins print, spawn threads and hang, so:

- what was stdout is moved away before a plugin is loaded, and whatever the plugin prints goes to stderr;
- everything runs on the main thread, the only one on which plugins may be loaded;
- an alarm set before every request ends this process even where a plugin hangs with the interpreter locked
  and the parent is gone; a thread ends it at once where the parent is gone and the interpreter is not
  locked.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from bridge.errors import ReverieError
from bridge.hosts.contract import EVENT_DTYPE, ChannelCountError, SeveralPluginsError, StreamChannels
from bridge.hosts.driver import LocalDriver, load_backend
from bridge.hosts.wire import (
    ASKING_THE_MODULE,
    LONG_MEASUREMENT,
    Frame,
    Opcode,
    SharedAudio,
    read_frame,
    write_frame,
)

__all__ = ["main"]

_ORPHAN_CHECK_S = 0.2

_GRACE_S = 1.0
"""How much longer than the parent the alarm waits: while the parent lives, killing is its business."""


def main() -> None:
    """Serve one plugin until the parent hangs up."""
    shared_handle, parent_id = sys.argv[1], int(sys.argv[2])
    timeout_s, load_timeout_s = float(sys.argv[3]), float(sys.argv[4])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, args=(parent_id,), daemon=True).start()
    _Worker(requests, answers, SharedAudio(shared_handle), timeout_s, load_timeout_s).serve()
    # Plugins crash while they are torn down; nothing is left to save.
    os._exit(0)


def _end_with_parent(parent_id: int) -> None:
    while os.getppid() == parent_id:
        time.sleep(_ORPHAN_CHECK_S)
    os._exit(0)


class _Worker:
    def __init__(
        self, requests: int, answers: int, shared: SharedAudio, timeout_s: float, load_timeout_s: float
    ) -> None:
        self._requests, self._answers, self._shared = requests, answers, shared
        self._alarm_s = timeout_s + _GRACE_S
        self._alarms_s = {
            Opcode.LOAD: load_timeout_s + _GRACE_S,
            Opcode.TAIL: LONG_MEASUREMENT * timeout_s + _GRACE_S,
        }
        self._channels = 0
        self._driver: LocalDriver

    def serve(self) -> None:
        """Answer requests until the pipe closes."""
        while True:
            try:
                request = read_frame(self._requests)
            except EOFError:
                return
            self._set_alarm(self._alarms_s.get(Opcode(request.opcode), self._alarm_s))
            try:
                answer = self._answer(request)
            except ChannelCountError as refusal:
                answer = Frame(
                    Opcode.REFUSED,
                    fields={
                        "message": str(refusal),
                        "accepted": [refusal.asked, refusal.accepted, refusal.accepted_out],
                    },
                )
            except SeveralPluginsError as error:
                answer = Frame(Opcode.REFUSED, fields={"message": str(error), "names": error.names})
            except ReverieError as error:
                answer = Frame(Opcode.REFUSED, fields={"message": str(error)})
            self._set_alarm(0.0)
            try:
                write_frame(self._answers, answer)
            except BrokenPipeError:
                return

    @staticmethod
    def _set_alarm(seconds: float) -> None:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def _answer(self, request: Frame) -> Frame:
        fields = request.fields or {}
        match request.opcode:
            case Opcode.PROCESS:
                return self._process(request)
            case Opcode.LOAD:
                return self._load(fields)
            case Opcode.DESCRIBE:
                described = self._driver.describe(fields["sample_rate"])
                return Frame(Opcode.DONE, fields=dataclasses.asdict(described))
            case Opcode.START:
                channels = StreamChannels(*fields["channels"])
                self._driver.start(fields["sample_rate"], channels, fields["block_samples"])
                self._channels = channels.total_in
                return Frame(Opcode.DONE)
            case Opcode.READ_BACK:
                return Frame(Opcode.DONE, data=self._driver.read_back().tobytes())
            case Opcode.SET_RAW:
                self._driver.set_raw({int(index): value for index, value in fields.items()})
                return Frame(Opcode.DONE)
            case Opcode.RAW_VALUES:
                return Frame(Opcode.DONE, data=self._driver.raw_values().tobytes())
            case Opcode.GET_STATE:
                return Frame(Opcode.DONE, data=self._driver.get_state())
            case Opcode.SET_STATE:
                self._driver.set_state(request.data)
                return Frame(Opcode.DONE)
            case Opcode.SETTLE:
                self._driver.settle()
                return Frame(Opcode.DONE)
            case Opcode.TAIL:
                return Frame(Opcode.DONE, fields={"seconds": self._driver.tail_seconds()})
        raise ValueError(f"unknown request {request.opcode}")

    def _load(self, fields: dict[str, Any]) -> Frame:
        path, name = Path(fields["path"]), fields["plugin_name"]
        if fields["backend"] == "pedalboard":
            from bridge.hosts.pedalboard_backend import ask_no_texts

            ask_no_texts()
        backend = load_backend(path, name, fields["backend"], fields["uid"])
        if fields["asks_module"]:
            # Where asking takes this process down, the parent sees this and does without.
            self._shared.progress[0] = ASKING_THE_MODULE
            backend.ask_module()
            self._shared.progress[0] = 0
        self._driver = LocalDriver(backend, fields["sample_rate"], self._shared.progress)
        return Frame(Opcode.DONE, fields=dataclasses.asdict(self._driver.description))

    def _process(self, request: Frame) -> Frame:
        events = np.frombuffer(request.data, EVENT_DTYPE)
        audio = self._shared.to_child(self._channels, request.samples)
        output = self._driver.process_into(self._shared.from_child, audio, events)
        return Frame(Opcode.DONE, samples=output.shape[1])


if __name__ == "__main__":
    main()
