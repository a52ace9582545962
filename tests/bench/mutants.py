"""How many small mistakes in the code the tests notice: a seeded sample of mutants, each against its tests.

    python tests/bench/mutants.py --out tests/bench/mutants.md [--seed 1] [--per-module 50] [--workers 2]

A mutant is one change of one place: another operator, another number, a condition turned round, a decorator
gone. (They are cosmic-ray's, which has to be installed: `pip install --group mutation`.) Places are drawn
first, then one mutant of each. Every mutant gets one run of its module's tests, in a copy of the tree and in
a process of its own. It is killed where a test fails or takes five times as long as it should, and has
survived where all pass.

Left out are annotations, which nothing evaluates, and the options of decorators, which declare. What is
finished stays in `--log`, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Lock

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("bridge", "dream_core", "presets", "tests", "examples", "pyproject.toml", "README.md")
TARGETS = {
    "dream_core/updates/ascent.py": (
        "test_dream_core/updates/test_ascent",
        "test_dream_core/updates/test_mask",
        "test_dream_core/test_goldens",
        "test_dream_core/updates/test_updates",
    ),
    "dream_core/updates/mask.py": (
        "test_dream_core/updates/test_mask",
        "test_dream_core/test_goldens",
        "test_dream_core/updates/test_updates",
    ),
    "dream_core/updates/mask_gains.py": (
        "test_dream_core/updates/test_mask_gains",
        "test_dream_core/test_goldens",
        "test_dream_core/updates/test_updates",
    ),
    "dream_core/updates/contract.py": (
        "test_dream_core/updates/test_mask",
        "test_dream_core/updates/test_updates",
        "test_dream_core/test_goldens",
        "test_dream_core/loop/test_stream",
    ),
    "dream_core/updates/steps.py": (
        "test_dream_core/updates/test_updates",
        "test_dream_core/test_goldens",
    ),
    "dream_core/updates/additive.py": (
        "test_dream_core/updates/test_updates",
        "test_dream_core/test_goldens",
    ),
    "dream_core/updates/spectral_cut.py": (
        "test_dream_core/updates/test_updates",
        "test_dream_core/test_goldens",
    ),
    "bridge/plan/model.py": (
        "test_bridge/plan/test_plan_key",
        "test_bridge/plan/test_planner",
        "test_bridge/render/test_resume",
        "test_bridge/render/test_runner",
    ),
    "bridge/presets/policies.py": ("test_bridge/render/test_gain",),
    "bridge/render/gain.py": ("test_bridge/render/test_gain", "test_bridge/render/test_delivered_level"),
    "bridge/render/tail.py": ("test_bridge/render/test_gain", "test_bridge/render/test_delivered_level"),
    "bridge/audio/quantiser.py": ("test_bridge/audio/test_quantiser",),
}
"""Modules, and the tests that answer for them, the quick ones first."""

PATIENCE = 5.0
UNUSED = ("core/Variable", "core/NoOp")
"""Operators that want arguments, or change nothing."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One change of one place.

    Args:
        module: The file, relative to the repository.
        operator: cosmic-ray's name of the change.
        occurrence: Which place of those the operator could change.
        line: Where that is.
        column: Where in the line.
    """

    module: str
    operator: str
    occurrence: int
    line: int
    column: int

    @property
    def place(self) -> tuple[int, int, str]:
        """What all changes of one kind to one place have in common."""
        return self.line, self.column, self.operator.partition("_")[0]

    @property
    def key(self) -> str:
        """What tells it from the others."""
        return f"{self.module}:{self.line} {self.operator} {self.occurrence}"

    def code(self, original: str) -> str:
        """Return the changed source."""
        from cosmic_ray.mutating import mutate_code
        from cosmic_ray.plugins import get_operator

        changed: str | None = mutate_code(original, get_operator(self.operator)(), self.occurrence)
        assert changed is not None
        return changed


def spared(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return the spans of annotations and of decorators' options."""
    spans = []
    for node in ast.walk(ast.parse(source)):
        parts: list[ast.expr | None] = []
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            parts = [node.returns, *(argument.annotation for argument in arguments)]
        if isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            parts += [one for one in node.decorator_list if isinstance(one, ast.Call)]
        spans += [
            ((part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0))
            for part in parts
            if part is not None
        ]
    return spans


def mutants_of(module: str) -> Iterator[Mutant]:
    """Find every place that an operator can change."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    source = (ROOT / module).read_text("utf-8")
    spans = spared(source)
    tree = get_ast(source)
    for name in sorted(operator_names()):
        if name.startswith(UNUSED):
            continue
        operator = get_operator(name)()
        places = [place for node in ast_nodes(tree) for place in operator.mutation_positions(node)]
        for occurrence, (start, stop) in enumerate(places):
            if "Decorator" in name or not any(a <= start and stop <= b for a, b in spans):
                yield Mutant(
                    module=module, operator=name, occurrence=occurrence, line=start[0], column=start[1]
                )


def sample(per_module: int, seed: int, modules: list[str]) -> list[Mutant]:
    """Draw as many places of every module, and one mutant of each: a sum has eleven, a condition one."""
    drawn = []
    for module in modules:
        places: dict[tuple[int, int, str], list[Mutant]] = {}
        for mutant in mutants_of(module):
            places.setdefault(mutant.place, []).append(mutant)
        dice = random.Random(f"{seed} {module}")
        chosen = dice.sample(list(places.values()), min(per_module, len(places)))
        drawn += [dice.choice(mutants) for mutants in chosen]
    return drawn


def run_tests(tree: Path, module: str, timeout_s: float | None) -> tuple[str, float]:
    """Run a module's tests in a copy; return ``killed``, ``slow`` or ``survived``, and the seconds."""
    tests = [module, *(f"tests/{name}.py" for name in TARGETS[module])]  # the module's own are doctests
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    # Compiled files are told apart by their time in seconds: two mutants of one second would be one.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return "slow", time.monotonic() - began
    return ("killed" if done.returncode else "survived"), time.monotonic() - began


def copy_tree(folder: Path) -> Path:
    """Copy what the tests need."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "out")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    return folder


def state_of_the_tree() -> str:
    """Return what tells one state of code and tests from another."""
    digest = hashlib.sha256()
    for path in sorted(
        path for folder in ("bridge", "dream_core", "tests") for path in (ROOT / folder).rglob("*.py")
    ):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def difference(original: str, changed: str) -> str:
    """Return what a mutant changes, as `old -> new`."""
    lines = difflib.unified_diff(original.splitlines(), changed.splitlines(), n=0, lineterm="")
    kept = [line for line in lines if line[:1] in "-+" and line[:3] not in ("---", "+++")]
    old = " ".join(line[1:].strip() for line in kept if line[0] == "-")
    new = " ".join(line[1:].strip() for line in kept if line[0] == "+")
    return f"{old} -> {new or '(nothing)'}"


def read_log(log: Path) -> dict[str, tuple[str, str]]:
    """Return what became of mutants that are finished, and what each changed."""
    if not log.exists():
        return {}
    lines = (json.loads(line) for line in log.read_text("utf-8").splitlines())
    return {key: (outcome, changed) for key, outcome, changed in lines}


def judge(mutants: list[Mutant], n_workers: int, log: Path) -> dict[str, tuple[str, str]]:
    """Run every mutant that the log does not know; return what became of each, and what it changed."""
    known, lock = read_log(log), Lock()
    sources = {mutant.module: (ROOT / mutant.module).read_text("utf-8") for mutant in mutants}
    with tempfile.TemporaryDirectory() as folder:
        trees: Queue[Path] = Queue()
        for index in range(n_workers):
            trees.put(copy_tree(Path(folder) / str(index)))
        tree = trees.get()
        limits = {}
        for module in sources:
            outcome, seconds = run_tests(tree, module, None)
            if outcome != "survived":
                raise SystemExit(f"{module}: its tests fail without any mutant; mend that first")
            limits[module] = PATIENCE * seconds
        trees.put(tree)

        def run(mutant: Mutant) -> None:
            own, original = trees.get(), sources[mutant.module]
            code = mutant.code(original)
            (own / mutant.module).write_text(code, "utf-8")
            outcome, seconds = run_tests(own, mutant.module, limits[mutant.module])
            (own / mutant.module).write_text(original, "utf-8")
            trees.put(own)
            changed = difference(original, code)
            with lock:
                known[mutant.key] = outcome, changed
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([mutant.key, outcome, changed]) + "\n")
                print(f"{outcome:9}{seconds:6.1f} s  {mutant.key}  {changed}", flush=True)

        with ThreadPoolExecutor(n_workers) as pool:
            list(pool.map(run, [mutant for mutant in mutants if mutant.key not in known]))
    return known


def table(mutants: list[Mutant], outcomes: dict[str, tuple[str, str]], seed: int) -> str:
    """Return the score of every module, and the survivors."""
    lines = [
        "# Mutants",
        "",
        f"`python tests/bench/mutants.py --seed {seed} --out tests/bench/mutants.md`",
        "",
        "| module | mutants | killed | score |",
        "| --- | ---: | ---: | ---: |",
    ]
    survivors = [mutant for mutant in mutants if outcomes[mutant.key][0] == "survived"]
    for module in [*dict.fromkeys(mutant.module for mutant in mutants), ""]:
        n = sum(mutant.module == module or not module for mutant in mutants)
        n_alive = sum(mutant.module == module or not module for mutant in survivors)
        lines.append(f"| {module or 'all'} | {n} | {n - n_alive} | {1 - n_alive / n:.0%} |")
    lines += ["", "Survivors:", ""]
    lines += [f"- `{mutant.module}:{mutant.line}` `{outcomes[mutant.key][1]}`" for mutant in survivors]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-module", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--log", type=Path, default=None, help="where finished mutants are kept")
    parser.add_argument("modules", nargs="*", default=list(TARGETS))
    said = parser.parse_args()
    mutants = sample(said.per_module, said.seed, said.modules)
    log = said.log or Path(tempfile.gettempdir()) / f"reverie-mutants-{said.seed}-{state_of_the_tree()}.jsonl"
    text = table(mutants, judge(mutants, said.workers, log), said.seed)
    print(text)
    if said.out:
        said.out.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
