"""What is in one bundle and which host plays it, found out by children that may crash or hang.

One child lists a bundle's plugins without making any. A second loads them one after another; where it dies,
the plugin it was at is to blame, and another child goes on behind it. What one host does not load the other
is asked for. A hang is waited for briefly as long as there is another way, and at full length only where
there is none.
"""

from __future__ import annotations

import json
import math
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from bridge.errors import PluginError
from bridge.hosts.bundle import find_binary
from bridge.hosts.contract import BackendName
from bridge.hosts.elf_needs import read_needs
from bridge.hosts.open_plugin import has_minihost
from bridge.hosts.plugin_cache import PluginEntry
from bridge.hosts.plugin_factory import PluginClass
from bridge.hosts.start_child import start_child

__all__ = ["SHELL_PLUGINS", "Hosts", "describe_bundle"]

Hosts = BackendName | Literal["auto"]

SHELL_PLUGINS: Final = 64
"""pedalboard makes all plugins of a bundle to load one: bundles of more are minihost's, where it is there."""

_IMPORT_S: Final = 60.0
_BRIEF_S: Final = 8.0
"""How long one host is waited for while another has not been tried."""
_BUSY_SHARE: Final = 0.03
"""One that used less of a processor waits for what does not come, however crowded the machine is."""
_MAX_HANGS: Final = 3
"""After so many plugins of one bundle have hung, the others are not waited for."""

Fact = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a host does not load a plugin; whether its process died of it, and whether more time might help."""

    reason: str
    is_death: bool = False
    needs_time: bool = False


_Outcome = PluginEntry | _Refusal


def describe_bundle(path: Path, *, hosts: Hosts = "auto", timeout_s: float = 30.0) -> tuple[PluginEntry, ...]:
    """Find out which plugins a bundle holds and which host loads each.

    Args:
        path: The bundle.
        hosts: Which host to try; ``auto`` tries pedalboard and then minihost, where it is installed, and the
            other way round for bundles of more than 64 plugins.
        timeout_s: Longest wait for one plugin to load, where no other host does.

    Returns:
        Every plugin, those that no host loads with the reason.

    Raises:
        PluginError: The bundle cannot be listed.
    """
    classes = _list_classes(path, timeout_s)
    order = _order(hosts, len(classes))
    brief_s = timeout_s if len(order) == 1 else min(_BRIEF_S, timeout_s)
    found: list[_Outcome] = [_Refusal("")] * len(classes)
    refusals: list[dict[BackendName, _Refusal]] = [{} for _ in classes]
    rounds = [(backend, brief_s) for backend in order]
    if brief_s < timeout_s:
        rounds += [(backend, timeout_s) for backend in order]
    for backend, wait_s in rounds:
        open_ones = [
            index
            for index, refused in enumerate(refusals)
            if isinstance(found[index], _Refusal) and (backend not in refused or refused[backend].needs_time)
        ]
        if not open_ones:
            continue
        outcomes = _load(path, classes, open_ones, backend, wait_s, is_only_host=len(order) == 1)
        for index, outcome in outcomes.items():
            found[index] = outcome
            if isinstance(outcome, _Refusal):
                refusals[index][backend] = outcome
    hint = _display_hint(path)
    return tuple(
        outcome if isinstance(outcome, PluginEntry) else _blocked(each, refused, order[0], hint)
        for each, outcome, refused in zip(classes, found, refusals, strict=True)
    )


def _order(hosts: Hosts, n_plugins: int) -> tuple[BackendName, ...]:
    if hosts == "minihost" and not has_minihost():
        raise PluginError("backend 'minihost' is not installed; run: pip install 'reverie-audio[host]'")
    if hosts != "auto":
        return (hosts,)
    if not has_minihost():
        return ("pedalboard",)
    return ("minihost", "pedalboard") if n_plugins > SHELL_PLUGINS else ("pedalboard", "minihost")


def _blocked(
    plugin: PluginClass, refused: dict[BackendName, _Refusal], backend: BackendName, hint: str
) -> PluginEntry:
    reasons = list(dict.fromkeys(refusal.reason for refusal in refused.values()))
    if len(reasons) == 1:
        reason = reasons[0]
    else:
        reason = "; ".join(f"{name}: {refusal.reason}" for name, refusal in refused.items())
    if any(refusal.is_death for refusal in refused.values()):
        reason += hint
    return _entry(plugin, backend, "Instrument" in plugin.category.split("|"), None, reason)


def _entry(
    plugin: PluginClass,
    backend: BackendName,
    is_instrument: bool,
    n_parameters: int | None,
    blocked: str = "",
) -> PluginEntry:
    return PluginEntry(
        name=plugin.name,
        vendor=plugin.vendor,
        version=plugin.version,
        uid=plugin.uid,
        category=plugin.category,
        is_instrument=is_instrument,
        n_parameters=n_parameters,
        backend=backend,
        blocked=blocked,
    )


def _display_hint(path: Path) -> str:
    """Return what to try with a plugin that died without a display and is linked to one's libraries."""
    if sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return ""
    display = [
        name
        for name in read_needs(find_binary(path)).libraries
        if name.startswith(("libX11", "libxcb", "libGL"))
    ]
    if not display:
        return ""
    return (
        f". It uses {display[0]} and there is no display here; to try with one run: "
        f"xvfb-run -a reverie plugins scan --retry-blocked {path}"
    )


def _list_classes(path: Path, timeout_s: float) -> tuple[PluginClass, ...]:
    child = _Child(path, (), "")
    try:
        facts = []
        while (fact := child.next_fact(_IMPORT_S + timeout_s)) is not None:
            if "refused" in fact:
                raise PluginError(fact["refused"])
            facts.append(PluginClass(**fact))
    except _Death as death:
        raise PluginError(f"{death.kind} while it was listed ({death.detail})") from None
    finally:
        child.close()
    if not facts:
        raise PluginError("it holds no plugin that makes or changes sound")
    return tuple(facts)


def _load(
    path: Path,
    classes: Sequence[PluginClass],
    wanted: Sequence[int],
    backend: BackendName,
    timeout_s: float,
    *,
    is_only_host: bool,
) -> dict[int, _Outcome]:
    """Load some plugins of a bundle through one host; return what became of each."""
    outcomes: dict[int, _Outcome] = {}
    # pedalboard makes all of a bundle for each: a long list is taken from the bundle's word but for one.
    if backend == "pedalboard" and len(classes) > SHELL_PLUGINS and is_only_host:
        for index in wanted[1:]:
            is_instrument = "Instrument" in classes[index].category.split("|")
            outcomes[index] = _entry(classes[index], backend, is_instrument, None)
        wanted = wanted[:1]
    todo = list(wanted)
    n_hangs = 0
    while todo:
        try:
            for outcome in _load_until_death(path, classes, todo, backend, timeout_s):
                outcomes[todo.pop(0)] = outcome
        except _Death as death:
            reason = f"{death.kind} while it was loaded ({death.detail})"
            outcomes[todo.pop(0)] = _Refusal(reason, is_death=True, needs_time=death.is_busy)
            n_hangs += death.kind == "hang"
            if n_hangs >= _MAX_HANGS or (backend == "pedalboard" and len(classes) > 1):
                # The others would make it too, or wait as long.
                outcomes |= dict.fromkeys(todo, _Refusal(f"not tried after {reason}"))
                todo = []
    return outcomes


def _load_until_death(
    path: Path, classes: Sequence[PluginClass], todo: Sequence[int], backend: BackendName, timeout_s: float
) -> Iterator[_Outcome]:
    chosen = [classes[index] for index in todo]
    child = _Child(path, chosen, backend, has_several=len(classes) > 1)
    try:
        child.next_fact(_IMPORT_S)
        for plugin in chosen:
            fact = child.next_fact(timeout_s)
            if fact is None:
                raise _Death("crash", "its process ended early")
            if "refused" in fact:
                yield _Refusal(fact["refused"].removeprefix(f"{path}: "))
            else:
                told = PluginClass(**{**asdict(plugin), **fact.get("class", {})})
                yield _entry(told, backend, fact["is_instrument"], fact["n_parameters"])
    finally:
        child.close()


def _processor_seconds(process_id: int) -> float:
    """Return how long a process has computed; nan where the system does not tell."""
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return math.nan


class _Death(Exception):  # noqa: N818 - it is what happened, the reason is made of it
    """The child has died or had to be ended."""

    def __init__(self, kind: Literal["crash", "hang"], detail: str, is_busy: bool = False) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.is_busy = kind, detail, is_busy


class _Child:
    """A child of a scan: its answers, one after another, with a limit to each."""

    def __init__(
        self,
        path: Path,
        classes: Sequence[PluginClass],
        backend: BackendName | Literal[""],
        has_several: bool = False,
    ) -> None:
        self._process = start_child("bridge.hosts.scan_child")
        request = {
            "path": str(path),
            "classes": [asdict(each) for each in classes],
            "backend": backend,
            "has_several": has_several,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def next_fact(self, timeout_s: float) -> Fact | None:
        """Return the next answer; None where the child has said all."""
        worked_s = _processor_seconds(self._process.pid)
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            is_idle = _processor_seconds(self._process.pid) - worked_s < _BUSY_SHARE * timeout_s
            raise _Death("hang", f"no answer within {timeout_s:g} s, killed", not is_idle) from None
        try:
            fact: Fact = json.loads(line) if line else {}
        except ValueError:
            raise _Death("crash", "its process answers nonsense") from None
        if line:
            return fact
        code = self._process.wait()
        if code == 0:
            return None
        try:
            ending = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        except ValueError:
            ending = f"signal {-code}"
        raise _Death("crash", ending)

    def close(self) -> None:
        """End the child and reap it."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
