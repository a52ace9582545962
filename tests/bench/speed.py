"""How fast dreams run, next to what the machine can do at all, measured in the same run.

    python tests/bench/speed.py [--device cuda] [--threads 2] [--out tests/bench/speed.md]

Times are the fastest of several that take turns; what counts are the ratios. Each time has the error of the
same work beside it: the relative difference of its result to float64.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dream_core import DreamSettings, dream, load_network, parse_objective, resolve_device, set_threads
from dream_core.errors import DreamError
from dream_core.frontend.patches import slice_patches
from dream_core.networks.card import Network
from dream_core.objectives.listener import Listener
from dream_core.objectives.taps import tap
from dream_core.runtime import default_threads

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = ROOT.parent / "shared"
RATE = 44100
OBJECTIVES = {"timbre": "layer:block3", "texture": "layer:frames8", "yamnet": "class:auto"}


def fastest_s(work: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Return the shortest of several times, after one that does not count."""
    work()
    times = []
    for _ in range(repeats):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)


def make_sound(seconds: float, n_channels: int = 1, rate: int = RATE) -> np.ndarray:
    """A gliding chord over noise."""
    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * rate)) / rate
    chord = sum(np.sin(2 * np.pi * f * t * (1 + 0.01 * t)) for f in (110, 277, 880))
    return (0.1 * chord + 0.02 * rng.standard_normal((n_channels, len(t)))).astype(np.float32)


def limit_convolution(device: torch.device) -> tuple[nn.Conv2d, torch.Tensor, float]:
    """Return a convolution that a machine computes as fast as any, an input, and its operations."""
    conv = nn.Conv2d(128, 128, 3, padding=1, bias=False).to(device, memory_format=torch.channels_last)
    image = torch.randn(8, 128, 48, 32, device=device).contiguous(memory_format=torch.channels_last)
    return conv.requires_grad_(False), image, 2 * 8 * 128 * 128 * 9 * 48 * 32


def limits(device: torch.device) -> dict[str, float]:
    """Return the machine's own limits: GFLOP/s of convolution and products, GB/s of copies."""
    conv, image, conv_flop = limit_convolution(device)
    n = 8192 if device.type == "cuda" else 1024
    a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    big = torch.randn(1 << 24, device=device)
    found = {}
    with torch.no_grad():
        found["convolution fp32"] = conv_flop / fastest_s(lambda: conv(image), device) / 1e9
        found["product fp32"] = 2 * n**3 / fastest_s(lambda: a @ b, device) / 1e9
        if device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = True
            found["product tf32"] = 2 * n**3 / fastest_s(lambda: a @ b, device) / 1e9
            torch.backends.cuda.matmul.allow_tf32 = False
        half_a, half_b = a.bfloat16(), b.bfloat16()
        found["product bf16"] = 2 * n**3 / fastest_s(lambda: half_a @ half_b, device) / 1e9
        found["copy GB/s"] = 2 * big.nbytes / fastest_s(lambda: big.clone(), device) / 1e9
    return found


YAMNET_MACS_PER_PATCH = 69.165e6
AIMS = """Aims: YAMNet at a patch hop of 10 frames within 2.2 times the limit, at the default hop (48) 30 ms
where the limit is 484 GFLOP/s; an envelope that is on a quarter of the time within 0.35 of one that always
is; no collapse beside a busy process; on an H200, four minutes of stereo at depth 10 within 2 s."""

REFERENCE_GFLOPS = 484.0
"""The limit of the machine on which a step at the default hop was to take 30 ms."""


def fastest_together_s(
    works: dict[str, Callable[[], object]], device: torch.device, repeats: int = 7
) -> dict[str, float]:
    """Return the shortest time of each of several works; they take turns, so other programs hit all alike."""
    fastest = dict.fromkeys(works, float("inf"))
    for _ in range(repeats):
        for name, work in works.items():
            fastest[name] = min(fastest[name], fastest_s(work, device, repeats=1))
    return fastest


def bench_yamnet_gradient(device: torch.device) -> list[str]:
    """Time the gradient of 10 s to the waveform at a dense and at the default patch hop, beside the limit.

    The grid lies elsewhere each time, as in a dream.
    """
    weights = SHARED / "weights" / "yamnet.h5"
    try:
        network = load_network("yamnet", weights=weights if weights.exists() else None)
        precise = load_network("yamnet", weights=weights if weights.exists() else None, dtype=torch.float64)
    except DreamError as error:
        return [f"YAMNet is left out: {error}", ""]
    network = network.to(device)  # type: ignore[attr-defined]
    sound = torch.from_numpy(make_sound(10.0, rate=16000)).to(device)

    rng = np.random.default_rng(0)

    def gradient(hop_frames: int, net: Network, x: torch.Tensor, offset: int = 0) -> torch.Tensor:
        leaf = x.detach().requires_grad_(True)
        log_mel = net.log_mel(leaf)  # type: ignore[attr-defined]
        patches = slice_patches(log_mel, 96, hop_frames, offset, fill=net.silence)[0]  # type: ignore[attr-defined]
        return torch.autograd.grad(net(patches).amax(dim=1).sum(), leaf)[0]

    conv, image, conv_flop = limit_convolution(device)
    works: dict[str, Callable[[], object]] = {"limit": lambda: conv(image)}

    def moved(hop: int) -> Callable[[], object]:
        return lambda: gradient(hop, network, sound, int(rng.integers(hop)))

    works |= {str(hop): moved(hop) for hop in (10, 48, 96)}
    took = fastest_together_s(works, device)
    limit_gflops = conv_flop / took["limit"] / 1e9
    lines = [
        f"Convolution reached {limit_gflops:.0f} GFLOP/s in the same turns.",
        "",
        "| patch hop | patches | ms a step | limit ms | times the limit | ms at 484 GFLOP/s | error |",
        "|---|" + "---:|" * 6,
    ]
    for hop in (10, 48, 96):
        n_patches = slice_patches(network.log_mel(sound), 96, hop, fill=network.silence).shape[1]  # type: ignore[attr-defined]
        seconds = took[str(hop)]
        # Forward and backward to the input: four floating-point operations a multiply-add.
        flop = 4 * YAMNET_MACS_PER_PATCH * n_patches
        ratio = seconds / (flop / (limit_gflops * 1e9))
        exact = gradient(hop, precise, sound.double().cpu())
        error = float((gradient(hop, network, sound).cpu() - exact).norm() / exact.norm())
        lines.append(
            f"| {hop} frames | {n_patches} | {1e3 * seconds:.1f} | {1e3 * seconds / ratio:.1f} | "
            f"{ratio:.2f} | {1e3 * ratio * flop / (REFERENCE_GFLOPS * 1e9):.1f} | {error:.1e} |"
        )
    return [*lines, ""]


def bench_networks(device: torch.device) -> list[str]:
    """Time a step of every network and update, as seconds of sound times steps a second."""
    lines = ["| network | update | sound x steps / s | error of the change |", "|---|---|---:|---:|"]
    sound = make_sound(8.0)
    for name, objective in OBJECTIVES.items():
        weights = SHARED / "weights" / "yamnet.h5"
        options = {"weights": weights} if name == "yamnet" and weights.exists() else {}
        try:
            network = load_network(name, device=device, **options)  # type: ignore[arg-type]
        except DreamError:
            continue
        for update in ("mask", "add", "hard_cut_add"):
            settings = DreamSettings(objective=objective, update=update, jitter=False)
            seconds = fastest_s(
                lambda s=settings, n=network: dream(sound, RATE, n, s, depth=2.0), device, repeats=3
            )
            listener = Listener(network, parse_objective(objective), RATE)
            error = gradient_error(listener, name, options, objective, sound)
            lines.append(f"| {name} | {update} | {16.0 / seconds:.1f} | {error:.1e} |")
    return [*lines, ""]


def bench_inside(device: torch.device, found: dict[str, float]) -> list[str]:
    """Say how far each network alone is from the machine's limit, and how much of a dream it is."""
    lines = ["| network | GFLOP/s | of fp32 convolution | of a `mask` step | of an `add` step |"]
    lines += ["|---|" + "---:|" * 4]
    sound = make_sound(8.0)
    for name in ("timbre", "texture"):
        layer = OBJECTIVES[name].removeprefix("layer:")
        network = load_network(name, device=device)
        mono = torch.from_numpy(make_sound(4.0, rate=network.card.sample_rate)).to(device)
        patches = network.listen(mono).flatten(0, 1).detach()  # type: ignore[attr-defined]

        def forward(x: torch.Tensor, net: Network = network, layer: str = layer) -> torch.Tensor:
            with tap(net, {layer}, leaves_early=True) as heard:
                net(x)  # type: ignore[operator]
            return heard[layer]

        def gradient(
            forward: Callable[[torch.Tensor], torch.Tensor] = forward, heard: torch.Tensor = patches
        ) -> torch.Tensor:
            leaf = heard.detach().requires_grad_(True)
            return torch.autograd.grad(forward(leaf).sum(), leaf)[0]

        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            forward(patches)
        works: dict[str, Callable[[], object]] = {"network": gradient}
        for update in ("mask", "add"):
            settings = DreamSettings(objective=OBJECTIVES[name], update=update, jitter=False)
            works[update] = lambda s=settings, n=network: dream(sound[:, : 4 * RATE], RATE, n, s, depth=2.0)
        took = fastest_together_s(works, device, repeats=5)
        # The way back to the input costs what the way there does.
        reached = 2.0 * counter.get_total_flops() / took["network"] / 1e9
        shares = [2.0 * took["network"] / took[update] for update in ("mask", "add")]
        lines.append(
            f"| {name} | {reached:.0f} | {reached / found['convolution fp32']:.2f} "
            + "".join(f"| {share:.2f} " for share in shares)
            + "|"
        )
    return [*lines, ""]


def gradient_error(
    listener: Listener, name: str, options: dict[str, object], objective: str, sound: np.ndarray
) -> float:
    """Return the relative difference of a gradient to the same in float64."""

    def gradient(ear: Listener, x: torch.Tensor) -> torch.Tensor:
        leaf = x.detach().requires_grad_(True)
        return torch.autograd.grad(ear.score(leaf).sum(), leaf)[0].double().cpu()

    part = torch.from_numpy(sound[:, :RATE])
    precise = Listener(
        load_network(name, dtype=torch.float64, **options),  # type: ignore[arg-type]
        parse_objective(objective),
        RATE,
    )
    exact = gradient(precise, part.double())
    return float((gradient(listener, part.to(listener.network.device)) - exact).norm() / exact.norm())


def bench_scaling(device: torch.device) -> list[str]:
    """Time against length, batch, threads, the integral of depth and other programs."""
    network = load_network("timbre", device=device)
    settings = DreamSettings(objective=OBJECTIVES["timbre"])

    def work(
        seconds: float, depth: float = 2.0, share: float = 1.0, batch: int | None = None
    ) -> Callable[[], object]:
        sound = make_sound(seconds)
        depths = np.where(np.arange(sound.shape[1]) < share * sound.shape[1], depth, 0.0)
        return lambda: dream(sound, RATE, network, settings, depth=depths, batch=batch)

    groups = {
        "length": {"8 s": work(8.0), "16 s": work(16.0), "32 s": work(32.0)},
        "depth 4": {
            "always, 64 s": work(64.0, 4.0),
            "in the first quarter, 64 s": work(64.0, 4.0, 0.25),
        },
        "batch, 16 s": {f"{n} windows": work(16.0, batch=n) for n in (1, 2, 4, 8)},
    }
    lines = ["| what | | s | relative |", "|---|---|---:|---:|"]
    for title, works in groups.items():
        took = fastest_together_s(works, device, repeats=2)
        first = next(iter(took.values()))
        lines += [f"| {title} | {name} | {s:.2f} | {s / first:.2f} |" for name, s in took.items()]
    if device.type == "cpu":
        lines += bench_threads(work(8.0), device)
    return [*lines, ""]


def bench_threads(work: Callable[[], object], device: torch.device) -> list[str]:
    """Time against threads, alone and with a second process busy on every thread's core but one."""
    lines, before, first = [], torch.get_num_threads(), 0.0
    for n_threads in sorted({1, default_threads(), os.cpu_count() or 1}):
        torch.set_num_threads(n_threads)
        alone = fastest_s(work, device, 3)
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        beside = fastest_s(work, device, 3)
        other.kill()
        other.wait()
        first = first or alone
        lines.append(f"| threads, 8 s | {n_threads} | {alone:.2f} | {alone / first:.2f} |")
        lines.append(
            f"| threads, 8 s | {n_threads}, a second process busy | {beside:.2f} | {beside / first:.2f} |"
        )
    torch.set_num_threads(before)
    return lines


def bench_long(device: torch.device) -> list[str]:
    """Time a four-minute stereo stem at depth 10, on a GPU."""
    if device.type != "cuda":
        return []
    network = load_network("timbre", device=device)
    sound = make_sound(240.0, n_channels=2)
    settings = DreamSettings(objective=OBJECTIVES["timbre"])
    took = fastest_s(lambda: dream(sound, RATE, network, settings, depth=10.0), device, 2)
    memory = torch.cuda.max_memory_allocated(device) / 2**30
    return [f"Four minutes stereo, depth 10: {took:.2f} s, {memory:.1f} GiB on the device.", ""]


def main() -> None:
    """Measure everything and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    device, threads = resolve_device(arguments.device), set_threads(arguments.threads)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"
    lines = [
        "# How fast dreams run",
        "",
        "Generated by `python tests/bench/speed.py --out ...`.",
        "",
        AIMS,
        "",
    ]
    load = f", load average {os.getloadavg()[0]:.1f} of {os.cpu_count()}" if device.type == "cpu" else ""
    lines += [
        f"On {where}{load}, {threads} threads, Torch {torch.__version__}.",
        "",
        "## The machine's limits",
        "",
    ]
    found = limits(device)
    lines += ["| limit | GFLOP/s (or GB/s) |", "|---|---:|"]
    lines += [f"| {name} | {value:.0f} |" for name, value in found.items()]
    lines += ["", "## YAMNet, gradient of 10 s to the waveform", ""]
    lines += bench_yamnet_gradient(device)
    lines += ["## Networks and updates", "", *bench_networks(device)]
    lines += [
        "What the networks alone reach, forward and back; the rest of a step is transforms, which memory"
    ]
    lines += ["bounds, and resampling.", "", *bench_inside(device, found)]
    lines += ["## Scaling", "", *bench_scaling(device), *bench_long(device)]
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    lines += [f"Peak memory of the process: {peak_gib:.2f} GiB.", ""]
    text = "\n".join(lines)
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
