"""The rooms of the code, in order: `test_structure` holds it, `docs/architecture.md` draws it."""

import ast
from pathlib import Path

from experiments import ROOT

__all__ = ["FOLDERS", "GROUNDS", "MODULES", "ROOMS", "imported_names", "imports", "room"]

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
        "search_spaces.canonical",
        "search_spaces.pricing",
        "search_spaces.costs",
        "search_spaces.simplify",
        "search_spaces.cell_arrays",
        "search_spaces.domains",
        "search_spaces.space",
        "search_spaces.parts",
        "search_spaces.coded_space",
    ),
    "search_spaces: nb201": ("search_spaces.nb201", "search_spaces.nb201_functions"),
    "search_spaces: networks": ("search_spaces.networks",),
    "search_spaces: nb101": ("search_spaces.nb101",),
    "search_spaces: importers": ("search_spaces.importers",),
    "search_spaces: builders": ("search_spaces.builders",),
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
    "ground": (
        "arrays",
        "quantities",
        "objectives",
        "pareto",
        "choices",
        "arguments",
        "text",
        "_signals",
        "_waiting",
    ),
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
    "measurements: words": (
        "measurements.words",
        "measurements.device_names",
        "measurements.references",
        "measurements.networks",
    ),
    "measurements: importers": ("measurements.importers",),
    "measurements": ("measurements",),
    "trained": ("trained",),
    "testing": ("testing",),
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
# The rooms that no docstring describes, because they are some files of a folder.
GROUNDS = {
    "search_spaces: ground": "Graphs, operators and their costs, `SearchSpace`, and files.",
    "predictors: ground": "`Predictor`, predictions, descriptions of devices, and checkpoints.",
    "predictors: fitted": "The base of predictors that are fitted and saved.",
    "measurements: words": "Runtimes, precisions, devices, networks and graphs in one vocabulary.",
    "ground": "Quantities, objectives, fronts, choices, checks of arguments, texts, and signals.",
    "datasets: ground": "The registry of data sets, downloads, files of tables, and safe reading.",
}


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
