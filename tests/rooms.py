"""The rooms of the code, in order: `test_structure` holds it, `docs/architecture.md` draws it."""

from pathlib import Path

__all__ = ["FOLDERS", "ROOMS", "ROOT", "modules", "room"]

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


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module of the project."""
    found = {}
    for package, folder in FOLDERS.items():
        for file in sorted(folder.rglob("*.py")):
            parts = [package, *file.relative_to(folder).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = file
    return found


def room(module: str) -> str:
    """The room of a module: that whose entry is the longest beginning of its name."""
    name = module.removeprefix("nasplug").removeprefix(".")
    entries = {entry: title for title, entries in ROOMS.items() for entry in entries}
    fitting = [entry for entry in entries if name == entry or name.startswith(f"{entry}.")]
    return entries[max(fitting, key=len)]
