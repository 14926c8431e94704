"""The package list, the rooms and the direction of imports, read from folders and syntax trees."""

import ast
import configparser
from pathlib import Path

import pytest

from experiments import ROOT
from experiments.rooms import FOLDERS, MODULES, ROOMS, imported_names, imports, room

ORDER = tuple(ROOMS)
HEAVY_IN_SPACES = {"torch", "dgl", "lightning", "pandas", "scipy", "sklearn"}


def listed(module: str) -> set[str]:
    """The names in a module's `__all__`."""
    for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def test_listed_packages_are_the_folders():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    packages = config["options"]["packages"].split()
    folders = []
    for package, folder in FOLDERS.items():
        for file in folder.rglob("__init__.py"):
            parts = file.parent.relative_to(folder).parts
            folders.append(".".join([package, *parts]))
    assert sorted(packages) == sorted(folders)


ROOM_FOLDERS = [name for name, file in MODULES.items() if file.name == "__init__.py"]


@pytest.mark.parametrize("name", ROOM_FOLDERS)
def test_rooms_say_what_they_are(name):
    docstring = ast.get_docstring(ast.parse(MODULES[name].read_text(encoding="utf-8"))) or ""
    first, *rest = docstring.split("\n\n")
    assert first.endswith("."), f"{name} does not begin with a sentence"
    # What it may know, in a few lines more; folders of data have no code that could know.
    assert rest or "no code" in first, f"{name} says in one line alone what it is"


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module):
    own = ORDER.index(room(module))
    for name, part in imported_names(MODULES[module]):
        first = name.split(".")[0]
        assert first not in {"search_spaces", "predictors", "experiments", "tests"}
        if first == "nasplug":
            assert ORDER.index(room(name)) <= own, f"{module} imports {name}, which is above it"
            if part and room(name) != room(module):
                assert part in listed(name), f"{module} imports {part}, not in {name}.__all__"


def test_no_files_import_each_other():
    arrows = {m: {n for n in imports(f) if n in MODULES and n != m} for m, f in MODULES.items()}
    # Whoever imports nothing that is left can be taken away; what cannot is a circle.
    while free := {m for m, targets in arrows.items() if not targets}:
        arrows = {m: targets - free for m, targets in arrows.items() if m not in free}
    assert not arrows, f"files in circles, or above them: {sorted(arrows)}"


def on_import(file: Path) -> set[str]:
    """Modules imported when the file is: not inside functions, nor for type checkers alone."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return {
        name
        for node in nodes
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }


SPACES = "nasplug.search_spaces"
# Files that are loaded with a user's function that builds models.
BUILDING = {
    f"{SPACES}.builders.{name}"
    for name in ("built_networks", "exporting", "networks", "running", "space")
}
# Files that are loaded with a user's torch module, when it is read.
TRACING = {
    f"{SPACES}.importers.torch_{name}"
    for name in (
        *(
            "conversions",
            "higher_order",
            "module",
            "places",
            "quantised",
            "signatures",
            "steps",
            "tensors",
        ),
        *("trace", "views"),
    )
}


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith(SPACES)])
def test_spaces_need_numpy_alone(module):
    heavy = HEAVY_IN_SPACES | {"onnx", "onnxruntime"}
    if module not in TRACING | BUILDING:
        assert not {name.split(".")[0] for name in on_import(MODULES[module])} & heavy
        assert not on_import(MODULES[module]) & (TRACING | BUILDING)
    # A user's torch module or ONNX file is read by the libraries that it comes with.
    readers = {*TRACING, *BUILDING, f"{SPACES}.importers.torch_graph"}
    reads = {"torch"} if module in readers else set()
    for imported in imports(MODULES[module]):
        assert imported.split(".")[0] not in HEAVY_IN_SPACES - reads
        assert not imported.startswith(("optuna.study", "optuna.samplers", "optuna.trial"))
