from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nasplug import datasets
from nasplug.datasets.download import cache_dir, cached_path, fetch_files, file_status
from nasplug.datasets.registry import UPSTREAM, DataFile
from nasplug.search_spaces.errors import InputError

CONTENT = b"some data\n" * 100
KEY = "owner/repo/" + "0" * 40 + "/folder/data.txt"
FILE = DataFile(f"{UPSTREAM}/{KEY}", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


class Place:
    """A small mirror with one file, and an empty cache."""

    def __init__(self, root: Path) -> None:
        self.mirror = root / "mirror"
        self.source = self.mirror / KEY
        self.cache = root / "cache"
        self.source.parent.mkdir(parents=True)
        self.source.write_bytes(CONTENT)

    def left_over(self) -> list[Path]:
        """Every file in the cache."""
        return [path for path in self.cache.rglob("*") if path.is_file()]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    place = Place(tmp_path)
    monkeypatch.setenv("NASPLUG_CACHE", str(place.cache))
    monkeypatch.setenv("NASPLUG_MIRROR", str(place.mirror))
    return place


class QuietHandler(SimpleHTTPRequestHandler):
    agents: list[str | None]

    def do_GET(self) -> None:
        self.agents.append(self.headers.get("User-Agent"))
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, type[QuietHandler]]]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = type("Handler", (QuietHandler,), {"agents": []})
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(handler, directory=str(place.mirror))
    ) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}", handler
        httpd.shutdown()
        thread.join()


@pytest.mark.parametrize("as_url", [False, True])
def test_local_mirror(place: Place, as_url: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if as_url:
        monkeypatch.setenv("NASPLUG_MIRROR", place.mirror.as_uri())
    place.source.chmod(0o444)
    (path,) = fetch_files([FILE])
    assert path == cached_path(FILE) == place.cache / "upstream" / KEY
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o200
    assert file_status(FILE) == "ok"


def test_mirror_path_with_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path / "with a space")
    monkeypatch.setenv("NASPLUG_CACHE", str(place.cache))
    monkeypatch.setenv("NASPLUG_MIRROR", place.mirror.as_uri())
    assert fetch_files([FILE])[0].read_bytes() == CONTENT


def test_http_mirror(
    place: Place,
    server: tuple[str, type[QuietHandler]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    url, handler = server
    monkeypatch.setenv("NASPLUG_MIRROR", url + "/")
    assert fetch_files([FILE])[0].read_bytes() == CONTENT
    assert handler.agents == ["nasplug"]
    fetch_files([FILE])
    assert len(handler.agents) == 1  # what is cached is not fetched again
    assert capfd.readouterr() == ("", "")  # no progress bar where stderr is no terminal


def test_progress_bar_goes_to_stderr(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    fetch_files([FILE], "some-set", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "some-set" in err


def test_http_404(
    place: Place, server: tuple[str, type[QuietHandler]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NASPLUG_MIRROR", server[0] + "/elsewhere")
    with pytest.raises(InputError, match=r"404.*NASPLUG_MIRROR"):
        fetch_files([FILE])
    assert not place.left_over()


def test_offline_says_what_to_do(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("NASPLUG_MIRROR", "http://127.0.0.1:9/")
    with pytest.raises(InputError, match=r"data\.txt.*connect to the network, or set NASPLUG_MIR"):
        fetch_files([FILE])
    assert not place.left_over()


@pytest.mark.parametrize("wrong", [CONTENT[:-1], CONTENT[:-1] + b"?", b""])
def test_wrong_content_leaves_nothing(place: Place, wrong: bytes) -> None:
    place.source.write_bytes(wrong)
    found = hashlib.sha256(wrong).hexdigest()
    with pytest.raises(InputError) as error:
        fetch_files([FILE])
    message = str(error.value)
    assert all(part in message for part in ("data.txt", FILE.sha256, found, "fetch it again"))
    assert "\n" not in message
    assert not place.left_over()


def test_git_lfs_pointer(place: Place) -> None:
    place.source.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n")
    with pytest.raises(InputError, match=r"data\.txt is a git-LFS pointer"):
        fetch_files([FILE])
    assert not place.left_over()


def test_missing_in_the_mirror(place: Place) -> None:
    place.source.unlink()
    with pytest.raises(InputError, match=r"data\.txt is missing.*https://raw\.github"):
        fetch_files([FILE])
    assert not place.left_over()


@pytest.mark.parametrize("damage", [CONTENT[:5], CONTENT[:-1] + b"?"])
def test_damaged_cache_is_repaired(place: Place, damage: bytes) -> None:
    (path,) = fetch_files([FILE])
    path.write_bytes(damage)
    assert file_status(FILE) == "damaged"
    fetch_files([FILE])
    assert path.read_bytes() == CONTENT


def test_mirror_that_is_no_place(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASPLUG_MIRROR", str(place.source))
    with pytest.raises(InputError, match="is not a folder"):
        fetch_files([FILE])
    monkeypatch.setenv("NASPLUG_MIRROR", "ftp://example.org")
    with pytest.raises(InputError, match="neither a folder nor"):
        fetch_files([FILE])


def test_cache_that_cannot_be_written(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASPLUG_CACHE", str(place.source))
    with pytest.raises(InputError, match="NASPLUG_CACHE"):
        fetch_files([FILE])


def test_default_cache_follows_the_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NASPLUG_CACHE")
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "os" / name)
    assert cache_dir() == tmp_path / "os" / "nasplug"
    monkeypatch.setenv("NASPLUG_CACHE", "")
    assert cache_dir() == tmp_path / "os" / "nasplug"
    monkeypatch.setenv("NASPLUG_CACHE", "~/somewhere")
    assert cache_dir() == Path("~/somewhere").expanduser()


def test_nothing_is_available_in_an_empty_cache(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert datasets.available("nb201-accuracy")  # the mirror is a folder
    monkeypatch.setenv("NASPLUG_MIRROR", "http://127.0.0.1:9")
    assert not datasets.available("nb201-accuracy")
    assert {status for _, status in datasets.verify("nb201-accuracy")} == {"missing"}


def test_fetch_then_all_is_ok(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = datasets.fetch("nb201-accuracy")
    assert [path.name for path in paths] == [
        file.name for file in datasets.info("nb201-accuracy").files
    ]
    checked = datasets.verify("nb201-accuracy")
    assert len(checked) == 5
    assert {status for _, status in checked} == {"ok"}
    assert checked[-1][0] == "tables/nb201-accuracy.npz"
    # From here on no mirror is needed, and then not even the sources.
    monkeypatch.setenv("NASPLUG_MIRROR", "http://127.0.0.1:9")
    assert datasets.available("nb201-accuracy")
    (cache / "tables" / "nb201-accuracy.npz").unlink()
    assert datasets.available("nb201-accuracy")
    assert len(datasets.load("nb201-accuracy")) == 15_625
    # The cache of one machine is a mirror for another.
    monkeypatch.setenv("NASPLUG_MIRROR", str(cache / "upstream"))
    monkeypatch.setenv("NASPLUG_CACHE", str(cache / "another"))
    assert len(datasets.load("nb201-accuracy")) == 15_625
    monkeypatch.setenv("NASPLUG_CACHE", str(cache))
    for path in paths:
        path.unlink()
    assert datasets.available("nb201-accuracy")
    assert len(datasets.load("nb201-accuracy")) == 15_625
