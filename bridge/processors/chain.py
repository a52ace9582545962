"""Chains: pedalboard's plugins and ours in one list, in series, with a mix at every node.

:class:`Chain` looks like :class:`pedalboard.Pedalboard` (a list of plugins that can be called) and takes
what a Pedalboard refuses: dreams, hosted plugins in processes of their own, other chains. Runs of plain
pedalboard plugins are handed to a real Pedalboard.

Nodes withhold different numbers of samples while they stream; dry signals and automation wait in queues, so
that everything meets at the sample it belongs to. A whole sound goes through node after node.

Threads may share a chain, or nodes of it, for whole sounds: they wait for each other. A stream belongs to the
thread that began it, and its nodes to its chain, until `flush` or `reset`; all else is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from typing import Any, cast, overload

import numpy as np
import numpy.typing as npt
import pedalboard

from bridge.arrays import AudioArray, Lane
from bridge.errors import ProcessorError, nearest_names
from bridge.parameters import ParamSpec, ParamValue, check_parameter
from bridge.processors.contract import DEFAULT_BUFFER_SIZE, DURING, MIX_SPEC, Processor, check_audio
from bridge.processors.pedalboard_plugin import PedalboardPlugin
from bridge.processors.silence import SilenceWatch
from bridge.processors.stream_guard import StreamGuard

__all__ = ["Chain", "Node"]


@dataclass(slots=True, kw_only=True)
class Node:
    """A processor's place in a chain.

    Args:
        processor: Ours, or a pedalboard plugin.
        name: How routes and errors call it; a chain makes one up where it is empty.
        mix: How much of the output is the processor's, 0..1.
        enabled: A disabled node passes the sound on untouched.
    """

    processor: Processor | pedalboard.Plugin
    name: str = ""
    mix: float = 1.0
    enabled: bool = True


Member = Processor | pedalboard.Plugin | Node


class _Queue:
    """Samples that wait, in order; the last axis is time."""

    def __init__(self) -> None:
        self._pieces: list[npt.NDArray[Any]] = []

    def push(self, piece: npt.NDArray[Any]) -> None:
        self._pieces.append(piece.copy())

    def pop(self, n_samples: int) -> npt.NDArray[Any]:
        whole = self._pieces[0] if len(self._pieces) == 1 else np.concatenate(self._pieces, axis=-1)
        self._pieces = [whole[..., n_samples:]]
        return whole[..., :n_samples]


class _Stage:
    """One processor, or a run of pedalboard's, with the dry sound that waits for it while it streams."""

    def __init__(
        self, processor: Processor, names: Sequence[str], mix: float, moving: Sequence[str], prefix: str = ""
    ) -> None:
        self.processor, self.names = processor, tuple(names)
        self._mix = mix
        own = [name.removeprefix(prefix) for name in moving if prefix and name.startswith(prefix)]
        self._lanes = {name: _Queue() for name in own}
        self._keys = {name: prefix + name for name in own}
        # A processor with a mix of its own (a chorus, a delay) keeps that name for itself.
        self._mixes = "mix" in own and "mix" not in processor.parameters
        self._is_gated = DURING in own
        self._needs_dry = mix != 1.0 or self._mixes or self._is_gated
        self._dry, self._mix_lane = _Queue(), _Queue()
        self._n_begun = -1
        self.watch: SilenceWatch | None = None
        self.rungs: dict[int, list[AudioArray]] = {}

    def whole(
        self, sound: AudioArray, sample_rate: float, buffer_size: int, automation: Mapping[str, Lane]
    ) -> AudioArray:
        """Process a whole sound."""
        lanes = {name: automation[key] for name, key in self._keys.items()}
        mix_lane = self._take_mix(lanes, sound.shape[1])
        wet = self.processor.process(sound, sample_rate, buffer_size, True, automation=lanes or None)
        if self._needs_dry:
            self._dry.push(sound)
            self._mix_lane.push(mix_lane)
        return self._blend(wet)

    def _take_mix(self, lanes: dict[str, Lane], n_samples: int) -> Lane:
        """Take out of a block's lanes what says how much of the node is heard."""
        mix = lanes.pop("mix") if self._mixes else np.full(n_samples, self._mix)
        return mix * lanes.pop(DURING) if self._is_gated else mix

    def take_lanes(self, automation: Mapping[str, Lane]) -> None:
        for name, queue in self._lanes.items():
            queue.push(automation[self._keys[name]])

    def push(self, block: AudioArray, sample_rate: float, buffer_size: int) -> AudioArray:
        lanes = {name: queue.pop(block.shape[1]) for name, queue in self._lanes.items()}
        mix_lane = self._take_mix(lanes, block.shape[1])
        if self._needs_dry:
            self._dry.push(block)
            self._mix_lane.push(mix_lane)
        if not block.shape[1]:
            return block
        if self.watch is None:
            self.watch = SilenceWatch(sample_rate)
            self.processor.reset()
        else:
            self._check_ownership()
        self.watch.push_input(block)
        wet = self.processor.process(block, sample_rate, buffer_size, False, automation=lanes or None)
        self._n_begun = self._count_begun()
        return self._blend(wet)

    def flush(self) -> AudioArray:
        if self.watch is not None:
            self._check_ownership()
        return self._blend(self.processor.flush())

    def _count_begun(self) -> int:
        guard = getattr(self.processor, "stream_guard", None)
        return guard.n_begun if isinstance(guard, StreamGuard) else -1

    def _check_ownership(self) -> None:
        if self._count_begun() != self._n_begun:
            raise ProcessorError(
                f"chain: node {self.names[0]!r} has been used elsewhere since this stream began, which ended "
                "it; give each chain a processor of its own"
            )

    def _blend(self, wet: AudioArray) -> AudioArray:
        take_ladder = getattr(self.processor, "take_ladder", dict)
        rungs: Mapping[int, AudioArray] = take_ladder()
        if self._needs_dry and wet.shape[1]:
            dry, mix = self._dry.pop(wet.shape[1]), self._mix_lane.pop(wet.shape[1]).astype(np.float32)
            wet = _mixed(wet, dry, mix)
            rungs = {depth: _mixed(rung, dry, mix) for depth, rung in rungs.items()}
        for depth, rung in rungs.items():
            self.rungs.setdefault(depth, []).append(rung)
        if self.watch is not None:
            self.watch.push_output(wet)
        return wet


def _mixed(wet: AudioArray, dry: AudioArray, mix: npt.NDArray[np.float32]) -> AudioArray:
    # All wet is exactly wet, all dry exactly dry: rounding must not tell.
    return np.where(mix == 1.0, wet, dry + mix * (wet - dry)).astype(np.float32)


class Chain(MutableSequence[Any]):
    """Processors in series; itself a processor.

    Args:
        members: Processors, pedalboard plugins or :class:`Node` records that add a name and a mix.

    >>> import numpy as np, pedalboard
    >>> chain = Chain([pedalboard.Gain(gain_db=0.0)])
    >>> chain(np.ones((2, 8), np.float32), 48000).shape
    (2, 8)
    """

    is_effect = True
    is_instrument = False

    def __init__(self, members: Iterable[Member] = ()) -> None:
        self.nodes: list[Node] = []
        self.stream_guard = StreamGuard()
        self._stages: list[_Stage] | None = None
        self._heard: list[_Stage] = []
        for member in members:
            self.append(member)
        self._shape = (0, 0.0)
        self._moving: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Chain({[node.processor for node in self.nodes]!r})"

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> MutableSequence[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Chain(self.nodes[index])
        processor = self.nodes[index].processor
        return processor.plugin if isinstance(processor, PedalboardPlugin) else processor

    def __setitem__(self, index: int | slice, member: Any) -> None:
        self._refuse_while_streaming()
        if isinstance(index, slice):
            self.nodes[index] = [self._node(one) for one in member]
        else:
            self.nodes[index] = self._node(member)

    def __delitem__(self, index: int | slice) -> None:
        self._refuse_while_streaming()
        del self.nodes[index]

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def insert(self, index: int, value: Member) -> None:
        """Put a processor before the one at `index`."""
        self._refuse_while_streaming()
        self.nodes.insert(index, self._node(value))

    def _refuse_while_streaming(self) -> None:
        if self._stages is not None:
            raise ProcessorError(
                "chain: fixed while a stream runs, samples would be lost; call reset() first"
            )

    def _node(self, member: Member) -> Node:
        node = member if isinstance(member, Node) else Node(processor=member)
        processor = node.processor
        if isinstance(processor, pedalboard.Plugin):
            processor = PedalboardPlugin(processor)
        elif not isinstance(processor, Processor):
            raise ProcessorError(
                f"a chain takes processors and pedalboard plugins; got {type(processor).__name__}. "
                "It needs process(), flush(), reset() and parameters as bridge.processors.contract says"
            )
        if not 0.0 <= node.mix <= 1.0:
            raise ProcessorError(f"mix = {node.mix:g} is outside 0..1")
        name = node.name or type(getattr(processor, "plugin", processor)).__name__.lower()
        taken = {other.name for other in self.nodes}
        if node.name and node.name in taken:
            raise ProcessorError(f"two nodes are called {node.name!r}; names must differ within a chain")
        unique, n = name, 2
        while unique in taken:
            unique, n = f"{name}{n}", n + 1
        return Node(processor=processor, name=unique, mix=node.mix, enabled=node.enabled)

    @property
    def latency_samples(self) -> int:
        """The sum of the nodes' latencies."""
        running = [stage.processor for stage in self._stages or ()]
        idle = [_processor(node) for node in self.nodes if node.enabled]
        return sum(processor.latency_samples for processor in (running or idle))

    @property
    def tail_seconds(self) -> float:
        """The sum of the nodes' tails."""
        return sum(_processor(node).tail_seconds for node in self.nodes if node.enabled)

    @property
    def parameters(self) -> Mapping[str, ParamSpec]:
        """Every node's parameters as ``node.parameter``, and ``node.mix``."""
        specs: dict[str, ParamSpec] = {}
        for node in self.nodes:
            specs[f"{node.name}.mix"] = MIX_SPEC
            for name, spec in _processor(node).parameters.items():
                specs[f"{node.name}.{name}"] = spec
        return specs

    def _find(self, name: str) -> tuple[Node, str]:
        node_name, _, parameter = name.partition(".")
        for node in self.nodes:
            if node.name == node_name and parameter:
                return node, parameter
        raise ProcessorError(f"chain: no parameter {name!r}; {nearest_names(name, self.parameters)}")

    def get_parameter(self, name: str) -> ParamValue:
        """Return the value of ``node.parameter``."""
        node, parameter = self._find(name)
        own = _processor(node)
        if parameter == "mix" and "mix" not in own.parameters:
            return node.mix
        return own.get_parameter(parameter)

    def set_parameter(self, name: str, value: ParamValue) -> None:
        """Set ``node.parameter``."""
        node, parameter = self._find(name)
        if parameter == "mix" and "mix" not in _processor(node).parameters:
            self._refuse_while_streaming()
            node.mix = float(check_parameter("mix", value, {"mix": MIX_SPEC}, node.name))
        else:
            _processor(node).set_parameter(parameter, value)

    def silent_nodes(self, lost_s: float) -> tuple[str, ...]:
        """Return where sound was lost in the running stream, or the last: the first node, or run of nodes.

        Args:
            lost_s: How many seconds of sound must have gone into digital silence.
        """
        for stage in self._heard:
            if stage.watch is not None and stage.watch.lost_s >= lost_s:
                return stage.names
        return ()

    def take_ladder(self) -> dict[int, AudioArray]:
        """Return what the dream with a ladder gave in a stream since the last call, at each of its depths.

        It has been through that node's mix, and through no node after it.
        """
        taken: dict[int, AudioArray] = {}
        for stage in self._heard:
            taken |= {depth: np.concatenate(pieces, axis=1) for depth, pieces in stage.rungs.items()}
            stage.rungs.clear()
        return taken

    def reset(self) -> None:
        """Forget every sample seen."""
        with self.stream_guard.whole("chain"):
            self._stages = None
            for node in self.nodes:
                _processor(node).reset()

    def process(
        self,
        input_array: AudioArray,
        sample_rate: float,
        buffer_size: int = DEFAULT_BUFFER_SIZE,
        reset: bool = True,
        *,
        automation: Mapping[str, Lane] | None = None,
    ) -> AudioArray:
        """Process audio; see the contract. Automation is by ``node.parameter``.

        ``node.during`` scales the mix of any node.
        """
        check_audio(input_array, "chain")
        lanes = automation or {}
        if not reset:
            with self.stream_guard.block("chain", begins=self._stages is None):
                return self._stream(input_array, sample_rate, buffer_size, lanes)
        with self.stream_guard.whole("chain"):
            self._stages = None
            moving = tuple(sorted(lanes))
            self._check_moving(moving)
            out = input_array
            for stage in self._build_stages(moving):
                out = stage.whole(out, sample_rate, buffer_size, lanes)
            return out.copy() if out is input_array else out

    __call__ = process

    def flush(self) -> AudioArray:
        """End the stream, node after node, and return the samples still withheld."""
        with self.stream_guard.whole("chain"):
            n_channels, sample_rate = self._shape
            pieces: list[AudioArray] = []
            stages, self._stages = self._stages or [], None
            for i, stage in enumerate(stages):
                block = stage.flush()
                for later in stages[i + 1 :]:
                    if not block.shape[1]:
                        break
                    block = later.push(block, sample_rate, DEFAULT_BUFFER_SIZE)
                if block.shape[1]:
                    pieces.append(block)
            return np.concatenate(pieces, axis=1) if pieces else np.zeros((n_channels, 0), np.float32)

    def _stream(
        self, block: AudioArray, sample_rate: float, buffer_size: int, automation: Mapping[str, Lane]
    ) -> AudioArray:
        moving = tuple(sorted(automation))
        if self._stages is None:
            self._check_moving(moving)
            self._stages = self._heard = self._build_stages(moving)
            self._shape, self._moving = (block.shape[0], float(sample_rate)), moving
        elif moving != self._moving:
            raise ProcessorError("chain: a stream must go on with the automation it began with; call reset()")
        for stage in self._stages:
            stage.take_lanes(automation)
        out = block.copy() if not self._stages else block
        for stage in self._stages:
            out = stage.push(out, sample_rate, buffer_size)
        return out

    def _check_moving(self, moving: Sequence[str]) -> None:
        known = self.parameters
        for name in moving:
            if name.endswith(f".{DURING}") and name.removesuffix(DURING) + "mix" in known:
                continue
            if name not in known:
                raise ProcessorError(f"chain: nothing to automate at {name!r}; {nearest_names(name, known)}")
            if known[name].automation == "none":
                raise ProcessorError(f"chain: {name!r} is fixed for a render and cannot be automated")

    def _build_stages(self, moving: Sequence[str]) -> list[_Stage]:
        stages: list[_Stage] = []
        run: list[Node] = []

        def close_run() -> None:
            natives = [cast(PedalboardPlugin, node.processor) for node in run]
            names = [node.name for node in run]
            if run:
                joined = natives[0] if len(run) == 1 else PedalboardPlugin.run(natives)
                stages.append(_Stage(joined, names, 1.0, ()))
                run.clear()

        for node in self.nodes:
            if not node.enabled:
                continue
            processor = _processor(node)
            is_still = not any(name.startswith(f"{node.name}.") for name in moving)
            can_join = isinstance(processor, PedalboardPlugin) and not processor.is_run_whole
            if can_join and node.mix == 1.0 and is_still:
                run.append(node)
                continue
            close_run()
            stages.append(_Stage(processor, [node.name], node.mix, moving, f"{node.name}."))
        close_run()
        return stages


def _processor(node: Node) -> Processor:
    assert not isinstance(node.processor, pedalboard.Plugin)
    return node.processor
