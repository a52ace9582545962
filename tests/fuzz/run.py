"""Try readers on damaged files: `python tests/fuzz/run.py [READER...] [--seconds 3600] [--seed 0]`."""

# ruff: noqa: E402 - it is run from anywhere, and finds its parts itself
from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from bridge.errors import ReverieError
from dream_core.errors import DreamError
from fuzz.limits import limit_memory, limit_time
from fuzz.mutations import damaged
from fuzz.reader import Reader
from fuzz.readers import READERS

__all__ = ["CASES", "try_reader"]

CASES = Path(__file__).with_name("cases")
_BATCH = 200
_FEWEST = 5


def try_reader(reader: Reader, seconds: float, first_seed: int = 0, folder: Path | None = None) -> int:
    """Read damaged files until the time is over.

    Args:
        reader: What is tried.
        seconds: For how long; findings end it.
        first_seed: The same seed gives the same files.
        folder: Where files are put; a temporary folder by default.

    Returns:
        How many files were read.

    Raises:
        AssertionError: One ended in something else than a result or an error in one line.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name:
        return _Trial(reader, Path(name)).run(seconds, first_seed)


class _Trial:
    def __init__(self, reader: Reader, folder: Path) -> None:
        self._reader, self._folder = reader, folder
        self._seeds = sorted(reader.seeds().items())
        self._intact_s = max(self._time_intact(name, data) for name, data in self._seeds)
        self._batch_size = _BATCH
        self.n_read = 0

    def run(self, seconds: float, first_seed: int) -> int:
        for case in sorted(CASES.glob(f"{self._reader.name}-*")):
            self._read(case.name, case.read_bytes())
        # A batch is not cut off: where reading takes long, it is so small that the time is kept.
        self._batch_size = min(_BATCH, max(_FEWEST, int(seconds / max(self._intact_s, 1e-4))))
        end = time.monotonic() + seconds
        batch = first_seed
        with limit_memory():
            while time.monotonic() < end:
                self._batch(batch)()
                batch += 1
        return self.n_read

    def _time_intact(self, name: str, data: bytes) -> float:
        path = self._folder / name
        path.write_bytes(data)
        self._call(path)
        began = time.process_time()
        self._reader.read(path)
        return time.process_time() - began

    def _batch(self, number: int) -> Callable[[], None]:
        @seed(number)
        @settings(
            max_examples=self._batch_size,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(damaged(self._seeds, self._reader.tokens))
        def read_all(given_file: tuple[str, bytes]) -> None:
            self._read(*given_file)

        return read_all

    def _read(self, name: str, data: bytes) -> None:
        self.n_read += 1
        path = self._folder / name
        path.write_bytes(data)
        with limit_time(self._intact_s):
            self._call(path)

    def _call(self, path: Path) -> None:
        try:
            self._reader.read(path)
        except (ReverieError, DreamError) as error:
            text = str(error)
            assert text.strip(), "an error without words"
            assert "\n" not in text, f"an error of several lines: {text!r}"
            assert "unforeseen" not in text, text


def main() -> int:
    """Read the command line and try each reader for its share of the time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}; all by default"
    )
    parser.add_argument("--seconds", type=float, default=3600.0, help="in all; an hour by default")
    parser.add_argument("--seed", type=int, default=0, help="of the first batch of files")
    options = parser.parse_args()
    unknown = [name for name in options.readers if name not in READERS]
    if unknown:
        parser.error(f"no reader {unknown[0]!r}; there are {', '.join(READERS)}")
    warnings.simplefilter("ignore")
    names = options.readers or list(READERS)
    return max([_in_a_process_of_its_own(name, options.seconds / len(names), options.seed) for name in names])


def _in_a_process_of_its_own(name: str, seconds: float, first_seed: int) -> int:
    """Try a reader in a copy of this process, so that what one has allocated is not another's to use.

    Returns:
        Zero, or one where it found something.
    """
    sys.stdout.flush()
    child = os.fork()
    if child:
        return int(os.waitpid(child, 0)[1] != 0)
    code = 1
    try:
        n_read = try_reader(READERS[name], seconds, first_seed)
        print(f"{name}: {n_read} damaged files, every one read or refused in one line", flush=True)
        code = 0
    except BaseException:
        print(f"{name}:", file=sys.stderr)
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
