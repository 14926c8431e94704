"""The official NAS-Bench-201 `.pth`: every training run, read through the `nas-bench-201` package.

The file is a pickle of several gigabytes. It is opened with torch's safe loader first; if it holds
more than plain data, the user must vouch for it by its SHA-256. Import it once and keep the table.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import pickletools
import re
import sys
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nasplug.datasets.download import is_lfs_pointer, sha256_of
from nasplug.datasets.importers.nb201 import ACCURACY_COLUMNS, is_arch
from nasplug.datasets.tables import Table, read_table, write_table
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.lazy import from_extra

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["import_official", "load_official"]

# Column -> (data set, split) of the package. The package's "cifar10" has no validation split;
# "cifar10-valid", trained on half of the training images, has one.
_SPLITS = {
    "cifar10_val": ("cifar10-valid", "x-valid"),
    "cifar10_test": ("cifar10", "ori-test"),
    "cifar100_val": ("cifar100", "x-valid"),
    "cifar100_test": ("cifar100", "x-test"),
    "imagenet16-120_val": ("ImageNet16-120", "x-valid"),
    "imagenet16-120_test": ("ImageNet16-120", "x-test"),
}
_HP = "200"  # the package's default, "12", is the short training of 12 epochs
_PLAIN = {"collections.OrderedDict", "_codecs.encode"}  # the safe loader takes these
_SCAN_OPCODES = 200_000  # enough for the first architectures; the whole file would take minutes


@contextlib.contextmanager
def _pickle_stream(path: Path) -> Iterator[IO[bytes]]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.rpartition("/")[2] == "data.pkl"]
            with archive.open(names[0]) as member:
                yield member
    else:
        with open(path, "rb") as file:
            yield file


def _opcodes(stream: IO[bytes]) -> Iterator[tuple[str, Any]]:
    """Yield the opcodes of a stream of pickles (the old format has several in a row)."""
    while True:
        for opcode, argument, _position in pickletools.genops(stream):
            yield opcode.name, argument


def _globals_needed(path: Path, message: str) -> list[str]:
    """Python objects beyond plain data that the start of a file names."""
    names = set(re.findall(r"GLOBAL ([\w.]+)", message))
    # The names are for the message only: if the scan fails, the file is refused all the same.
    with contextlib.suppress(Exception), _pickle_stream(path) as stream:
        for opcode, argument in islice(_opcodes(stream), _SCAN_OPCODES):
            if opcode == "GLOBAL":
                names.add(str(argument).replace(" ", "."))
    return sorted(names - _PLAIN)


def _load_checkpoint(path: Path, trust_sha256: str | None) -> Any:
    import torch

    if trust_sha256 is not None:
        if sha256_of(path) != trust_sha256.strip().lower():
            raise InputError(
                f"trust_sha256 is not the SHA-256 of {path}, so the file was not opened; run "
                "sha256sum on the file that you trust"
            )
        try:
            return torch.load(path, map_location="cpu", weights_only=False)
        # A damaged pickle can raise nearly any exception.
        except Exception as error:
            raise _unreadable(path, error) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        needed = _globals_needed(path, str(error))
        if not needed:
            raise _unreadable(path, error) from error
        raise InputError(
            f"{path} holds more than plain data ({', '.join(needed)}), so loading it could run "
            "any code; if you trust its source, run sha256sum on it and pass the result as "
            "trust_sha256"
        ) from error
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = str(error).partition("\n")[0][:200]
    return InputError(
        f"{path} cannot be read ({type(error).__name__}: {reason}); it may be truncated: "
        "download NAS-Bench-201-v1_1-096897.pth again"
    )


def _foreign(path: Path, why: str) -> InputError:
    return InputError(
        f"{path} is not laid out like the official NAS-Bench-201 file: {why}; "
        "pass NAS-Bench-201-v1_1-096897.pth or NAS-Bench-201-v1_0-e61699.pth"
    )


def _open_api(path: Path, content: Any) -> Any:
    keys = {"meta_archs", "arch2infos", "evaluated_indexes"}
    if not isinstance(content, dict) or not keys <= content.keys():
        raise _foreign(path, f"expected a dictionary with {', '.join(sorted(keys))}")
    with from_extra("data"):
        from nas_201_api import NASBench201API

    # The package prints, and stdout is for data.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            api = NASBench201API(content, verbose=False)
        # The constructor checks little, so that foreign content may raise any exception.
        except Exception as error:
            raise _foreign(path, f"{type(error).__name__}: {error}") from error
    if not all(is_arch(arch) for arch in api.meta_archs):
        raise _foreign(path, "meta_archs holds values other than NAS-Bench-201 strings")
    return api


def _accuracy(path: Path, results: Any, dataset: str, split: str) -> float:
    """Mean accuracy over all seeds after the last epoch, in percent; NaN where it is missing."""
    if dataset not in results.get_dataset_names():
        return float("nan")
    trials = results.query(dataset).values()
    if not trials or any(split not in trial.get_eval_set() for trial in trials):
        return float("nan")
    epochs = results.get_total_epoch(dataset)
    if epochs != int(_HP):
        raise _foreign(path, f"a training has {epochs} epochs instead of {_HP}")
    value = float(results.get_metrics(dataset, split, iepoch=None, is_random=False)["accuracy"])
    if not 0 <= value <= 100:
        raise _foreign(path, f"an accuracy is {value} percent")
    return value


def _accuracies(path: Path, api: Any) -> NDArray[np.float64]:
    """Accuracies of all architectures, `(architectures, columns)`."""
    values = np.full((len(api), len(ACCURACY_COLUMNS)), np.nan)
    for row, arch in enumerate(api.meta_archs):
        if row not in api.arch2infos_dict:
            continue
        results = api.arch2infos_dict[row][_HP]
        if results.arch_str != arch:
            raise _foreign(path, f"entry {row} is {results.arch_str!r} instead of {arch!r}")
        for column, name in enumerate(ACCURACY_COLUMNS):
            try:
                values[row, column] = _accuracy(path, results, *_SPLITS[name])
            except (AttributeError, KeyError, TypeError, AssertionError) as error:
                raise _foreign(path, f"the {name} of entry {row} cannot be read") from error
    return values


def import_official(
    path: str | os.PathLike[str],
    trust_sha256: str | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
) -> pd.DataFrame:
    """Read the 200-epoch accuracies from an official NAS-Bench-201 `.pth`.

    The import takes minutes and several times the file's size in memory.

    Args:
        path: `NAS-Bench-201-v1_1-096897.pth` or `NAS-Bench-201-v1_0-e61699.pth`.
        trust_sha256: The SHA-256 of that very file. Passing it says that you trust the source of
            the file: it is then unpickled without restrictions, which could run code in it.
        output: Path of the table (`.npz`) for `load_official`; None writes no table.

    Returns:
        A row for every architecture that the file names, in the file's order, which is the official
        index order; the columns of "nb201-accuracy": `arch`, then accuracies in percent, means over
        all seeds. NaN where the file lacks the architecture's runs on a data set.

    Raises:
        InputError: If the file cannot be read or has another layout, if it needs your trust, or if
            `trust_sha256` is not its hash.

    Example:
        >>> from nasplug import InputError, datasets
        >>> try:
        ...     datasets.import_official("nowhere.pth")
        ... except InputError as error:
        ...     print(error)
        nowhere.pth is not a file; give the NAS-Bench-201 .pth file that you downloaded
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path} is not a file; give the NAS-Bench-201 .pth file that you downloaded"
        )
    if is_lfs_pointer(path):
        raise InputError(f"{path} is a git-LFS pointer, not the data; download the real file")
    api = _open_api(path, _load_checkpoint(path, trust_sha256))
    table = Table(
        index=np.arange(len(api)),
        columns=ACCURACY_COLUMNS,
        values=_accuracies(path, api),
        archs=tuple(api.meta_archs),
        sources={path.name: sha256_of(path)} if output is not None else {},
    )
    if output is not None:
        _write(Path(output), table)
    return table.to_frame()


def _write(path: Path, table: Table) -> None:
    try:
        write_table(path, table)
    except OSError as error:
        raise InputError(f"cannot write {path} ({error}); give another output file") from error


def load_official(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the table that `import_official` wrote to `output`.

    Raises:
        InputError: If the file is missing, truncated or altered, or is no such table.

    Example:
        >>> from nasplug import InputError, datasets
        >>> try:
        ...     datasets.load_official("nowhere.npz")
        ... except InputError as error:
        ...     print(error)
        the table nowhere.npz is missing; give a table that was imported
    """
    return read_table(Path(path)).to_frame()
