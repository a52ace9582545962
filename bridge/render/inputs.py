"""Whether what a render reads is still what its plan was made with: a manifest vouches for nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bridge.envelopes.schema import Hearing
from bridge.errors import AudioFileError, InputError, PluginError, ProcessorError, RenderError
from bridge.files import hash_file, stamp_file
from bridge.plan.model import Plan, StemPlan
from bridge.presets.keyswitches import dreams_of
from bridge.presets.model import NodeSpec
from bridge.processors.catalogue import DREAMING

__all__ = ["check_after", "check_before", "check_network", "check_plugin", "check_weights"]


def check_before(stem: StemPlan) -> None:
    """Refuse a stem that has changed since the plan was made, before anything is written.

    A file of the same size and time is not read for this: `check_after` is for those.

    Raises:
        AudioFileError: It is gone or has changed.
    """
    if stem.is_silence:
        return
    source = Path(stem.source)
    try:
        is_same = stamp_file(source) == stem.stamp or hash_file(source) == stem.sha256
    except OSError:
        is_same = False
    if not is_same:
        raise AudioFileError(f"{source}: is gone or has changed since the plan was made; plan again")


def check_after(plan: Plan, stem: StemPlan, plugins: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse to vouch for a stem if anything it was made of is not what the plan says, to the last byte.

    Args:
        plan: The plan.
        stem: The stem, rendered.
        plugins: Identities of what was hosted, by node.

    Raises:
        RenderError: A stem, a network or a plugin is gone or has another hash.
    """
    sources = {other.name: other.source for other in plan.stems}
    heard = {**({} if stem.is_silence else {stem.name: stem.sha256}), **stem.reference_stems}
    try:
        for name, sha256 in heard.items():
            if name not in sources:
                raise AudioFileError(f"stem {name!r}, which is listened to, is not in the plan; plan again")
            if hash_file(Path(sources[name])) != sha256:
                raise AudioFileError(f"{sources[name]}: has changed since the plan was made; plan again")
        for node in plan.preset.chain:
            if node.use in DREAMING and node.enabled:
                check_network(plan, node)
            elif node.use == "grow" and node.enabled:
                check_weights(plan, [str(node.params.get("network", ""))], f"node {node.id!r}")
            elif node.id in plugins:
                check_plugin(plan, node, plugins[node.id]["sha256"])
        for modulator in plan.preset.modulators:
            if isinstance(modulator, Hearing):
                check_weights(plan, [modulator.network], f"modulator {modulator.id!r}")
    except OSError as error:
        raise RenderError(f"{error.filename}: is gone or cannot be read ({error.strerror})") from None
    except InputError as error:
        raise RenderError(str(error)) from None


def check_network(plan: Plan, node: NodeSpec) -> None:
    """Refuse a dream's network whose weights are not those of the plan.

    Raises:
        ProcessorError: They are not.
    """
    from bridge.processors.dream_needs import networks_of

    used = frozenset[str]().union(*(networks_of(own) for own in dreams_of(plan.preset, node)))
    check_weights(plan, sorted(used), f"node {node.id!r}")


def check_weights(plan: Plan, names: Iterable[str], where: str) -> None:
    """Refuse networks whose weights are not those of the plan.

    Args:
        plan: The plan.
        names: The networks.
        where: Who needs them.

    Raises:
        ProcessorError: They are not.
    """
    from bridge.processors.dream_needs import check_installed, hash_networks

    planned = [name for name in names if name in plan.networks]
    check_installed(planned)
    for name, sha256 in hash_networks(planned).items():
        if sha256 != plan.networks[name]:
            raise ProcessorError(
                f"{where}: the weights of network {name!r} have changed since the plan was made; plan again"
            )


def check_plugin(plan: Plan, node: NodeSpec, sha256: str) -> None:
    """Refuse a plugin that is not the one of the plan.

    Raises:
        PluginError: It is not.
    """
    planned = plan.plugins.get(node.plugin or "", sha256)
    if planned != sha256:
        raise PluginError(
            f"node {node.id!r}: {node.plugin} has changed since the plan was made (its binary has sha256 "
            f"{sha256[:16]}..., the plan {planned[:16]}...); plan again"
        )
