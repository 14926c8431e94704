"""The package list, the rooms and the direction of imports, read from folders and syntax trees."""

import ast
import configparser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "nasplug": ROOT / "nasplug",
    "nasplug.search_spaces": ROOT / "search_spaces",
    "nasplug.predictors": ROOT / "predictors",
}
# Who may import whom: a room knows itself and those above it in this list, whatever the place of
# the import. A room is a folder, or some files that lie beside the folders of a package.
ROOMS: dict[str, tuple[str, ...]] = {
    "search_spaces: ground": (
        "search_spaces.errors",
        "search_spaces.files",
        "search_spaces.lazy",
        "search_spaces.graph",
        "search_spaces.operators",
        "search_spaces.costs",
        "search_spaces.simplify",
        "search_spaces.cell_arrays",
        "search_spaces.space",
        "search_spaces.coded_space",
    ),
    "search_spaces: nb201": ("search_spaces.nb201", "search_spaces.nb201_functions"),
    "search_spaces: networks": ("search_spaces.networks",),
    "search_spaces: nb101": ("search_spaces.nb101",),
    "search_spaces: importers": ("search_spaces.importers",),
    "search_spaces": ("search_spaces",),
    "predictors: ground": (
        "predictors.hardware",
        "predictors.prediction",
        "predictors.options",
        "predictors.checkpoint",
    ),
    "predictors: features": ("predictors.features",),
    "predictors: statistics": ("predictors.statistics",),
    "predictors: fitted": ("predictors.fitted", "predictors.process_predictor"),
    "predictors: layers": ("predictors.layers",),
    "predictors: models": ("predictors.models",),
    "predictors: training": ("predictors.training",),
    "predictors: accuracy": ("predictors.accuracy",),
    "predictors: latency": ("predictors.latency",),
    "predictors: published": ("predictors.published",),
    # calibration, capabilities, pretraining, registry and the names of the package itself
    "predictors": ("predictors",),
    "ground": ("objectives", "pareto", "arguments", "text", "_signals"),
    "datasets: ground": (
        "datasets.archives",
        "datasets.registry",
        "datasets.download",
        "datasets.layout",
        "datasets.safe_pickle",
        "datasets.tables",
    ),
    "datasets: nasbench": ("datasets.nasbench",),
    "datasets: importers": ("datasets.importers",),
    "datasets": ("datasets",),
    "devices": ("devices", "hardware_catalogue"),
    "measuring": ("measuring",),
    "predicting": ("predicting", "zoo"),
    "calibrating": ("calibrating",),
    "studies": ("studies",),
    "candidates": ("candidates",),
    "sampling": ("sampling",),
    "plots": ("plots",),
    "reports": ("reports",),
    "results": ("results",),
    "searching": ("searching",),
    "training": ("training",),
    "public names": ("",),
    "commands": ("commands",),
    "command line": ("cli", "__main__"),
}
ORDER = tuple(ROOMS)
HEAVY_IN_SPACES = {"torch", "dgl", "lightning", "pandas", "scipy", "sklearn"}


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module of the project."""
    found = {}
    for package, folder in FOLDERS.items():
        for file in sorted(folder.rglob("*.py")):
            parts = [package, *file.relative_to(folder).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = file
    return found


MODULES = modules()


def room(module: str) -> str:
    """The room of a module: that whose entry is the longest beginning of its name."""
    name = module.removeprefix("nasplug").removeprefix(".")
    entries = {entry: title for title, entries in ROOMS.items() for entry in entries}
    fitting = [entry for entry in entries if name == entry or name.startswith(f"{entry}.")]
    return entries[max(fitting, key=len)]


def imported_names(file: Path) -> set[tuple[str, str]]:
    """Module and name of every import of a file, also inside functions and for type checkers.

    The name is empty where a module is imported as a whole.
    """
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                is_module = whole in MODULES
                found.add((whole, "") if is_module else (str(node.module), alias.name))
    return found


def imports(file: Path) -> set[str]:
    """Every module that a file imports."""
    return {module for module, _ in imported_names(file)}


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
    """What is imported when the file is: not inside functions, nor for type checkers alone."""
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


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith(SPACES)])
def test_spaces_need_numpy_alone(module):
    heavy = HEAVY_IN_SPACES | {"onnx", "onnxruntime"}
    assert not {name.split(".")[0] for name in on_import(MODULES[module])} & heavy
    # A user's torch module or ONNX file is read by the libraries that it comes with.
    reads = {"torch"} if module == f"{SPACES}.importers.torch_graph" else set()
    for imported in imports(MODULES[module]):
        assert imported.split(".")[0] not in HEAVY_IN_SPACES - reads
        assert not imported.startswith(("optuna.study", "optuna.samplers", "optuna.trial"))
