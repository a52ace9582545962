"""The wave: a sound cut into segments and windows, each waiting for the steps its depth asks for.

``A`` is computed in windows on a grid fixed from the first sample, cross-faded where they overlap. The sound
between two grid lines is a segment; window ``w`` covers segment ``w`` and the head of segment ``w + 1``.

A window may take step ``k`` when both its segments have reached ``x_k``; a segment reaches ``x_{k+1}`` when
both windows over it have taken step ``k``. Each segment therefore needs only its latest ``x``, the steps run
as a wave along the sound, memory depends on the depth and not on the length, and nothing depends on how the
sound was cut into blocks or which windows stepped together. A window whose depth is at most ``k`` takes no
part in step ``k``: time is proportional to the integral of depth.

A window looks at more of the undreamed sound on both sides (its margins). Where the sound itself begins and
ends, it goes on there turned round a point, ``2 x[0] - x[n]``: no network hears it cut off.

This module only keeps the books; what a step does is the stream's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dream_core.loop.ladder import Rungs
from dream_core.runtime import widest_float
from dream_core.updates.contract import State

__all__ = ["SHORTEST_S", "ScheduledWindow", "WindowSchedule"]

SHORTEST_S = 0.01
"""Sounds shorter than this are passed on untouched."""


@dataclass(slots=True)
class _Segment:
    x: Tensor
    depth: Tensor
    lanes: Mapping[str, Tensor]
    original: Tensor
    steps_done: int = 0
    kept: dict[int, Tensor] = field(default_factory=dict)


@dataclass(slots=True)
class _Behind:
    """What is still looked at of segments that are finished."""

    original: Tensor = field(default_factory=lambda: torch.zeros(1, 0))
    lanes: dict[str, Tensor] = field(default_factory=dict)

    def keep(self, segment: _Segment, n_samples: int) -> None:
        """Add a segment, and forget what lies too far behind."""
        pieces = [self.original, segment.original] if self.original.shape[1] else [segment.original]
        self.original = _last(torch.cat(pieces, 1), n_samples)
        for name, lane in segment.lanes.items():
            self.lanes[name] = _last(torch.cat([self.lanes.get(name, lane[:0]), lane]), n_samples)


def _last(sound: Tensor, n_samples: int) -> Tensor:
    return sound[..., max(0, sound.shape[-1] - n_samples) :].clone()


def _turned_round(sound: Tensor, n_samples: int) -> Tensor:
    """Return how a sound goes on after its end when turned round its last sample; a short one to and fro."""
    if n_samples == 0:
        return sound[:, :0]
    last = sound[:, -1:]
    if sound.shape[1] == 1:
        return last.expand(-1, n_samples)
    back = 2.0 * last - sound[:, :-1].flip(1)
    cycle = torch.cat([back, back.flip(1)[:, 1:-1]], 1)
    return cycle.repeat(1, -(-n_samples // cycle.shape[1]))[:, :n_samples]


@dataclass(slots=True)
class ScheduledWindow:
    """One window: how many steps it will take, how many it has taken, and what it proposed last.

    Args:
        index: Its place on the grid, from 0.
        n_steps: Steps its deepest sample asks for.
        n_samples: How much of it is sound; the rest is padding.
        taken: Steps taken.
        proposal: What the last step proposed, ``(channels, n_samples)``.
        state: The update's own.
    """

    index: int
    n_steps: int
    n_samples: int
    taken: int = 0
    proposal: Tensor | None = None
    state: State = field(default_factory=dict)


class WindowSchedule:
    """Segments and windows of one sound.

    Args:
        sample_rate: Hz.
        window_s: Length of a window.
        fade_s: How far windows overlap.
        margin_samples: How much of the undreamed sound on both sides a window may look at.
        device: Where the sound is kept.
        rungs: Depths at which it is kept on its way, and where that goes.
    """

    def __init__(
        self,
        sample_rate: int,
        window_s: float,
        fade_s: float,
        margin_samples: int,
        device: torch.device,
        rungs: Rungs | None = None,
    ) -> None:
        self._rungs = rungs or Rungs()
        self._fade = round(fade_s * sample_rate)
        self._hop = round(window_s * sample_rate) - self._fade
        self._shortest = SHORTEST_S * sample_rate
        ramp = (torch.arange(self._fade, device=device, dtype=widest_float(device)) + 0.5) / self._fade
        self._ramp = torch.sin(0.5 * math.pi * ramp).square().to(torch.float32)
        self._margin = margin_samples
        self._behind = _Behind()
        self._pending: list[_Segment] = []
        self._n_pending = 0
        self._segments: list[_Segment] = []
        self._is_whole = False
        self._n_retired = 0
        self.windows: list[ScheduledWindow] = []

    @property
    def is_whole(self) -> bool:
        """Whether the whole sound is one window, shorter than others."""
        return self._is_whole

    @property
    def window_samples(self) -> int:
        """Length of a window."""
        return self._hop + self._fade

    @property
    def hop_samples(self) -> int:
        """How far one window is from the next."""
        return self._hop

    def start_sample(self, window: ScheduledWindow) -> int:
        """Return where a window begins in the sound."""
        return window.index * self._hop

    def push(self, samples: Tensor, depth: Tensor, lanes: Mapping[str, Tensor]) -> None:
        """Take a block ``(channels, n)`` with its depth and moving settings ``(n,)``."""
        self._pending.append(_Segment(samples, depth, lanes, samples))
        self._n_pending += samples.shape[1]
        self._cut_segments()
        self._form_windows(is_end=False)

    def end(self) -> None:
        """Take what is left for the last segment."""
        if self._n_pending:
            self._is_whole = not self._segments and self._n_retired == 0
            self._segments.append(self._join_pending())
            self._pending, self._n_pending = [], 0
        self._form_windows(is_end=True)

    def ready(self) -> list[int]:
        """Return the windows that may step together: those that wait for the same step, most of them."""
        by_step: dict[int, list[int]] = {}
        for i, window in enumerate(self.windows):
            if self._is_ready(i):
                by_step.setdefault(window.taken, []).append(i)
        return max(by_step.values(), key=len, default=[])

    def sound_under(self, i: int) -> Tensor:
        """Return the sound at its present step under a window, padded to a window's length."""
        return self._gather([s.x for s in self._segments[i : i + 2]])

    def original_under(self, i: int) -> Tensor:
        """Return the undreamed sound under a window, padded to a window's length."""
        return self._gather([s.original for s in self._segments[i : i + 2]])

    def needs_sound(self, i: int) -> bool:
        """Say whether what a window's next step proposes is heard: as the last, or blended with the next."""
        k = self.windows[i].taken
        if k + 1 in self._rungs:
            return True
        depths = [self._segments[i].depth, *(s.depth[: self._fade] for s in self._segments[i + 1 : i + 2])]
        return any(bool(((depth > k) & (depth < k + 2)).any()) for depth in depths)

    @property
    def margin_samples(self) -> int:
        """How much of the undreamed sound on both sides a window may look at."""
        return self._margin

    def context_under(self, i: int) -> Tensor:
        """Return the undreamed sound under a window and its margins, turned round beyond the sound's ends."""
        before, after, n_samples = self._reach(i)
        there = [self._behind.original, *(s.original for s in self._segments)]
        sound = self._cut(there, i, before, after + n_samples)
        lead = _turned_round(sound.flip(1), self._margin - before).flip(1)
        tail = _turned_round(sound, self._margin - after)
        joined = torch.cat([lead, sound, tail], 1)
        return torch.nn.functional.pad(joined, (0, self._missing(n_samples)))

    def lanes_under(self, i: int) -> dict[str, Tensor]:
        """Return the moving settings under a window and its margins; at the sound's ends they hold."""
        before, after, n_samples = self._reach(i)
        lanes = {}
        for name in self._segments[i].lanes:
            there = [self._behind.lanes.get(name, self._segments[i].lanes[name][:0])]
            there += [s.lanes[name] for s in self._segments]
            lane = self._cut([piece[None] for piece in there], i, before, after + n_samples)[0]
            short = self._margin - after + self._missing(n_samples)
            lanes[name] = torch.cat([lane[:1].expand(self._margin - before), lane, lane[-1:].expand(short)])
        return lanes

    def _reach(self, i: int) -> tuple[int, int, int]:
        """Return how much of a window's margins there is, before and after it, and how long it is."""
        n_behind = self._behind.original.shape[1] + sum(s.x.shape[1] for s in self._segments[:i])
        ahead = sum(s.x.shape[1] for s in self._segments[i:])
        n_samples = min(ahead, self.window_samples)
        return min(self._margin, n_behind), min(self._margin, ahead - n_samples), n_samples

    def _cut(self, pieces: list[Tensor], i: int, before: int, after: int) -> Tensor:
        """Return a stretch of the sound around where a window begins; the first piece is what is behind."""
        first, last, n_before, n_after = i, i + 1, 0, 0
        while n_before < before:
            n_before, first = n_before + pieces[first].shape[1], first - 1
        while n_after < after:
            n_after, last = n_after + pieces[last].shape[1], last + 1
        joined = torch.cat(pieces[first + 1 : last], 1)
        return joined[:, n_before - before : n_before + after]

    def advance(self) -> None:
        """Bring every segment as far as the steps taken allow."""
        for s in range(len(self._segments)):
            while self._can_advance(s):
                self._blend(s)
                segment = self._segments[s]
                segment.steps_done += 1
                if segment.steps_done in self._rungs:
                    segment.kept[segment.steps_done] = segment.x

    def take_finished(self) -> list[Tensor]:
        """Return the finished segments from the front, and forget them."""
        done = []
        while self.windows and self._is_first_done():
            done.append(self._segments[0].x)
            self._rungs.add(self._segments[0].kept, self._segments[0].x)
            self._behind.keep(self._segments[0], self._margin)
            del self._segments[0], self.windows[0]
            self._n_retired += 1
        return done

    def _join_pending(self) -> _Segment:
        pieces = self._pending
        samples = torch.cat([piece.x for piece in pieces], 1)
        lanes = {name: torch.cat([piece.lanes[name] for piece in pieces]) for name in pieces[0].lanes}
        return _Segment(samples, torch.cat([piece.depth for piece in pieces]), lanes, samples)

    def _cut_segments(self) -> None:
        if self._n_pending < self._hop:
            return
        joined = self._join_pending()
        n_whole = self._n_pending // self._hop * self._hop

        def part(start: int, stop: int) -> _Segment:
            # Clones, so that a finished segment's memory goes back at once.
            x = joined.x[:, start:stop].clone()
            lanes = {name: lane[start:stop].clone() for name, lane in joined.lanes.items()}
            return _Segment(x, joined.depth[start:stop].clone(), lanes, x)

        self._segments += [part(start, start + self._hop) for start in range(0, n_whole, self._hop)]
        self._pending = [part(n_whole, self._n_pending)]
        self._n_pending -= n_whole

    def _form_windows(self, is_end: bool) -> None:
        n_segments = len(self._segments)
        # Segments that a window and its margin reach into, beyond its own.
        n_needed = math.ceil((self._fade + self._margin) / self._hop)
        while len(self.windows) < n_segments:
            i = len(self.windows)
            has_next = i + 1 < n_segments
            if i + n_needed >= n_segments and not is_end:
                return
            here = self._segments[i]
            n_samples = here.x.shape[1]
            if self._n_retired + i > 0 and not has_next and n_samples <= self._fade:
                # The last window already reaches to the end; a shorter one would be all cross-fade.
                self.windows.append(ScheduledWindow(self._n_retired + i, 0, n_samples))
                return
            deepest, is_silent = float(here.depth.max()), not bool(here.original.any())
            if has_next:
                head = self._segments[i + 1]
                n_samples += min(self._fade, head.x.shape[1])
                deepest = max(deepest, float(head.depth[: self._fade].max()))
                is_silent = is_silent and not bool(head.original[:, : self._fade].any())
            # Digital silence and clicks have no spectrum to turn up: they stay what they are.
            is_still = is_silent or n_samples < self._shortest
            self.windows.append(
                ScheduledWindow(self._n_retired + i, 0 if is_still else math.ceil(deepest), n_samples)
            )

    def _is_ready(self, i: int) -> bool:
        window = self.windows[i]
        if window.taken >= window.n_steps or self._segments[i].steps_done != window.taken:
            return False
        return i + 1 >= len(self._segments) or self._segments[i + 1].steps_done == window.taken

    def _windows_over(self, s: int) -> list[ScheduledWindow] | None:
        if s >= len(self.windows):
            return None
        return [self.windows[i] for i in (s - 1, s) if i >= 0]

    def _can_advance(self, s: int) -> bool:
        over = self._windows_over(s)
        done = self._segments[s].steps_done
        if over is None or done >= max(window.n_steps for window in over):
            return False
        return all(window.n_steps <= done or window.taken > done for window in over)

    def _blend(self, s: int) -> None:
        segment = self._segments[s]
        x, k = segment.x, segment.steps_done
        own = self.windows[s]
        proposal = own.proposal[:, : x.shape[1]] if own.n_steps > k and own.proposal is not None else x
        if s > 0:
            before = self.windows[s - 1]
            n_head = min(self._fade, x.shape[1])
            if before.n_steps > k and before.proposal is not None:
                tail = before.proposal[:, self._hop : self._hop + n_head]
            else:
                tail = x[:, :n_head]
            is_last_stub = s + 1 == len(self._segments) and x.shape[1] <= self._fade
            ramp = self._ramp[:n_head] * (0.0 if is_last_stub else 1.0)
            head = tail + ramp * (proposal[:, :n_head] - tail)
            proposal = torch.cat([head, proposal[:, n_head:]], 1)
        amount = torch.clamp(segment.depth - k, 0.0, 1.0).to(torch.float32)
        blend = torch.where(amount < 1, x + amount * (proposal - x), proposal)
        segment.x = torch.where(amount > 0, blend, x)

    def _is_first_done(self) -> bool:
        n_steps = self.windows[0].n_steps
        if self._segments[0].steps_done < n_steps:
            return False
        # The window is needed until the segment under its tail has taken its last step as well.
        return len(self._segments) == 1 or self._segments[1].steps_done >= n_steps

    def _gather(self, pieces: list[Tensor]) -> Tensor:
        window = torch.cat([pieces[0], *(piece[:, : self._fade] for piece in pieces[1:])], 1)
        return torch.nn.functional.pad(window, (0, self._missing(window.shape[1])))

    def _missing(self, n_samples: int) -> int:
        return 0 if self._is_whole else self.window_samples - n_samples
