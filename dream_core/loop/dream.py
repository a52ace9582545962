"""Dream a whole sound in one call, or open a stream for one that arrives in blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dream_core.errors import SettingError
from dream_core.loop.pending_steps import StepReport
from dream_core.loop.shared_batches import SharedBatches
from dream_core.loop.stream import DreamStream
from dream_core.names import nearest_names
from dream_core.networks.card import Network
from dream_core.networks.registry import load_network
from dream_core.objectives.listener import Listener
from dream_core.objectives.objective import Objective
from dream_core.objectives.parse import parse_objective
from dream_core.objectives.targets import Targets
from dream_core.settings import DEFAULT_DEPTH, DreamSettings
from dream_core.updates.legacy_0163 import Legacy
from dream_core.updates.registry import build_update, check_networks

__all__ = ["dream", "dream_each", "open_stream"]


def open_stream(
    network: Network,
    settings: DreamSettings,
    sample_rate: int,
    n_channels: int,
    *,
    references: Mapping[str, npt.NDArray[np.float32]] | None = None,
    target: str | None = None,
    targets: Mapping[str, Targets] | None = None,
    weights: Mapping[str, float] | None = None,
    networks: Mapping[str, Network] | None = None,
    batch: int | None = None,
    first_step: int = 0,
    on_step: Callable[[StepReport], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
    on_warning: Callable[[str], None] | None = None,
    shared_batches: SharedBatches | None = None,
) -> DreamStream:
    """Open a stream that dreams a sound arriving in blocks.

    Args:
        network: From :func:`dream_core.load_network`.
        settings: The dream's settings.
        sample_rate: Hz, of the sound.
        n_channels: Channels of the sound.
        references: Other sounds by name, ``(channels, samples)`` at the same rate.
        target: Which reference the targeted updates use.
        targets: What is wanted over time, by name, for objectives of notes.
        weights: How much the objective's named weights are, 0..1, where no lane moves them.
        networks: Other networks that the objective names; those it names and that are not here are loaded.
        batch: How many windows step together; None chooses by device.
        first_step: Index of the first step, to continue an earlier run with the same jitter.
        on_step: Called after every step of every window.
        is_cancelled: Asked before every batch; true stops with :class:`CancelledError`.
        on_warning: Called with one line when something had to be given up (a smaller batch).
        shared_batches: Shared with streams of other threads, so that their windows step in one batch.

    Raises:
        DreamError: The settings do not fit the network or each other.
    """
    if not _is_sample_rate(sample_rate):
        raise SettingError(f"sample_rate = {sample_rate!r}; a whole number of Hz, 4000..768000, is accepted")
    if not hasattr(network, "card"):
        raise SettingError(
            f"the network is {_type_name(network)}; give one that load_network returns, or make one of a "
            "Torch module: dream_core.wrap(module, sample_rate=...)"
        )
    device = network.device
    sounds = {name: _check_reference(name, sound).to(device) for name, sound in (references or {}).items()}
    if target is not None and target not in sounds:
        raise SettingError(f"no reference sound is called {target!r}; {nearest_names(target, sounds)}")
    objective = parse_objective(settings.objective)
    objective.check_speed(settings.varispeed_octaves)
    listener = Listener(
        network,
        objective,
        sample_rate,
        {name: sound.mean(dim=0) for name, sound in sounds.items()},
        others=_load_others(objective, network, networks or {}),
        patch_hop_frames=settings.patch_hop,
        touched_hz=(settings.low_hz, settings.high_hz or math.inf),
        targets=targets,
    )
    update = build_update(settings.update)
    check_networks(update, [one.card for one in listener.networks], settings)
    if getattr(update, "needs_frames", False) and listener.only_ear and not listener.only_ear.mel_hearing:
        raise SettingError(
            f"update {settings.update!r} ascends on a network's log-mel frames; {network.card.name!r} does "
            "not offer them (dream_core.networks.card.MelHearing says how). Use update 'mask'"
        )
    if isinstance(update, Legacy) and on_warning is not None:
        others = update.deviations(settings, objective.text, network.card.name, sample_rate)
        if others:
            on_warning(f"update {settings.update!r} repeats its package only with {', '.join(others)}")
    return DreamStream(
        listener,
        update,
        settings,
        n_channels,
        device,
        target=None if target is None else sounds[target],
        weights=weights,
        batch=batch,
        first_step=first_step,
        on_step=on_step,
        is_cancelled=is_cancelled,
        on_warning=on_warning,
        shared_batches=shared_batches,
    )


def dream(
    sound: npt.NDArray[np.float32],
    sample_rate: int,
    network: Network,
    settings: DreamSettings | None = None,
    depth: float | npt.NDArray[np.floating[Any]] = DEFAULT_DEPTH,
    *,
    f0_hz: float | npt.NDArray[np.floating[Any]] | None = None,
    references: Mapping[str, npt.NDArray[np.float32]] | None = None,
    target: str | None = None,
    targets: Mapping[str, Targets] | None = None,
    weights: Mapping[str, float | npt.NDArray[np.floating[Any]]] | None = None,
    networks: Mapping[str, Network] | None = None,
    batch: int | None = None,
    first_step: int = 0,
    on_step: Callable[[StepReport], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
    on_warning: Callable[[str], None] | None = None,
    shared_batches: SharedBatches | None = None,
) -> npt.NDArray[np.float32]:
    """Dream a whole sound.

    Args:
        sound: ``(channels, samples)`` float32.
        sample_rate: Hz.
        network: From :func:`dream_core.load_network`.
        settings: The dream's settings; None takes the defaults.
        depth: Steps, one number or one for each sample; where it is 0 the sound stays bit for bit.
        f0_hz: The sound's pitch, one number or one for each sample, 0 where it has none; for ``harmonic``.
        references: Other sounds by name, ``(channels, samples)`` at the same rate.
        target: Which reference the targeted updates use.
        targets: What is wanted over time, by name, for objectives of notes.
        weights: How much the objective's named weights are, 0..1, one number or one for each sample.
        networks: Other networks that the objective names; those it names and that are not here are loaded.
        batch: As in :func:`open_stream`, like all that follow.
        first_step: Index of the first step.
        on_step: Called after every step of every window.
        is_cancelled: Asked before every batch.
        on_warning: Called with one line when something had to be given up.
        shared_batches: Shared with other threads.

    Shape:
        ``(channels, samples)`` -> ``(channels, samples)``.

    Raises:
        DreamError: The settings do not fit, or the dream is not finite.
    """
    samples = _check_sound(sound)
    n_channels, n_samples = samples.shape
    depths = _lane("depth", depth, n_samples)
    moves = {name: value for name, value in (weights or {}).items() if np.ndim(value)}
    lanes = {name: _lane(name, value, n_samples) for name, value in moves.items()}
    if f0_hz is not None:
        lanes["f0_hz"] = _lane("f0_hz", f0_hz, n_samples)
    still = {name: 0.0 if name in moves else float(value) for name, value in (weights or {}).items()}
    stream = open_stream(
        network,
        settings or DreamSettings(),
        sample_rate,
        n_channels,
        references=references,
        target=target,
        targets=targets,
        weights=still,
        networks=networks,
        batch=batch,
        first_step=first_step,
        on_step=on_step,
        is_cancelled=is_cancelled,
        on_warning=on_warning,
        shared_batches=shared_batches,
    )
    if on_step is not None:
        stream.count_steps(samples, depths)
    block = stream.window_samples * stream.batch
    done = []
    for part in (slice(start, start + block) for start in range(0, n_samples, block)):
        moving = {name: lane[part] for name, lane in lanes.items()}
        done.append(stream.push(samples[:, part], depths[part], moving))
    done.append(stream.finish())
    dreamed: npt.NDArray[np.float32] = torch.cat(done, 1).cpu().numpy()
    return dreamed


def dream_each(
    sound: npt.NDArray[np.float32],
    sample_rate: int,
    network: Network,
    objectives: Sequence[str | Objective] = (),
    settings: DreamSettings | None = None,
    depth: float | npt.NDArray[np.floating[Any]] = DEFAULT_DEPTH,
    *,
    f0_hz: float | npt.NDArray[np.floating[Any]] | None = None,
    references: Mapping[str, npt.NDArray[np.float32]] | None = None,
    target: str | None = None,
    targets: Mapping[str, Targets] | None = None,
    weights: Mapping[str, float | npt.NDArray[np.floating[Any]]] | None = None,
    networks: Mapping[str, Network] | None = None,
    batch: int | None = None,
    first_step: int = 0,
    on_step: Callable[[StepReport], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
    on_warning: Callable[[str], None] | None = None,
    shared_batches: SharedBatches | None = None,
) -> npt.NDArray[np.float32]:
    """Dream a sound once for each objective and add up what the dreams change.

    Layers dreamed apart keep a voice of their own, where the gradient of their sum would be the strongest
    one's. The DreamSound notebook does so with the strongest unit of each of the last three layers, which is
    the default here; it adds up whole sounds, here the sound itself is counted once.

    Args:
        sound: ``(channels, samples)`` float32.
        sample_rate: Hz.
        network: From :func:`dream_core.load_network`.
        objectives: What each dream maximises, such as ``layer:NAME`` for a layer's mean; none takes
            ``channel:LAYER:auto`` of the network's last three layers.
        settings: The dreams' settings but for the objective; None takes the defaults.
        depth: Steps, as in :func:`dream`.
        f0_hz: As in :func:`dream`.
        references: Other sounds by name, ``(channels, samples)`` at the same rate.
        target: Which reference the targeted updates use.
        targets: What is wanted over time, by name, for objectives of notes.
        weights: How much the objective's named weights are, 0..1, one number or one for each sample.
        networks: Other networks that the objective names; those it names and that are not here are loaded.
        batch: As in :func:`open_stream`, like all that follow.
        first_step: Index of the first step.
        on_step: Called after every step of every window.
        is_cancelled: Asked before every batch.
        on_warning: Called with one line when something had to be given up.
        shared_batches: Shared with other threads.

    Shape:
        ``(channels, samples)`` -> ``(channels, samples)``.

    Raises:
        DreamError: As :func:`dream`.
    """
    base = settings or DreamSettings()
    change = np.zeros(_check_sound(sound).shape, np.float32)
    wanted = list(objectives or [f"channel:{info.name}:auto" for info in network.card.layers[-3:]])
    named = [set(parse_objective(objective).weights) for objective in wanted]
    for index, objective in enumerate(wanted):
        # One that no objective names goes to the first, which says so.
        others = set[str]().union(*named) - named[index]
        own = {name: value for name, value in (weights or {}).items() if name not in others}
        one = dream(
            sound,
            sample_rate,
            network,
            replace(base, objective=objective),
            depth,
            f0_hz=f0_hz,
            references=references,
            target=target,
            targets=targets,
            weights=own,
            networks=networks,
            batch=batch,
            first_step=first_step,
            on_step=None if on_step is None else partial(_tell_of_all, on_step, index, len(wanted)),
            is_cancelled=is_cancelled,
            on_warning=on_warning,
            shared_batches=shared_batches,
        )
        change += one - sound
    dreamed: npt.NDArray[np.float32] = sound + change
    return dreamed


def _lane(name: str, values: object, n_samples: int) -> Tensor:
    """Return one value a sample."""
    given = np.asarray(values, dtype=np.float64)
    if given.shape not in ((), (n_samples,)):
        raise SettingError(
            f"{name} has shape {given.shape}; one number, or one for each of the {n_samples} samples, "
            "is accepted"
        )
    return torch.as_tensor(np.broadcast_to(given, (n_samples,)).copy())


def _load_others(objective: Objective, network: Network, given: Mapping[str, Network]) -> dict[str, Network]:
    """Return the other networks an objective names, on the device of the dream's own."""
    for name, one in given.items():
        if not hasattr(one, "card"):
            raise SettingError(
                f"networks[{name!r}] is {_type_name(one)}; give a network, as load_network returns"
            )
        if name == network.card.name and one is not network:
            raise SettingError(
                f"networks[{name!r}] has the name of the dream's own network; give one of them another name "
                "(dream_core.wrap(..., name=...)), so that the objective can tell them apart"
            )
    names = [name for name in objective.networks if name not in ("", network.card.name)]
    return {
        name: given[name] if name in given else load_network(name, device=network.device) for name in names
    }


def _tell_of_all(on_step: Callable[[StepReport], None], index: int, n: int, report: StepReport) -> None:
    """Tell of a step of one of several dreams, which take as many steps each."""
    if report.total_steps is not None:
        done, total = index * report.total_steps + report.done_steps, n * report.total_steps
        report = replace(report, done_steps=done, total_steps=total)
    on_step(report)


def _type_name(value: object) -> str:
    return f"of type {type(value).__name__}"


def _is_sample_rate(sample_rate: object) -> bool:
    """Say whether a number can be a sound's sample rate."""
    is_whole = isinstance(sample_rate, (int, np.integer)) and not isinstance(sample_rate, bool)
    return is_whole and 4000 <= int(cast(int, sample_rate)) <= 768000


def _check_reference(name: str, sound: object) -> Tensor:
    try:
        reference = _check_sound(sound).to(torch.float32)
    except SettingError as error:
        raise SettingError(f"reference {name!r}: {error}") from None
    if not reference.shape[1] or not bool(torch.isfinite(reference).all()):
        what = "holds values that are not finite" if reference.shape[1] else "is empty"
        raise SettingError(f"reference {name!r} {what}; give a sound with finite samples")
    return reference


def _check_sound(sound: object) -> Tensor:
    if not isinstance(sound, np.ndarray) or sound.ndim != 2 or not len(sound):
        given = f"an array of shape {sound.shape}" if isinstance(sound, np.ndarray) else type(sound).__name__
        raise SettingError(
            f"the sound is {given}; an array (channels, samples) is accepted. For mono, pass sound[None, :]."
        )
    if not np.issubdtype(sound.dtype, np.floating):
        raise SettingError(f"the sound's samples are {sound.dtype}; float32 with full scale 1 is accepted")
    return torch.as_tensor(sound)
