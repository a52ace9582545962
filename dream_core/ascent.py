"""Dream a whole sound in one call, and the table of updates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dream_core.errors import SettingError
from dream_core.grammar import parse_objective
from dream_core.legacy import Legacy
from dream_core.listener import Listener
from dream_core.mask import Mask
from dream_core.naming import nearest_names
from dream_core.networks.card import Network
from dream_core.settings import DreamSettings
from dream_core.stream import DreamStream
from dream_core.updates import Add, Gradient, Source, SpectralCut, Update

__all__ = ["build_update", "dream", "dream_each", "list_updates", "open_stream"]

_SOUND_CUT = {"operand": "sound", "phase": "sound"}


def _updates() -> dict[str, tuple[Update, str]]:
    cut: Callable[..., Update] = SpectralCut
    return {
        "mask": (Mask(), "turn the sound's own spectrum up and down; phase and energy stay"),
        "add": (Add(), "add the gradient (DeepDream, DreamSound's additive mode)"),
        "filter": (
            cut(operand="gradient", mask="gradient", phase="gradient", adds=True, expands=True),
            "add the gradient, expanded by its own loud bins (DreamSound 2020)",
        ),
        "hard_cut": (
            cut(mask="gradient", adds=False, **_SOUND_CUT),
            "keep of the sound only what the gradient is loud in",
        ),
        "hard_cut_add": (
            cut(mask="gradient", adds=True, **_SOUND_CUT),
            "add to the sound what the gradient is loud in",
        ),
        "hard_cut_add_swapped": (
            cut(operand="gradient", mask="sound", phase="gradient", adds=True),
            "add the gradient where the sound is loud",
        ),
        "target_text": (
            cut(operand="gradient", mask="target", phase="target", adds=True),
            "add the gradient where another sound is loud, with that sound's phase",
        ),
        "target_figure": (
            cut(operand="target", mask="gradient", phase="target", adds=True),
            "add of another sound what the gradient is loud in",
        ),
        "target_gradient": (
            cut(operand="gradient", mask="target_gradient", phase="target_gradient", adds=True),
            "add the gradient where another sound's gradient is loud",
        ),
        "gradient": (Gradient(), "the gradient alone, stepping on itself"),
        **_legacy(),
    }


def _legacy() -> dict[str, tuple[Update, str]]:
    table: dict[str, tuple[Update, str]] = {}
    for output_type in range(4):
        for has_target in (False, True) if output_type >= 2 else (False,):
            for flip in (False, True):
                name = f"legacy_0163_{output_type}" + "_target" * has_target + "_flip" * flip
                text = f"dreamsound 0.1.6.3, output type {output_type}, as it was published"
                table[name] = (Legacy(output_type, flip=flip, needs_target=has_target), text)
    return table


def list_updates() -> dict[str, str]:
    """Return every update's name and what it does.

    >>> "mask" in list_updates()
    True
    """
    return {name: text for name, (_, text) in _updates().items()}


def build_update(name: str) -> Update:
    """Return the update of a name, or of a cut that is spelt out.

    Args:
        name: From :func:`list_updates`, or ``cut:OPERAND:MASK:PHASE:add``: whose magnitudes pass, whose loud
            bins open the cut, whose phase the result takes (each ``sound``, ``gradient``, ``target`` or
            ``target_gradient``), and whether the result is added (``add``) or takes the sound's place
            (``replace``: the next step then works on the result). ``expand:`` in place of ``cut:`` weighs
            by the mask's own power, as the 2020 filter does.

    Raises:
        SettingError: There is none.

    >>> build_update("cut:gradient:sound:gradient:add") == build_update("hard_cut_add_swapped")
    True
    """
    if name.startswith(("cut:", "expand:")):
        return _spelt_cut(name)
    updates = _updates()
    if name not in updates:
        raise SettingError(f"no update is called {name!r}; {nearest_names(name, updates)}")
    return updates[name][0]


def _spelt_cut(name: str) -> SpectralCut:
    kind, *words = name.split(":")
    sources: tuple[Source, ...] = get_args(Source)
    if len(words) != 4 or words[3] not in ("add", "replace"):
        raise SettingError(
            f"update {name!r}: write it as {kind}:OPERAND:MASK:PHASE:add or {kind}:OPERAND:MASK:PHASE:replace"
        )
    for word in words[:3]:
        if word not in sources:
            raise SettingError(f"update {name!r}: {word!r} is no source; {nearest_names(word, sources)}")
    operand, mask, phase = (cast(Source, word) for word in words[:3])
    return SpectralCut(
        operand=operand, mask=mask, phase=phase, adds=words[3] == "add", expands=kind == "expand"
    )


def open_stream(
    network: Network,
    settings: DreamSettings,
    sample_rate: int,
    n_channels: int,
    *,
    references: Mapping[str, npt.NDArray[np.float32]] | None = None,
    target: str | None = None,
    **options: Any,
) -> DreamStream:
    """Open a stream that dreams a sound arriving in blocks.

    Args:
        network: From :func:`dream_core.load_network`.
        settings: The dream's settings.
        sample_rate: Hz, of the sound.
        n_channels: Channels of the sound.
        references: Other sounds by name, ``(channels, samples)`` at the same rate.
        target: Which reference the targeted updates use.
        options: Passed to :class:`DreamStream`.

    Raises:
        DreamError: The settings do not fit the network or each other.
    """
    if not _is_sample_rate(sample_rate):
        raise SettingError(f"sample_rate = {sample_rate!r}; a whole number of Hz, 4000..768000, is accepted")
    device = network.device
    sounds = {name: _check_reference(name, sound).to(device) for name, sound in (references or {}).items()}
    if target is not None and target not in sounds:
        raise SettingError(f"no reference sound is called {target!r}; {nearest_names(target, sounds)}")
    listener = Listener(
        network,
        parse_objective(settings.objective),
        sample_rate,
        {name: sound.mean(dim=0) for name, sound in sounds.items()},
    )
    return DreamStream(
        listener,
        build_update(settings.update),
        settings,
        n_channels,
        device,
        target=None if target is None else sounds[target],
        **options,
    )


def dream(
    sound: npt.NDArray[np.float32],
    sample_rate: int,
    network: Network,
    settings: DreamSettings | None = None,
    depth: float | npt.NDArray[np.floating[Any]] = 10.0,
    **options: Any,
) -> npt.NDArray[np.float32]:
    """Dream a whole sound.

    Args:
        sound: ``(channels, samples)`` float32.
        sample_rate: Hz.
        network: From :func:`dream_core.load_network`.
        settings: The dream's settings; None takes the defaults.
        depth: Steps, one number or one for each sample; where it is 0 the sound stays bit for bit.
        options: Passed to :func:`open_stream`.

    Shape:
        ``(channels, samples)`` -> ``(channels, samples)``.

    Raises:
        DreamError: The settings do not fit, or the dream is not finite.
    """
    samples = _check_sound(sound)
    n_channels, n_samples = samples.shape
    steps = np.asarray(depth, dtype=np.float64)
    if steps.shape not in ((), (n_samples,)):
        raise SettingError(
            f"depth has shape {steps.shape}; one number, or one for each of the sound's {n_samples} samples, "
            "is accepted"
        )
    stream = open_stream(network, settings or DreamSettings(), sample_rate, n_channels, **options)
    depths = torch.as_tensor(np.broadcast_to(steps, (n_samples,)).copy())
    block = stream.window_samples * stream.batch
    done = [
        stream.push(samples[:, start : start + block], depths[start : start + block])
        for start in range(0, n_samples, block)
    ]
    done.append(stream.finish())
    dreamed: npt.NDArray[np.float32] = torch.cat(done, 1).cpu().numpy()
    return dreamed


def dream_each(
    sound: npt.NDArray[np.float32],
    sample_rate: int,
    network: Network,
    objectives: Sequence[str] = (),
    settings: DreamSettings | None = None,
    depth: float | npt.NDArray[np.floating[Any]] = 10.0,
    **options: Any,
) -> npt.NDArray[np.float32]:
    """Dream a sound once for each objective and add up what the dreams change.

    Layers dreamed apart keep a voice of their own, where the gradient of their sum would be the strongest
    one's. The DreamSound notebook does so with the last three layers, which is the default here; it adds
    up whole sounds, here the sound itself is counted once.

    Args:
        sound: ``(channels, samples)`` float32.
        sample_rate: Hz.
        network: From :func:`dream_core.load_network`.
        objectives: What each dream maximises; none takes the network's last three layers.
        settings: The dreams' settings but for the objective; None takes the defaults.
        depth: Steps, as in :func:`dream`.
        options: Passed to :func:`open_stream`.

    Shape:
        ``(channels, samples)`` -> ``(channels, samples)``.

    Raises:
        DreamError: As :func:`dream`.
    """
    base = settings or DreamSettings()
    change = np.zeros(_check_sound(sound).shape, np.float32)
    for objective in objectives or [f"layer:{info.name}" for info in network.card.layers[-3:]]:
        change += (
            dream(sound, sample_rate, network, replace(base, objective=objective), depth, **options) - sound
        )
    dreamed: npt.NDArray[np.float32] = sound + change
    return dreamed


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
        raise SettingError(f"reference {name!r} {what}; give a sound that can be heard")
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
