"""Every update by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast, get_args

from dream_core.errors import SettingError
from dream_core.names import nearest_names
from dream_core.networks.card import NetworkCard
from dream_core.settings import DreamSettings, StepRule
from dream_core.updates.additive import Add, Gradient
from dream_core.updates.contract import Update
from dream_core.updates.harmonic import Harmonic
from dream_core.updates.hear import Hear
from dream_core.updates.legacy_0163 import Legacy
from dream_core.updates.legacy_2020 import KINDS_2020, Legacy2020
from dream_core.updates.mask import Mask
from dream_core.updates.mel import Mel
from dream_core.updates.spectral_cut import Base, Source, SpectralCut

__all__ = ["build_update", "check_networks", "list_updates"]

_SOUND_CUT = {"operand": "sound", "phase": "sound"}


def _updates() -> dict[str, tuple[Update, str]]:
    cut: Callable[..., Update] = SpectralCut
    return {
        "mask": (Mask(), "turn the sound's own spectrum up and down; phase and energy stay"),
        "harmonic": (
            Harmonic(),
            "turn partials of the sound's pitch and bands of noise up and down; in tune",
        ),
        "mel": (Mel(), "ascend on the frames the network looks at, and come back to sound: many cheap steps"),
        "hear": (Hear(), "play of the sound what the network answers to"),
        "hear_inverted": (Hear(is_inverted=True), "play of the sound what the network does not answer to"),
        "add": (Add(), "add the gradient (DeepDream, DreamSound's additive mode)"),
        "filter": (
            cut(operand="gradient", mask="gradient", phase="gradient", adds=True, expands=True),
            "add the gradient, expanded by its own loud bins (DreamSound 2020)",
        ),
        "filter_swapped": (
            cut(mask="sound", adds=True, expands=True, base="gradient", **_SOUND_CUT),
            "the gradient, with the sound's own loud bins added to it (DreamSound 2020, swapped)",
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
    for kind in KINDS_2020:
        text = "the gradient alone" if kind == "gradient" else f"output type {kind}"
        table[f"legacy_2020_{kind}"] = (
            Legacy2020(kind),
            f"the DreamSound of 2020, {text}, as it was published",
        )
    return table


def list_updates() -> dict[str, str]:
    """Return every update's name and what it does.

    >>> "mask" in list_updates()
    True
    """
    return {name: text for name, (_, text) in _updates().items()}


def build_update(name: str | StepRule) -> Update:
    """Return the update of a name, or of a cut that is spelt out.

    Args:
        name: From :func:`list_updates`, or ``cut:OPERAND:MASK:PHASE:add[:BASE]``: whose magnitudes pass,
            whose loud bins open the cut, whose phase the result takes (each ``sound``, ``gradient``,
            ``target`` or ``target_gradient``), and whether the result is added (``add``; to the ``sound``, or
            where a fifth word says so to the ``gradient``) or takes the sound's place (``replace``: the next
            step then works on the result). ``expand:`` in place of ``cut:`` weighs by the mask's own power,
            as the 2020 filter does. An update itself is returned as it is.

    Raises:
        SettingError: There is none.

    >>> build_update("cut:gradient:sound:gradient:add") == build_update("hard_cut_add_swapped")
    True
    >>> build_update("expand:sound:sound:sound:add:gradient") == build_update("filter_swapped")
    True
    """
    if not isinstance(name, str):
        return cast(Update, name)
    if name.startswith(("cut:", "expand:")):
        return _spelt_cut(name)
    updates = _updates()
    if name not in updates:
        raise SettingError(f"no update is called {name!r}; {nearest_names(name, updates)}")
    return updates[name][0]


def check_networks(update: Update, cards: Sequence[NetworkCard], settings: DreamSettings) -> None:
    """Raise where an update cannot work with the networks that listen, or with other settings.

    Raises:
        SettingError: It cannot.
    """
    check = getattr(update, "check_networks", None)
    if check is not None:
        check(cards, settings)


def _spelt_cut(name: str) -> SpectralCut:
    kind, *words = name.split(":")
    sources: tuple[Source, ...] = get_args(Source)
    bases: tuple[Base, ...] = get_args(Base)
    is_added = len(words) in (4, 5) and words[3] == "add"
    if not is_added and not (len(words) == 4 and words[3] == "replace"):
        raise SettingError(
            f"update {name!r}: write it as {kind}:OPERAND:MASK:PHASE:add[:BASE] or "
            f"{kind}:OPERAND:MASK:PHASE:replace"
        )
    for word in words[4:]:
        if word not in bases:
            raise SettingError(f"update {name!r}: {word!r} is not a base; {nearest_names(word, bases)}")
    for word in words[:3]:
        if word not in sources:
            raise SettingError(f"update {name!r}: {word!r} is not a source; {nearest_names(word, sources)}")
    operand, mask, phase = (cast(Source, word) for word in words[:3])
    return SpectralCut(
        operand=operand,
        mask=mask,
        phase=phase,
        adds=is_added,
        expands=kind == "expand",
        base=cast(Base, words[4]) if len(words) == 5 else "sound",
    )
