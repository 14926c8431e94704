"""Copy upstream files into the cache, whole and verified or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from nasplug.datasets.registry import UPSTREAM, DataFile
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.files import atomic_path, cache_dir

__all__ = [
    "cache_dir",
    "cached_path",
    "fetch_files",
    "file_status",
    "is_lfs_pointer",
    "local_mirror",
    "sha256_of",
]

_TIMEOUT = (10.0, 60.0)  # seconds to connect, seconds between two pieces
_LFS_START = b"version https://git-lfs.github.com/spec/"


def cached_path(file: DataFile) -> Path:
    """Path of a file in the cache, whether or not the file is there.

    The folder `upstream` of the cache is laid out like a mirror, so it can be copied to a machine
    without network and named in `NASPLUG_MIRROR` there.
    """
    return cache_dir() / "upstream" / file.key


def _mirror() -> Path | str:
    """The mirror to copy files from: a folder, or the start of an http(s) address."""
    setting = os.environ.get("NASPLUG_MIRROR")
    if not setting:
        return UPSTREAM
    if setting.startswith(("http://", "https://")):
        return setting.rstrip("/")
    if "://" in setting and not setting.startswith("file://"):
        raise InputError(
            f"NASPLUG_MIRROR={setting!r} is neither a folder nor a file://, http:// or https:// URL"
        )
    is_url = setting.startswith("file://")
    folder = Path(url2pathname(urlsplit(setting).path)) if is_url else Path(setting).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"NASPLUG_MIRROR={setting!r} is not a folder; set it to the folder that holds "
            "<owner>/<repo>/<commit>/<path>, or unset it to download from the source"
        )
    return folder


def local_mirror() -> Path | None:
    """Folder that `NASPLUG_MIRROR` names, or None if files come over the network.

    Raises:
        InputError: If `NASPLUG_MIRROR` is no folder and no URL of a known kind.
    """
    mirror = _mirror()
    return mirror if isinstance(mirror, Path) else None


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, as 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def is_lfs_pointer(path: Path) -> bool:
    """Whether the file is the small text that git-LFS leaves in place of the data."""
    with open(path, "rb") as stream:
        return stream.read(len(_LFS_START)) == _LFS_START


def file_status(file: DataFile) -> str:
    """Check a cached file by size and hash: "ok", "missing" or "damaged"."""
    path = cached_path(file)
    if not path.is_file():
        return "missing"
    intact = path.stat().st_size == file.size and sha256_of(path) == file.sha256
    return "ok" if intact else "damaged"


def _download(url: str, target: Path) -> None:
    import pooch
    import requests

    get = pooch.HTTPDownloader(headers={"User-Agent": "nasplug"}, timeout=_TIMEOUT)
    try:
        get(url, str(target), None)
    except requests.RequestException as error:
        reason, advice = type(error).__name__, "connect to the network"
        if isinstance(error, requests.HTTPError):
            reason, advice = str(error), "try again later"
        raise InputError(
            f"cannot download {url} ({reason}); {advice}, "
            "or set NASPLUG_MIRROR to a folder or URL that holds the same paths"
        ) from error


def _check(file: DataFile, path: Path, source: str) -> None:
    if is_lfs_pointer(path):
        raise InputError(
            f"{source} is a git-LFS pointer, not the data; "
            "use a mirror that holds the real file (after `git lfs pull`)"
        )
    digest = sha256_of(path)
    if digest != file.sha256:
        raise InputError(
            f"{source} is damaged or another version: expected SHA-256 {file.sha256} ({file.size} "
            f"bytes), found {digest} ({path.stat().st_size} bytes); fetch it again, or set "
            "NASPLUG_MIRROR to a folder or URL with the right file"
        )


def _fetch(file: DataFile, mirror: Path | str) -> None:
    with atomic_path(cached_path(file)) as temporary:
        if isinstance(mirror, Path):
            source = str(mirror / file.key)
            if not Path(source).is_file():
                raise InputError(
                    f"{source} is missing; copy {UPSTREAM}/{file.key} there, "
                    "or unset NASPLUG_MIRROR to download it from the source"
                )
            # copyfile leaves the mirror's permissions behind: a read-only mirror is common.
            shutil.copyfile(source, temporary)
        else:
            source = f"{mirror}/{file.key}"
            _download(source, temporary)
        _check(file, temporary, source)


def fetch_files(
    files: Sequence[DataFile], title: str = "", progress: bool | None = None
) -> list[Path]:
    """Copy files into the cache, except for those that are there and intact.

    Args:
        files: The files to fetch.
        title: Text beside the progress bar.
        progress: Whether to draw a progress bar on stderr; None draws it on a terminal only.

    Returns:
        The paths in the cache, in the order of `files`.

    Raises:
        InputError: If a file cannot be fetched, its content differs from the published one, or the
            cache cannot be written. The cache never holds half a file or a wrong one.
    """
    try:
        missing = [file for file in files if file_status(file) != "ok"]
        if missing:
            _fetch_all(missing, title, sys.stderr.isatty() if progress is None else progress)
    except OSError as error:
        raise InputError(
            f"cannot copy a data file to the cache {cache_dir()} ({error}); free some space, or "
            "set NASPLUG_CACHE to a folder that can be written"
        ) from error
    return [cached_path(file) for file in files]


def _fetch_all(files: Sequence[DataFile], title: str, progress: bool) -> None:
    from tqdm import tqdm

    mirror = _mirror()
    size = sum(file.size for file in files)
    with tqdm(total=size, desc=title, unit="B", unit_scale=True, disable=not progress) as bar:
        for file in files:
            _fetch(file, mirror)
            bar.update(file.size)
