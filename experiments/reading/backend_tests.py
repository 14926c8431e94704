"""Read all models of the backend tests that the onnx package brings.

    python -m experiments.reading.backend_tests

The tests are the models in onnx/backend/test/data, whole networks and exports of PyTorch, and those
that onnx makes when it is asked for them: one or more for each operator. The counts, and the
sentence of each kind of refusal, go into results/backend_tests.json.
"""

from __future__ import annotations

import re
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import onnx

from experiments.campaign import Options
from experiments.common import write_result
from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers import onnx_graph

__all__ = ["kind_of", "models", "outcome"]


def models() -> Iterator[tuple[str, str, Path | onnx.ModelProto]]:
    """The group, name and model of each test."""
    from onnx.backend.test.case.node import collect_testcases

    folder = Path(onnx.__file__).parent / "backend" / "test" / "data"
    for file in sorted(folder.rglob("*.onnx")):
        yield file.relative_to(folder).parts[0], file.parent.name, file
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    for case in cases:
        yield "operators", case.name, case.model


def outcome(model: Path | onnx.ModelProto) -> tuple[str, str]:
    """`"read"`, `"refused"` or the name of another error, and what is said.

    A network that is read has the names of its operators that are not modelled.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            onnx_graph(model)
        except InputError as error:
            # Without the folder that onnx is installed in.
            file = model.name if isinstance(model, Path) else ""
            return "refused", str(error).replace(str(model), file) if file else str(error)
        except Exception as error:
            return type(error).__name__, str(error)
    return "read", "; ".join(str(warning.message) for warning in caught)


def kind_of(sentence: str) -> str:
    """A refusal without the names and sizes of one file."""
    words = re.sub(r"^\S*( ONNX model|\.onnx):? ", "", sentence)
    words = re.sub(r"'[^']*'|=\{.*?\}|=\S+|\([^)]*\)|\[[^\]]*\]", "…", words)
    words = re.sub(r"…((, | and )…)+", "…", re.sub(r"(--input-\w+) [^\s…]+…", r"\1 …", words))
    return re.sub(r"\d+", "N", words.replace("inputs …, whose", "input …, whose"))


def main() -> None:
    Options(__doc__, threads=None).parse_args()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    kinds: dict[str, list[str]] = defaultdict(list)
    sentences: dict[str, str] = {}
    errors: list[list[str]] = []
    start = time.perf_counter()
    for group, name, model in models():
        result, text = outcome(model)
        counts[group][result if result in ("read", "refused") else "another error"] += 1
        if result == "read" and text:
            counts[group]["read with operators that are not modelled"] += 1
        elif result == "refused":
            kinds[kind_of(text)].append(name)
            sentences.setdefault(kind_of(text), text)
        elif result != "read":
            errors.append([name, result, text])
    write_result(
        "backend_tests",
        onnx=onnx.__version__,
        seconds=round(time.perf_counter() - start, 1),
        groups={group: dict(sorted(counter.items())) for group, counter in counts.items()},
        refused=[
            {"kind": kind, "files": len(names), "example": names[0], "sentence": sentences[kind]}
            for kind, names in sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0]))
        ],
        other_errors=errors,
    )
    print(dict(counts), errors)


if __name__ == "__main__":
    main()
