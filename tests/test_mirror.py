"""Each module has a test file of its name, or another one that covers it."""

from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("search_spaces", "predictors", "nasplug")
# Test file -> modules without a test file of their name that it covers, because they are parts of
# one thing that is tested as a whole. Paths lie in tests/; patterns are those of `fnmatch`.
COVERED: dict[str, tuple[str, ...]] = {
    # A builder's space is opened, explored and asked as a whole.
    "search_spaces/builders/test_space.py": (
        "search_spaces/builders/built_networks.py",
        "search_spaces/builders/recording.py",
        "search_spaces/builders/tree.py",
        "search_spaces/opening.py",
    ),
    # A network is read through one function, whatever operators and constants it has.
    "search_spaces/importers/test_onnx_graph.py": (
        "search_spaces/importers/onnx_*.py",
        "search_spaces/importers/attention_scales.py",
        "search_spaces/importers/network.py",
        "search_spaces/importers/steps.py",
    ),
    "search_spaces/importers/test_patterns.py": ("search_spaces/importers/activation_patterns.py",),
    "search_spaces/importers/test_torch_graph.py": ("search_spaces/importers/torch_*.py",),
    # All families are built and compared with published sizes by the same tests.
    "search_spaces/networks/test_nnlqp.py": tuple(
        f"search_spaces/networks/{name}.py"
        for name in (
            *("blocks", "chains", "googlenet", "mobilenets", "mobilenetv3"),
            *("resnet", "squeezenet"),
        )
    ),
    # A language model is built, counted and written through its space.
    "search_spaces/networks/test_gpt.py": (
        "search_spaces/networks/gpt_model.py",
        "search_spaces/networks/gpt_network.py",
        "search_spaces/networks/gpt_onnx.py",
        "search_spaces/networks/gpt_text.py",
    ),
    # So is a vision transformer; both kinds share the reader of choices and the writer.
    "search_spaces/networks/test_vit.py": (
        "search_spaces/networks/own_choices.py",
        "search_spaces/networks/transformer_network.py",
        "search_spaces/networks/transformer_onnx.py",
        "search_spaces/networks/vit_model.py",
        "search_spaces/networks/vit_network.py",
        "search_spaces/networks/vit_onnx.py",
    ),
    "nasplug/candidates/test_scoring.py": ("nasplug/candidates/scores.py",),
    "nasplug/predicting/test_memory.py": ("nasplug/predicting/allocated_memory.py",),
    "predictors/latency/test_network_energy.py": ("predictors/latency/power_share.py",),
    # The process is fitted to the trained networks, and predicts others.
    "nasplug/predicting/test_structure_accuracy.py": ("predictors/accuracy/structure_process.py",),
    "predictors/accuracy/test_language_gp.py": ("predictors/features/language_models.py",),
    "search_spaces/networks/test_fbnet.py": ("search_spaces/networks/encodings.py",),
    # The base classes are tested on spaces of the package.
    "search_spaces/networks/test_network_space.py": ("search_spaces/space.py",),
    "search_spaces/nb101/test_pieces.py": ("search_spaces/coded_space.py",),
    "search_spaces/test_pricing.py": ("search_spaces/operators.py",),
    # Every template is filled, and the network that it builds is counted and trained.
    "search_spaces/test_code.py": ("search_spaces/templates/*.py",),
    # Random graphs are drawn for both.
    "search_spaces/test_graph.py": ("search_spaces/simplify.py",),
    "search_spaces/test_cell_arrays.py": ("search_spaces/nb101/arrays.py",),
    # Cells that are equal as functions are predicted alike.
    "nasplug/zoo/test_equal_functions.py": (
        "search_spaces/nb201_functions.py",
        "search_spaces/nb101/functions.py",
    ),
    # Parts of a predictor are tested by its predictions, those of a network by its outputs.
    "predictors/accuracy/test_array_gp.py": (
        "predictors/features/cell_arrays.py",
        "predictors/process_predictor.py",
        "predictors/statistics/sparse_process.py",
    ),
    "predictors/accuracy/test_classical.py": (
        "predictors/accuracy/path_gp.py",
        "predictors/features/cells.py",
        "predictors/fitted.py",
        "predictors/statistics/normal_scores.py",
    ),
    "predictors/accuracy/test_transformer_gp.py": (
        "predictors/accuracy/finetuning.py",
        "predictors/accuracy/pretraining.py",
        "predictors/accuracy/cell_reader.py",
        "predictors/features/graph_arrays.py",
        "predictors/pretraining.py",
    ),
    "predictors/latency/test_cell_latency.py": (
        "predictors/accuracy/transformer_ensemble.py",
        "predictors/latency/many_devices.py",
        "predictors/training/ensemble.py",
        "predictors/training/ensemble_predictor.py",
    ),
    "predictors/latency/test_few_shot.py": ("predictors/latency/known_devices.py",),
    "predictors/latency/test_departure_process.py": (
        "predictors/latency/departure_learning.py",
        "predictors/latency/departure_priors.py",
    ),
    "predictors/latency/test_network_latency.py": (
        "predictors/features/roofline.py",
        "predictors/features/settings.py",
        "predictors/latency/network_*.py",
        "predictors/models/roofline_transformer.py",
        "predictors/statistics/familiarity.py",
    ),
    "predictors/latency/test_one_device.py": ("predictors/features/operators.py",),
    "predictors/models/test_ledgformer.py": ("predictors/features/devices.py",),
    "predictors/models/test_nnformer.py": (
        "predictors/models/coded_network.py",
        "predictors/models/narformer_v2.py",
        "predictors/models/nnformer_latency.py",
        "predictors/models/nnlp.py",
    ),
    "predictors/models/test_sibling_transformer.py": (
        "predictors/features/nodes.py",
        "predictors/layers/blocks.py",
        "predictors/layers/heads.py",
        "predictors/models/graph_transformer.py",
    ),
    "predictors/published/test_predictor.py": (
        "predictors/published/factories.py",
        "predictors/published/recipes.py",
    ),
    "predictors/latency/test_cpu_roofline.py": (
        "predictors/latency/cpu_numbers.py",
        "predictors/latency/cpu_terms.py",
    ),
    "predictors/latency/test_fused_roofline.py": (
        "predictors/latency/fused_numbers.py",
        "predictors/latency/fused_terms.py",
        "predictors/latency/gpu_ways.py",
    ),
    "predictors/latency/test_npu_roofline.py": (
        "predictors/latency/npu_residuals.py",
        "predictors/latency/npu_terms.py",
    ),
    "predictors/statistics/test_calibration.py": (
        "predictors/calibration.py",
        "predictors/prediction.py",
    ),
    "predictors/test_registry.py": ("predictors/capabilities.py",),
    "predictors/training/test_loop.py": (
        "predictors/layers/batch.py",
        "predictors/training/config.py",
        "predictors/training/losses.py",
        "predictors/training/relabeling.py",
    ),
    "nasplug/devices/test_names.py": ("nasplug/devices/spellings.py",),
    "search_spaces/importers/test_ncnn_graph.py": ("search_spaces/importers/ncnn_layers.py",),
    # A table of rows of every source is read as a whole.
    "nasplug/measurements/importers/test_importers.py": (
        "nasplug/measurements/importers/*.py",
        "nasplug/measurements/device_names.py",
        "nasplug/measurements/references.py",
        "nasplug/measurements/words.py",
    ),
    "nasplug/measurements/test_query.py": ("nasplug/measurements/networks.py",),
    # Archives and metrics are read from the files of benchmarks.
    "nasplug/datasets/nasbench/test_api.py": ("nasplug/datasets/importers/ecnas.py",),
    "nasplug/datasets/nasbench/test_table.py": ("nasplug/datasets/nasbench/metrics.py",),
    "nasplug/measuring/test_campaign.py": (
        "nasplug/measuring/choice.py",
        "nasplug/measuring/runtimes.py",
    ),
    "nasplug/predicting/test_zoo.py": ("nasplug/predicting/architecture_predictor.py",),
    "nasplug/calibrating/test_calibrate.py": (
        "nasplug/calibrating/calibrated_device.py",
        "nasplug/calibrating/latency_predictor.py",
    ),
    # Candidates are scored, listed and enlarged through one protocol.
    "nasplug/candidates/test_enumerated.py": (
        "nasplug/candidates/fast_model.py",
        "nasplug/candidates/member_predictions.py",
    ),
    "nasplug/candidates/test_pool.py": ("nasplug/candidates/candidates.py",),
    "nasplug/test_pareto.py": ("nasplug/arrays.py",),
    # A sampler is tested by the trials that it proposes.
    "nasplug/sampling/test_predicted_choice.py": (
        "nasplug/sampling/candidate_features.py",
        "nasplug/searching/objectives.py",
    ),
    "nasplug/sampling/test_announced_intervals.py": ("nasplug/sampling/tried.py",),
    "nasplug/sampling/test_sampler.py": (
        "nasplug/sampling/learned_choice.py",
        "nasplug/sampling/listed_choice.py",
        "nasplug/sampling/next_choice.py",
        "nasplug/sampling/trial_notes.py",
    ),
    # A contract is tested on spaces and predictors that keep it, and on ones that break it.
    "nasplug/test_testing.py": ("nasplug/testing/*.py",),
    "nasplug/plots/test_pictures.py": ("nasplug/plots/drawing.py",),
    # Units and limits of a study are seen in its pictures.
    "nasplug/plots/test_study_fronts.py": ("nasplug/plots/shown.py",),
    # A search is tested from its arguments to its result.
    "nasplug/searching/test_search.py": (
        "nasplug/candidates/measured.py",
        "nasplug/results/scored.py",
        "nasplug/searching/config.py",
        "nasplug/searching/outcome.py",
        "nasplug/searching/prepare.py",
    ),
    "nasplug/searching/test_observed.py": (
        "nasplug/reports/observed_report.py",
        "nasplug/results/observed_result.py",
    ),
    # A page is tested from the search or study that it shows.
    "nasplug/reports/test_search_report.py": (
        "nasplug/reports/reported.py",
        "nasplug/reports/search_page.py",
    ),
    "nasplug/reports/test_study_report.py": ("nasplug/reports/study_page.py",),
    "nasplug/results/test_export.py": ("nasplug/results/code.py",),
    # Commands are tested as users call them.
    "nasplug/test_cli.py": ("nasplug/commands/*.py",),
}


def modules() -> list[str]:
    """Paths of all modules, but those that only name and export others."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    return sorted(
        file.relative_to(ROOT).as_posix()
        for file in files
        if file.name not in ("__init__.py", "__main__.py")
    )


def mirror_of(module: str) -> Path:
    """Path of the test file that has a module's name, without its leading underscore."""
    path = Path(module)
    return ROOT / "tests" / path.parent / f"test_{path.stem.lstrip('_')}.py"


UNTESTED = [module for module in modules() if not mirror_of(module).exists()]


@pytest.mark.parametrize("module", UNTESTED)
def test_module_is_covered(module: str) -> None:
    patterns = [pattern for group in COVERED.values() for pattern in group]
    assert any(fnmatch(module, pattern) for pattern in patterns), (
        f"{module} has no test file {mirror_of(module).relative_to(ROOT)}"
    )


@pytest.mark.parametrize("covering", COVERED)
def test_exceptions_are_needed(covering: str) -> None:
    assert (ROOT / "tests" / covering).exists()
    for pattern in COVERED[covering]:
        assert any(fnmatch(module, pattern) for module in UNTESTED), f"{pattern} is not needed"
