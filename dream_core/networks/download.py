"""Fetch a file the user asked for: resumable, whole or not at all."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from dream_core.errors import WeightsError

__all__ = ["fetch_file"]

_CHUNK_BYTES = 1 << 16
_TIMEOUT_S = 30.0


def fetch_file(
    address: str, target: Path, report: Callable[[int, int | None], None] = lambda _done, _total: None
) -> None:
    """Fetch an address into a file; what an earlier call left unfinished is gone on with.

    Unfinished bytes lie beside the target as ``.partial``, with the server's mark of the version they belong
    to; where the server has another version by now, fetching starts over.

    Args:
        address: ``http://`` or ``https://``.
        target: The file, made by renaming once it is whole.
        report: Told bytes done and bytes in all (None where the server does not say).

    Raises:
        WeightsError: The address cannot be reached or the connection broke off; call again to go on.
    """
    if not address.startswith(("http://", "https://")):
        raise WeightsError(f"{address!r} is not a web address; http:// and https:// are accepted")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    mark = target.with_name(target.name + ".partial.version")
    try:
        _fetch_rest(address, partial, mark, report)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 416:
            raise WeightsError(
                f"{address} cannot be fetched: the server says {error.code} {error.reason}; check the "
                "address, or fetch the file by other means and import it"
            ) from None
        done = partial.stat().st_size if partial.exists() else 0
        raise WeightsError(
            f"fetching {address} broke off after {done} bytes ({error}); check the connection and call "
            "again: it goes on from there. Or fetch the file by other means and import it"
        ) from None
    partial.replace(target)
    mark.unlink(missing_ok=True)


def _fetch_rest(address: str, partial: Path, mark: Path, report: Callable[[int, int | None], None]) -> None:
    done = partial.stat().st_size if partial.exists() and mark.exists() else 0
    request = urllib.request.Request(address)
    if done:
        request.add_header("Range", f"bytes={done}-")
        request.add_header("If-Range", mark.read_text(encoding="utf-8"))
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and done:
            partial.unlink()  # longer than what the server has: not its file
        raise
    with response:
        is_rest = response.status == http.HTTPStatus.PARTIAL_CONTENT
        done = done if is_rest else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length is not None else None
        version = response.headers.get("ETag")
        if version:
            mark.write_text(version, encoding="utf-8")
        with partial.open("ab" if is_rest else "wb") as file:
            report(done, total)
            while chunk := response.read(_CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                report(done, total)
    if total is not None and done != total:
        raise OSError(f"{total - done} bytes are missing")
