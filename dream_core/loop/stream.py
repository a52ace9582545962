"""The loop: a sound streams through windows, each takes the steps its depth asks for.

The recurrence (depth ``d(t)`` in steps, ``A`` the update)::

    x_0 = input
    m_k(t) = clip(d(t) - k, 0, 1)
    x_{k+1}(t) = x_k(t) + m_k(t) * (A(x_k)(t) - x_k(t))

:mod:`dream_core.loop.windows` knows which window may take which step; here the steps are taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict

import torch
from torch import Tensor

from dream_core.errors import CancelledError, NonFiniteError, SettingError
from dream_core.loop.faults import NO_PITCH, find_faults
from dream_core.loop.ladder import Rungs, check_ladder
from dream_core.loop.lanes import PitchPhase, check_lane, check_weights, crop_weight
from dream_core.loop.pending_steps import Fault, PendingStep, StepFacts, StepReport
from dream_core.loop.shared_batches import SharedBatches
from dream_core.loop.step_notes import StepNotes
from dream_core.loop.stereo import fold_channels, groups_of, unfold_channels
from dream_core.loop.windows import ScheduledWindow, WindowSchedule
from dream_core.objectives.ear import When
from dream_core.objectives.listener import Listener
from dream_core.objectives.look import Look
from dream_core.runtime import default_batch, draw_integer, widest_float
from dream_core.settings import DEPTH_LIMIT, DreamSettings
from dream_core.updates.contract import State, Update, Window

__all__ = ["DreamStream"]


class DreamStream:
    """Dream a sound that arrives in blocks.

    Args:
        listener: The network's ear and the objective.
        update: How to step.
        settings: The dream's settings.
        n_channels: Channels of the sound.
        device: Where to compute.
        batch: How many windows step together; None chooses by device. The shape is always this one, so
            that a window's result does not depend on what else is in its batch.
        first_step: Index of the first step, to continue an earlier run with the same jitter.
        target: Another sound ``(channels or 1, samples)``, for updates that want one; repeats when short.
        weights: How much the objective's named weights are where no lane moves them.
        on_step: Called after every step of every window.
        is_cancelled: Asked before every batch; true stops with :class:`CancelledError`.
        on_warning: Called with one line when something had to be given up (a smaller batch).
        shared_batches: Shared with streams of other threads, so that their windows step in one batch.
        ladder: Depths, in whole steps, at which the sound is kept too: `take_ladder`.
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
        weights: Mapping[str, float] | None = None,
        on_step: Callable[[StepReport], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
        on_warning: Callable[[str], None] | None = None,
        shared_batches: SharedBatches | None = None,
        ladder: Sequence[int] = (),
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
        self._weights = check_weights(weights or {}, listener.objective)
        self._n_channels = n_channels
        self._device = device
        self._batch = batch or default_batch(device)
        self._first_step = first_step
        # One of another layout is heard as its mono sum.
        is_fitting = target is None or target.shape[0] in (1, n_channels)
        self._target = target if is_fitting or target is None else target.mean(dim=0, keepdim=True)
        self._on_step = on_step
        self._is_cancelled = is_cancelled
        self._on_warning = on_warning
        self._total_steps: int | None = None
        self._shared_batches = shared_batches
        self._ladder = check_ladder(ladder)
        self.reset()

    @property
    def window_samples(self) -> int:
        """Length of a window."""
        return self._schedule.window_samples

    @property
    def schedule(self) -> WindowSchedule:
        """The sound on its way, with its windows."""
        return self._schedule

    @property
    def batch(self) -> int:
        """How many windows step together."""
        return self._batch

    def reset(self) -> None:
        """Forget every sample seen."""
        self._rungs = Rungs(self._ladder)
        self._begin()

    def _begin(self) -> None:
        self._done_steps, self._total_steps = 0, None
        settings = self._settings
        rate = self._listener.sample_rate
        self._phase = PitchPhase(rate)
        longest = settings.n_fft_at(rate) * 2 ** ((settings.octaves - 1) // 2)
        # Whole frames, so that those of the window lie where they would without margins.
        margin = longest * math.ceil(max(1.0, self._context_samples() / longest))
        self._schedule = WindowSchedule(
            rate, settings.window_s, settings.cross_fade_s, margin, self._device, self._rungs
        )

    def _context_samples(self) -> float:
        """Return how much of the sound around a window the networks hear: a patch on each side."""
        slowest = 2.0**self._settings.varispeed_octaves
        return self._listener.patch_samples * slowest if self._settings.context else 0.0

    def push(self, samples: Tensor, depth: Tensor, lanes: Mapping[str, Tensor] | None = None) -> Tensor:
        """Take a block and return the samples that are done.

        Args:
            samples: ``(channels, n)``.
            depth: ``(n,)`` in steps, 0..100.
            lanes: ``(n,)`` for each of `MOVING_SETTINGS` that moves, each of `SIGNALS` that is known
                (``f0_hz``, the pitch, 0 where there is none, ``cycles`` and ``rows``) and each of the
                objective's weights that moves; the same ones in every block.

        Shape:
            Returns ``(channels, m)``; over the whole stream as many come out as went in.

        Raises:
            NonFiniteError: The sound, or a gradient, is not finite.
            SettingError: A depth below 0, above 100 or not a number.
        """
        # Copies: the sound waits here while a caller may fill the same buffer again.
        samples = samples.to(self._device, torch.float32, copy=True)
        depth = depth.to(self._device, widest_float(self._device), copy=True)
        if samples.shape[0] != self._n_channels or depth.shape != samples.shape[1:]:
            raise SettingError(
                f"a block of {tuple(samples.shape)} with a depth of {tuple(depth.shape)}; "
                f"({self._n_channels}, n) and (n,) are accepted"
            )
        if not bool(torch.isfinite(samples).all()):
            raise NonFiniteError("the sound holds values that are not finite; clean the stem first")
        if not bool(((depth >= 0) & (depth <= DEPTH_LIMIT)).all()):
            raise SettingError(
                f"depth must stay in 0..{DEPTH_LIMIT:g} steps; got up to {float(depth.max()):g}"
            )
        # What counts through a whole song outgrows float32: late in it two samples would be one place.
        wide = {"rows": widest_float(self._device)}
        moving = {
            name: lane.to(self._device, wide.get(name, torch.float32), copy=True)
            for name, lane in (lanes or {}).items()
        }
        for name, lane in moving.items():
            check_lane(name, lane, samples.shape[1], self._listener.objective.weights)
        if "f0_hz" in moving:
            moving["f0_cycles"] = self._phase.follow(moving["f0_hz"])
        self._schedule.push(samples, depth, moving)
        return self._run(is_end=False)

    def finish(self) -> Tensor:
        """End the sound and return all that is left."""
        if getattr(self._update, "needs_pitch", False) and not self._phase.was_heard:
            self._warn(NO_PITCH)
        self._schedule.end()
        rest = self._run(is_end=True)
        self._begin()
        return rest

    def take_ladder(self) -> dict[int, Tensor]:
        """Return what `push` and `finish` gave since the last call, as it was at each depth of the ladder."""
        return self._rungs.take(torch.zeros(self._n_channels, 0, device=self._device))

    def _run(self, is_end: bool) -> Tensor:
        self._schedule.advance()
        with self._shared_batches.joined() if self._shared_batches is not None else nullcontext():
            while (ready := self._schedule.ready()) and (is_end or len(ready) >= self._batch):
                self._step(ready[: self._batch])
                self._schedule.advance()
        done = self._schedule.take_finished()
        return torch.cat(done, 1) if done else torch.zeros(self._n_channels, 0, device=self._device)

    def _step(self, indices: list[int]) -> None:
        if self._is_cancelled is not None and self._is_cancelled():
            raise CancelledError("stopped")
        steps = [PendingStep(self, i) for i in indices]
        if self._shared_batches is None:
            faults = self.step_batch(steps)
        else:
            faults = self._shared_batches.step(self._kind(indices), self, steps)
        if faults:
            raise faults[0].error

    def _kind(self, indices: list[int]) -> Hashable:
        """Return what windows must have in common to step together."""
        if self._target is not None or self._listener.objective.references:
            return id(self)
        return (
            self._listener.identity,
            tuple(self._weights.items()),
            # One given as an object may score as it likes, whatever it is called.
            None if isinstance(self._settings.objective, str) else id(self._settings.objective),
            # An update given as an object need not be hashable.
            self._settings if isinstance(self._settings.update, str) else id(self._settings),
            self._n_channels,
            self._batch,
            self._first_step + self._schedule.windows[indices[0]].taken,
            # A sound shorter than a window has its own length.
            self._schedule.sound_under(indices[0]).shape[-1],
            tuple(self._schedule.lanes_under(indices[0])),
        )

    def step_batch(self, steps: Sequence[PendingStep]) -> list[Fault]:
        """Step windows, of this stream or of others of its kind; return what went wrong with whose.

        Where the device has too little memory, half as many go on at a time.
        """
        faults = self._step_within_memory(steps)
        if faults is not None:
            return faults
        # Outside the handler: while an exception lives, so do the tensors of the step that failed.
        self._batch = max(1, self._batch // 2)
        torch.cuda.empty_cache()
        self._warn(f"the device is out of memory; going on with {self._batch} windows at a time")
        return [
            fault
            for start in range(0, len(steps), self._batch)
            for fault in self.step_batch(steps[start : start + self._batch])
        ]

    def _warn(self, text: str) -> None:
        if self._on_warning is not None:
            self._on_warning(text)

    def _step_within_memory(self, steps: Sequence[PendingStep]) -> list[Fault] | None:
        try:
            return self._take_step(steps)
        except torch.cuda.OutOfMemoryError:
            if self._batch == 1:
                raise
            return None

    def _take_step(self, steps: Sequence[PendingStep]) -> list[Fault]:
        # A short batch is filled up with its last window: the shape decides how sums are ordered.
        filled = [*steps, *[steps[-1]] * (self._batch - len(steps))]
        windows = [step.window for step in filled]
        current = torch.stack([step.schedule.sound_under(step.window_index) for step in filled])
        mode, groups = self._settings.stereo, groups_of(self._settings.stereo, self._n_channels)
        window, notes = self._build_window(filled, len(steps), current)
        state = self._collect_state(windows, window.context, groups)
        proposal_rows, state, gradient = self._update.step(window, state)
        # Where there is no gradient there is nothing to do, not nothing to hear.
        is_led = gradient.any(dim=(1, 2)).view(len(filled), groups).any(dim=1)
        folded, unfolded = window.current, current
        if getattr(self._update, "changes_original", False):
            folded = window.original
            unfolded = torch.stack([step.schedule.original_under(step.window_index) for step in filled])
            is_led &= torch.tensor(window.needs_sound[::groups], device=is_led.device)
        proposal = unfold_channels(proposal_rows, folded, unfolded, mode)
        proposal = torch.where(is_led[:, None, None], proposal, current)
        faults = find_faults(
            steps, groups, self._listener, window.original, proposal, gradient, may_rest=self._may_rest
        )
        for n, step in enumerate(steps):
            held = step.window
            held.proposal = proposal[n, :, : held.n_samples]
            held.taken += 1
            part = slice(n * groups, (n + 1) * groups)
            held.state = {} if held.taken == held.n_steps else {k: v[part] for k, v in state.items()}
            step.stream.report_step(held, window.step_index, notes.facts(part, current[n], held.proposal))
        return faults

    def report_step(self, window: ScheduledWindow, step_index: int, facts: StepFacts) -> None:
        """Tell that a step of a window has been taken."""
        self._done_steps += 1
        if self._on_step is not None:
            report = StepReport(
                window_index=window.index,
                step_index=step_index,
                start_s=self._schedule.start_sample(window) / self._listener.sample_rate,
                window_steps=window.n_steps,
                done_steps=self._done_steps,
                total_steps=self._total_steps,
                objective=self._listener.objective.text,
                **asdict(facts),
            )
            self._on_step(report)

    def count_steps(self, samples: Tensor, depth: Tensor) -> None:
        """Count the steps a whole sound will take, so that reports can say how many there are.

        Args:
            samples: ``(channels, n)``, all that will be pushed.
            depth: ``(n,)`` in steps.
        """
        settings, cpu = self._settings, torch.device("cpu")
        trial = WindowSchedule(self._listener.sample_rate, settings.window_s, settings.cross_fade_s, 0, cpu)
        trial.push(samples, depth, {})
        trial.end()
        self._total_steps = sum(window.n_steps for window in trial.windows)

    def _build_window(
        self, filled: Sequence[PendingStep], n_steps: int, current: Tensor
    ) -> tuple[Window, StepNotes]:
        windows = [step.window for step in filled]
        mode, groups = self._settings.stereo, groups_of(self._settings.stereo, self._n_channels)
        context = fold_channels(torch.stack([t.schedule.context_under(t.window_index) for t in filled]), mode)
        margin = self._schedule.margin_samples
        original_mono = context.mean(dim=1)
        # What only fills up the batch counts as whole: a short window is heard alone, and once is enough.
        whole = current.shape[-1]
        lengths = [
            one.n_samples if n < n_steps else whole for n, one in enumerate(windows) for _ in range(groups)
        ]
        step_index = self._first_step + windows[0].taken
        offset, speed = self._offsets(step_index), self._speed(step_index)
        notes = StepNotes()
        lanes = self._moving(filled, groups)
        weights = {name: lanes.pop(name, value) for name, value in self._weights.items()}
        starts = [one.schedule.start_sample(one.window) for one in filled for _ in range(groups)]

        def when(around: int) -> When:
            return When(
                starts_s=[(start - around) / self._listener.sample_rate for start in starts],
                weights={name: crop_weight(weight, margin - around) for name, weight in weights.items()},
            )

        def score(mono: Tensor, frames: Tensor | None = None) -> Tensor:
            around = (mono.shape[-1] - whole) // 2  # 0 or the margin
            original = original_mono[:, margin - around : margin + whole + around]
            heard = [n + 2 * around for n in lengths]
            at = when(around)
            value = self._listener.score(mono, offset, original, speed, heard, at, frames, notes.classes)
            notes.add(value.detach())
            return value

        look = None
        ear, first = self._listener.only_ear, offset if isinstance(offset, int) else offset[0]
        if ear is not None:
            look = Look(
                ear=ear,
                offset_frames=first,
                score=score,
                when=when,
                tell=notes.add,
                classes=lambda: notes.classes,
            )
        is_heard = [one.schedule.needs_sound(one.window_index) for one in filled for _ in range(groups)]

        window = Window(
            current=fold_channels(current, mode),
            context=context,
            margin=margin,
            n_valid=torch.tensor(lengths, device=self._device)[:, None, None].to(current.dtype),
            score=score,
            target=self._target_under(windows, current),
            step_index=step_index,
            sample_rate=self._listener.sample_rate,
            lanes=lanes,
            settings=self._settings,
            look=look,
            needs_sound=tuple(is_heard),
        )
        return window, notes

    def _offsets(self, step_index: int) -> int | tuple[int, ...]:
        if not self._settings.jitter:
            return 0
        return self._listener.draw_offsets(self._settings.seed, step_index)

    def _speed(self, step_index: int) -> float:
        most = self._settings.varispeed_octaves
        if most == 0.0:
            return 1.0
        draw = draw_integer(1 << 16, self._settings.seed, step_index, 1) / (1 << 15) - 1.0
        return float(2.0 ** (most * draw))

    def _moving(self, filled: Sequence[PendingStep], groups: int) -> dict[str, float | Tensor]:
        low, high = self._band_hz()
        values: dict[str, float | Tensor] = {"step": self._settings.step, "low_hz": low, "high_hz": high}
        under = [step.schedule.lanes_under(step.window_index) for step in filled]
        for name in under[0]:
            lane = torch.stack([lanes[name] for lanes in under])
            values[name] = lane.repeat_interleave(groups, dim=0)[:, None]
        network_low, network_high = self._listener.band_hz
        if isinstance(values["low_hz"], Tensor):
            values["low_hz"] = torch.clamp(values["low_hz"], min=network_low)
        if isinstance(values["high_hz"], Tensor):
            # As for the setting, 0 stands for the network's own edge.
            lane = values["high_hz"]
            values["high_hz"] = torch.where(lane > 0, torch.clamp(lane, max=network_high), network_high)
        return values

    def _target_under(self, windows: list[ScheduledWindow], current: Tensor) -> Tensor | None:
        if self._target is None:
            return None
        length, n_samples = self._target.shape[1], current.shape[-1]
        starts = [self._schedule.start_sample(window) for window in windows]
        positions = [torch.arange(s, s + n_samples, device=self._device) % length for s in starts]
        under = torch.stack([self._target[:, p].expand(self._n_channels, -1) for p in positions])
        return fold_channels(under, self._settings.stereo)

    def _band_hz(self) -> tuple[float, float]:
        half = self._listener.sample_rate / 2
        for network in self._listener.networks:  # one that hears nothing of the band has no say in it
            low, high = network.card.band_hz
            self._settings.check_band((low, min(high, half)), network.card.name)
        low, high = self._listener.band_hz
        return self._settings.check_band((low, min(high, half)), self._listener.name)

    def _collect_state(self, windows: list[ScheduledWindow], context: Tensor, groups: int) -> State:
        for n, held in enumerate(windows):
            if held.taken == 0 and not held.state:
                part = context[n * groups : (n + 1) * groups]
                held.state = self._update.begin(part, self._settings, self._listener.sample_rate)
        if len(windows) == 1:
            return windows[0].state
        return {key: torch.cat([held.state[key] for held in windows]) for key in windows[0].state}

    @property
    def _may_rest(self) -> bool:
        """Whether the objective may ask for nothing now and then."""
        return bool(self._weights or self._listener.objective.targets)
