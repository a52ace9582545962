"""Fetch a file the user asked for: over https, within a size, whole or not at all."""

from __future__ import annotations

import http.client
import ipaddress
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dream_core.errors import WeightsError, WeightsMismatchError
from dream_core.files import hash_file, write_whole

__all__ = ["fetch_file"]

_CHUNK_BYTES = 1 << 16
_TIMEOUT_S = 30.0
_MAX_DIGITS = 20


def fetch_file(
    address: str,
    target: Path,
    *,
    max_bytes: int,
    sha256: str = "",
    report: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> None:
    """Fetch an address into a file; nothing is left of one that is cut short, too large or another.

    Args:
        address: ``https://``; ``http://`` on this machine alone.
        target: The file, made by renaming once it is whole.
        max_bytes: Largest size accepted.
        sha256: What its hash must be; empty where nothing is known of it.
        report: Told bytes done and bytes in all (None where the server does not say).

    Raises:
        WeightsError: The address cannot be reached, or its file is too large.
        WeightsMismatchError: It is another file than expected.
    """
    if not _is_secure(address):
        raise WeightsError(
            f"{address!r}: an https:// address is accepted; check it, or fetch the file by other means"
        )
    try:
        with write_whole(target) as part:
            _fetch(address, part, max_bytes, report)
            found = hash_file(part) if sha256 else ""
            if found != sha256:
                raise WeightsMismatchError(
                    f"{address} gave a file with sha256 {found[:16]}..., {sha256[:16]}... is expected; "
                    "nothing was kept of it"
                )
    except urllib.error.HTTPError as error:
        raise WeightsError(
            f"{address} cannot be fetched: the server says {error.code} {error.reason}; check the address, "
            "or fetch the file by other means and import it"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WeightsError(
            f"{address} cannot be fetched ({_words(error)}); check the connection and call again, or fetch "
            "the file by other means and import it"
        ) from None


def _fetch(address: str, part: Path, max_bytes: int, report: Callable[[int, int | None], None]) -> None:
    opener = urllib.request.build_opener(_SecureRedirects)
    with opener.open(address, timeout=_TIMEOUT_S) as response, part.open("wb") as file:
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdecimal() and len(length) < _MAX_DIGITS else None
        done = 0
        if total is not None and total > max_bytes:
            raise _too_large(address, max_bytes)
        report(done, total)
        while chunk := response.read(_CHUNK_BYTES):
            done += len(chunk)
            if done > max_bytes:
                raise _too_large(address, max_bytes)
            file.write(chunk)
            report(done, total)
    if total is not None and done != total:
        raise OSError(f"broke off after {done} of {total} bytes")


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follow no redirect to an address that would not be accepted itself."""

    def redirect_request(self, *arguments: Any) -> urllib.request.Request | None:
        address = str(arguments[-1])
        if not _is_secure(address):
            raise OSError(f"it redirects to {address!r}, which is not https")
        return super().redirect_request(*arguments)


def _words(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    said = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return said or type(cause).__name__


def _too_large(address: str, max_bytes: int) -> WeightsError:
    return WeightsError(
        f"{address} is larger than {max_bytes >> 20} MiB, which the file asked for is not; check the address"
    )


def _is_secure(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    if parts.scheme == "https":
        return bool(parts.hostname)
    if parts.scheme != "http":
        return False
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"
