"""The loop: a sound streams through windows, each takes the steps its depth asks for.

The recurrence (depth ``d(t)`` in steps, ``A`` the update)::

    x_0 = input
    m_k(t) = clip(d(t) - k, 0, 1)
    x_{k+1}(t) = x_k(t) + m_k(t) * (A(x_k)(t) - x_k(t))

``A`` is computed in windows on a grid fixed from the first sample, cross-faded where they overlap. The sound
between two grid lines is a segment; window ``w`` covers segment ``w`` and the head of segment ``w + 1``.

A window may take step ``k`` when both its segments have reached ``x_k``; a segment reaches ``x_{k+1}`` when
both windows over it have taken step ``k``. Each segment therefore needs only its latest ``x``, the steps run
as a wave along the sound, memory depends on the depth and not on the length, and nothing depends on how the
sound was cut into blocks or which windows stepped together. A window whose depth is at most ``k`` takes no
part in step ``k``: time is proportional to the integral of depth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dream_core.errors import CancelledError, NonFiniteError, SettingError
from dream_core.listener import Listener
from dream_core.runtime import default_batch, draw_integer
from dream_core.settings import DEPTH_LIMIT, DreamSettings
from dream_core.stereo import fold_channels, groups_of, unfold_channels
from dream_core.updates import State, Update, Window

__all__ = ["SHORTEST_S", "DreamStream", "StepReport"]

SHORTEST_S = 0.01
"""Sounds shorter than this are passed on untouched."""

AUDIBLE = 1e-3
"""Level (-60 dBFS) above which a window must have a gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What one step of one window did, for progress displays and benches.

    Args:
        window_index: Which window, from 0.
        step_index: Which step, from 0.
        start_s: Where the window begins.
        score: The objective before the step.
    """

    window_index: int
    step_index: int
    start_s: float
    score: float


@dataclass(slots=True)
class _Segment:
    x: Tensor
    depth: Tensor
    original: Tensor
    level: int = 0


@dataclass(slots=True)
class _Window:
    n_steps: int
    n_samples: int
    taken: int = 0
    proposal: Tensor | None = None
    state: State = field(default_factory=dict)


class DreamStream:
    """Dream a sound that arrives in blocks.

    Args:
        listener: The network's ear and the objective.
        update: How to step.
        settings: The dream's settings.
        n_channels: Channels of the sound.
        device: Where to compute.
        batch: How many windows step together; None chooses by device. The shape is always this one, so
            that a window's result does not depend on its companions.
        first_step: Index of the first step, to continue an earlier run with the same jitter.
        target: Another sound ``(channels or 1, samples)``, for updates that want one; repeats when short.
        on_step: Called after every step of every window.
        is_cancelled: Asked before every batch; true stops with :class:`CancelledError`.
        on_warning: Called with one line when something had to be given up (a smaller batch).
    """

    def __init__(
        self,
        listener: Listener,
        update: Update,
        settings: DreamSettings,
        n_channels: int,
        device: torch.device,
        *,
        batch: int | None = None,
        first_step: int = 0,
        target: Tensor | None = None,
        on_step: Callable[[StepReport], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        if update.needs_target and target is None:
            raise SettingError(f"update {settings.update!r} needs a target sound; none was given")
        if settings.stereo == "mid_side" and n_channels != 2:
            raise SettingError(
                f"stereo = 'mid_side' needs 2 channels; the sound has {n_channels}. Use 'linked'."
            )
        self._listener = listener
        self._update = update
        self._settings = settings
        self._n_channels = n_channels
        self._device = device
        self._batch = batch or default_batch(device)
        self._first_step = first_step
        self._target = target
        self._on_step = on_step
        self._is_cancelled = is_cancelled
        self._on_warning = on_warning
        rate = listener.sample_rate
        self._fade = round(settings.fade_s * rate)
        self._hop = round(settings.window_s * rate) - self._fade
        ramp = (torch.arange(self._fade, device=device, dtype=torch.float64) + 0.5) / self._fade
        self._ramp = torch.sin(0.5 * math.pi * ramp).square().to(torch.float32)
        self.reset()

    @property
    def window_samples(self) -> int:
        """Length of a window."""
        return self._hop + self._fade

    @property
    def batch(self) -> int:
        """How many windows step together."""
        return self._batch

    def reset(self) -> None:
        """Forget every sample seen."""
        self._pending: list[Tensor] = []
        self._pending_depth: list[Tensor] = []
        self._n_pending = 0
        self._first = 0
        self._segments: list[_Segment] = []
        self._windows: list[_Window] = []
        self._is_whole = False

    def push(self, samples: Tensor, depth: Tensor) -> Tensor:
        """Take a block and return the samples that are done.

        Args:
            samples: ``(channels, n)``.
            depth: ``(n,)`` in steps, 0..100.

        Shape:
            Returns ``(channels, m)``; over the whole stream as many come out as went in.

        Raises:
            NonFiniteError: The sound, or a gradient, is not finite.
            SettingError: A depth below 0, above 100 or not a number.
        """
        samples = samples.to(self._device, torch.float32)
        depth = depth.to(self._device, torch.float64)
        if not bool(torch.isfinite(samples).all()):
            raise NonFiniteError("the sound holds values that are not finite; clean the stem first")
        if not bool(((depth >= 0) & (depth <= DEPTH_LIMIT)).all()):
            raise SettingError(
                f"depth must stay in 0..{DEPTH_LIMIT:g} steps; got up to {float(depth.max()):g}"
            )
        self._pending.append(samples)
        self._pending_depth.append(depth)
        self._n_pending += samples.shape[1]
        if self._n_pending >= self._hop:
            self._cut_segments()
        self._form_windows(is_end=False)
        return self._run(is_end=False)

    def finish(self) -> Tensor:
        """End the sound and return all that is left."""
        self._cut_segments()
        if self._n_pending:
            samples, depth = torch.cat(self._pending, 1), torch.cat(self._pending_depth)
            if not self._segments and self._first == 0:
                self._is_whole = True
            self._segments.append(_Segment(samples, depth, samples))
        self._form_windows(is_end=True)
        rest = self._run(is_end=True)
        self.reset()
        return rest

    def _cut_segments(self) -> None:
        if self._n_pending < self._hop:
            return
        samples, depth = torch.cat(self._pending, 1), torch.cat(self._pending_depth)
        n_whole = samples.shape[1] // self._hop * self._hop
        for start in range(0, n_whole, self._hop):
            # Clones, so that a finished segment's memory goes back at once.
            x = samples[:, start : start + self._hop].clone()
            self._segments.append(_Segment(x, depth[start : start + self._hop].clone(), x))
        self._pending, self._pending_depth = [samples[:, n_whole:]], [depth[n_whole:]]
        self._n_pending = samples.shape[1] - n_whole

    def _form_windows(self, is_end: bool) -> None:
        n_segments = len(self._segments)
        while len(self._windows) < n_segments:
            i = len(self._windows)
            has_next = i + 1 < n_segments
            if not has_next and not is_end:
                return
            here = self._segments[i]
            n_samples = here.x.shape[1]
            if self._first + i > 0 and not has_next and n_samples <= self._fade:
                # The last window already reaches to the end; a shorter one would be all cross-fade.
                self._windows.append(_Window(0, n_samples))
                return
            deepest, is_silent = float(here.depth.max()), not bool(here.original.any())
            if has_next:
                head = self._segments[i + 1]
                n_samples += min(self._fade, head.x.shape[1])
                deepest = max(deepest, float(head.depth[: self._fade].max()))
                is_silent = is_silent and not bool(head.original[:, : self._fade].any())
            # Digital silence and clicks have no spectrum to turn up: they stay what they are.
            is_still = is_silent or n_samples < SHORTEST_S * self._listener.sample_rate
            self._windows.append(_Window(0 if is_still else math.ceil(deepest), n_samples))

    def _run(self, is_end: bool) -> Tensor:
        while True:
            ready = [i for i in range(len(self._windows)) if self._is_ready(i)]
            if not ready or (len(ready) < self._batch and not is_end):
                break
            self._step(ready[: self._batch])
            self._advance()
        self._advance()
        return self._emit()

    def _is_ready(self, i: int) -> bool:
        window = self._windows[i]
        if window.taken >= window.n_steps or self._segments[i].level != window.taken:
            return False
        return i + 1 >= len(self._segments) or self._segments[i + 1].level == window.taken

    def _step(self, indices: list[int]) -> None:
        if self._is_cancelled is not None and self._is_cancelled():
            raise CancelledError("stopped")
        try:
            self._step_batch(indices)
        except torch.cuda.OutOfMemoryError:
            if self._batch == 1:
                raise
            self._batch = max(1, self._batch // 2)
            torch.cuda.empty_cache()
            if self._on_warning is not None:
                self._on_warning(
                    f"the device is out of memory; going on with {self._batch} windows at a time"
                )
            for start in range(0, len(indices), self._batch):
                self._step(indices[start : start + self._batch])

    def _step_batch(self, indices: list[int]) -> None:
        # A short batch is filled up with its last window: the shape decides how sums are ordered.
        filled = indices + [indices[-1]] * (self._batch - len(indices))
        current = torch.stack([self._gather(i, "x") for i in filled])
        original = torch.stack([self._gather(i, "original") for i in filled])
        target = None if self._target is None else torch.stack([self._target_under(i) for i in filled])
        n_valid = torch.tensor([self._windows[i].n_samples for i in filled], device=self._device)
        steps = [self._first_step + self._windows[i].taken for i in filled]
        offsets = [self._offset(i, step) for i, step in zip(filled, steps, strict=True)]

        mode = self._settings.stereo
        groups = groups_of(mode, self._n_channels)
        rows, original_rows = fold_channels(current, mode), fold_channels(original, mode)
        original_mono = original_rows.mean(dim=1)
        each_offset = [offset for offset in offsets for _ in range(groups)]
        scores: list[Tensor] = []

        def score(mono: Tensor) -> Tensor:
            value = self._listener.score(mono, each_offset, original_mono)
            scores.append(value.detach())
            return value

        window = Window(
            current=rows,
            original=original_rows,
            n_valid=n_valid.repeat_interleave(groups)[:, None, None].to(rows.dtype),
            score=score,
            target=None if target is None else fold_channels(target, mode),
            sample_rate=self._listener.sample_rate,
            band_hz=self._band_hz(),
            settings=self._settings,
        )
        state = self._collect_state(filled, original_rows, groups)
        proposal_rows, state, gradient = self._update.step(window, state)
        proposal = unfold_channels(proposal_rows, rows, current, mode)
        self._check(indices, groups, proposal, gradient)
        for n, i in enumerate(indices):
            held = self._windows[i]
            held.proposal = proposal[n, :, : held.n_samples]
            held.taken += 1
            part = slice(n * groups, (n + 1) * groups)
            held.state = {} if held.taken == held.n_steps else {k: v[part] for k, v in state.items()}
            if self._on_step is not None:
                self._on_step(
                    StepReport(
                        window_index=self._first + i,
                        step_index=steps[n],
                        start_s=(self._first + i) * self._hop / self._listener.sample_rate,
                        score=float(scores[0][part].mean()),
                    )
                )

    def _offset(self, i: int, step: int) -> int:
        if not self._settings.jitter:
            return 0
        return draw_integer(self._listener.jitter_frames, self._settings.seed, self._first + i, step)

    def _gather(self, i: int, part: str) -> Tensor:
        pieces: list[Tensor] = [getattr(self._segments[i], part)]
        if i + 1 < len(self._segments):
            pieces.append(getattr(self._segments[i + 1], part)[:, : self._fade])
        window = torch.cat(pieces, 1)
        missing = 0 if self._is_whole else self.window_samples - window.shape[1]
        return torch.nn.functional.pad(window, (0, missing)) if missing else window

    def _target_under(self, i: int) -> Tensor:
        assert self._target is not None
        n_samples = self._gather(i, "x").shape[1]
        start = (self._first + i) * self._hop
        positions = torch.arange(start, start + n_samples, device=self._device) % self._target.shape[1]
        return self._target[:, positions].expand(self._n_channels, -1)

    def _band_hz(self) -> tuple[float, float]:
        low, high = self._listener.network.card.band_hz
        if self._settings.high_hz > 0:
            high = min(high, self._settings.high_hz)
        low = max(low, self._settings.low_hz)
        if low >= high:
            heard = self._listener.network.card.band_hz
            raise SettingError(
                f"the band {self._settings.low_hz:g}..{self._settings.high_hz:g} Hz lies outside what network "
                f"{self._listener.network.card.name!r} hears, {heard[0]:g}..{heard[1]:g} Hz"
            )
        return low, min(high, self._listener.sample_rate / 2)

    def _collect_state(self, filled: list[int], original_rows: Tensor, groups: int) -> State:
        states = []
        for n, i in enumerate(filled):
            if not self._windows[i].state and self._windows[i].taken == 0:
                part = original_rows[n * groups : (n + 1) * groups]
                self._windows[i].state = self._update.begin(part, self._settings, self._listener.sample_rate)
            states.append(self._windows[i].state)
        return {key: torch.cat([state[key] for state in states]) for key in states[0]}

    def _check(self, indices: list[int], groups: int, proposal: Tensor, gradient: Tensor) -> None:
        if bool(torch.isfinite(proposal).all()) and bool(gradient.flatten(1).any(1).all()):
            return
        for n, i in enumerate(indices):
            place = (
                f"step {self._windows[i].taken + 1} of the window at "
                f"{(self._first + i) * self._hop / self._listener.sample_rate:.2f} s"
            )
            if not bool(torch.isfinite(proposal[n]).all()):
                raise NonFiniteError(f"{place}: the dream is not finite; use a smaller step")
            if (
                not bool(gradient[n * groups : (n + 1) * groups].any())
                and float(proposal[n].abs().max()) > 1e-4
            ):
                raise NonFiniteError(
                    f"{place}: the objective {self._listener.objective.text!r} has no gradient, the network "
                    "hears nothing there to ascend on; choose another layer or channel, or depth 0 there"
                )

    def _advance(self) -> None:
        for s, segment in enumerate(self._segments):
            while self._can_advance(s):
                self._blend(s, segment)
                segment.level += 1

    def _windows_over(self, s: int) -> list[_Window] | None:
        if s >= len(self._windows):
            return None
        return [self._windows[i] for i in (s - 1, s) if i >= 0]

    def _can_advance(self, s: int) -> bool:
        over = self._windows_over(s)
        level = self._segments[s].level
        if over is None or level >= max(window.n_steps for window in over):
            return False
        return all(window.n_steps <= level or window.taken > level for window in over)

    def _blend(self, s: int, segment: _Segment) -> None:
        x, k = segment.x, segment.level
        own = self._windows[s]
        proposal = own.proposal[:, : x.shape[1]] if own.n_steps > k and own.proposal is not None else x
        if s > 0:
            before = self._windows[s - 1]
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
        segment.x = torch.where(amount > 0, x + amount * (proposal - x), x)

    def _emit(self) -> Tensor:
        done: list[Tensor] = []
        while self._windows and self._is_done():
            done.append(self._segments[0].x)
            self._retire_first()
        if not done:
            return torch.zeros(self._n_channels, 0, device=self._device)
        return torch.cat(done, 1)

    def _is_done(self) -> bool:
        n_steps = self._windows[0].n_steps
        if self._segments[0].level < n_steps:
            return False
        # The window is needed until the segment under its tail has taken its last step as well.
        return len(self._segments) == 1 or self._segments[1].level >= n_steps

    def _retire_first(self) -> None:
        del self._segments[0], self._windows[0]
        self._first += 1
