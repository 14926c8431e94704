"""Read networks of timm and transformers as PyTorch modules, and count their FLOPs otherwise too.

    python -m experiments.reading.torch_networks [--models 200] [--only RE]

Needs timm and transformers. Networks have no weights (they are made on the device "meta", or from
small configurations). Of each network the time of a reading is noted, the second of two in one
process; FLOPs against those of torch's FlopCounterMode; and parameters against the module's own
count. A module of seven billion parameters shows the memory that a reading takes. All goes into
results/torch_networks.json.
"""

from __future__ import annotations

import gc
import logging
import re
import resource
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.metadata import version
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from experiments.campaign import Options
from experiments.common import write_result
from nasplug.search_spaces import InputError
from nasplug.search_spaces.importers import torch_graph

__all__ = ["read", "timm_names"]

# Relative difference of FLOPs up to which two counts are equal.
EQUAL = 0.01
WORDS = {"input_ids": torch.ones(1, 16, dtype=torch.long)}
# A mask of ones alone would be left out by some modules, and by no exporter.
PADDED = torch.tensor([[1] * 14 + [0] * 2])
DECODED = {**WORDS, "decoder_input_ids": torch.ones(1, 8, dtype=torch.long)}
IMAGE = {"pixel_values": torch.zeros(1, 3, 224, 224)}
SOUND = {"input_values": torch.zeros(1, 16_000)}
SMALL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
GROUPED = {**SMALL, "num_key_value_heads": 2, "head_dim": 16}
PAIR = {
    "d_model": 64,
    **{f"{side}_layers": 2 for side in ("encoder", "decoder")},
    **{f"{side}_attention_heads": 4 for side in ("encoder", "decoder")},
    **{f"{side}_ffn_dim": 128 for side in ("encoder", "decoder")},
}
STAGES = {"hidden_sizes": [16, 32, 64, 128]}
# Class, options of its configuration, and example.
TRANSFORMERS: dict[str, tuple[str, dict[str, Any], dict[str, torch.Tensor]]] = {
    "BertModel": ("BertConfig", SMALL, {**WORDS, "attention_mask": PADDED}),
    "RobertaModel": ("RobertaConfig", SMALL, WORDS),
    "AlbertModel": ("AlbertConfig", SMALL, WORDS),
    "ElectraModel": ("ElectraConfig", SMALL, WORDS),
    "DebertaV2Model": ("DebertaV2Config", SMALL, WORDS),
    "DistilBertModel": (
        "DistilBertConfig",
        {"dim": 64, "hidden_dim": 128, "n_layers": 2, "n_heads": 4},
        WORDS,
    ),
    "GPT2LMHeadModel": ("GPT2Config", {"n_embd": 64, "n_layer": 2, "n_head": 4}, WORDS),
    "BloomForCausalLM": ("BloomConfig", {"hidden_size": 64, "n_layer": 2, "n_head": 4}, WORDS),
    "OPTForCausalLM": (
        "OPTConfig",
        {**SMALL, "ffn_dim": 128, "word_embed_proj_dim": 64},
        WORDS,
    ),
    "LlamaForCausalLM": ("LlamaConfig", GROUPED, WORDS),
    "MistralForCausalLM": ("MistralConfig", GROUPED, WORDS),
    "MixtralForCausalLM": ("MixtralConfig", {**GROUPED, "num_local_experts": 4}, WORDS),
    "Qwen3ForCausalLM": ("Qwen3Config", GROUPED, WORDS),
    "GemmaForCausalLM": ("GemmaConfig", GROUPED, WORDS),
    "PhiForCausalLM": ("PhiConfig", SMALL, WORDS),
    "MambaForCausalLM": ("MambaConfig", {"hidden_size": 64, "num_hidden_layers": 2}, WORDS),
    "RwkvForCausalLM": ("RwkvConfig", {"hidden_size": 64, "num_hidden_layers": 2}, WORDS),
    "T5ForConditionalGeneration": (
        "T5Config",
        {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4},
        DECODED,
    ),
    "BartModel": ("BartConfig", PAIR, WORDS),
    "WhisperModel": (
        "WhisperConfig",
        PAIR,
        {
            "input_features": torch.zeros(1, 80, 3000),
            "decoder_input_ids": DECODED["decoder_input_ids"],
        },
    ),
    "Wav2Vec2Model": ("Wav2Vec2Config", SMALL, SOUND),
    "HubertModel": ("HubertConfig", SMALL, SOUND),
    "ViTModel": ("ViTConfig", SMALL, IMAGE),
    "Dinov2Model": ("Dinov2Config", SMALL, IMAGE),
    "BeitModel": ("BeitConfig", SMALL, IMAGE),
    "SwinModel": ("SwinConfig", {"embed_dim": 32, "depths": [2, 2], "num_heads": [2, 4]}, IMAGE),
    "ConvNextModel": ("ConvNextConfig", {**STAGES, "depths": [1, 1, 2, 1]}, IMAGE),
    "ResNetModel": ("ResNetConfig", {}, IMAGE),
    "MobileViTModel": ("MobileViTConfig", {}, {"pixel_values": torch.zeros(1, 3, 256, 256)}),
    "SegformerForSemanticSegmentation": ("SegformerConfig", STAGES, IMAGE),
    "SamModel": ("SamConfig", {}, {"pixel_values": torch.zeros(1, 3, 1024, 1024)}),
    "CLIPModel": ("CLIPConfig", {"text_config": SMALL, "vision_config": SMALL}, {**WORDS, **IMAGE}),
}


def timm_names(count: int) -> list[str]:
    """Names of timm's networks: in turn one of each file of its models, the shortest name first."""
    import timm

    files: dict[str, list[str]] = defaultdict(list)
    for name in sorted(timm.list_models(), key=lambda name: (len(name), name)):
        files[timm.models._registry._model_to_module[name]].append(name)
    turns = [(turn, name) for names in files.values() for turn, name in enumerate(names)]
    return [name for _, name in sorted(turns)[:count]]


def networks(count: int, pattern: str) -> Iterator[tuple[str, Callable[[], nn.Module], Any]]:
    """Name, maker and example of each network."""
    import timm
    import transformers

    for name in timm_names(count):
        if not re.search(pattern, name):
            continue
        size = timm.get_pretrained_cfg(name)
        shape = size.input_size if size is not None else (3, 224, 224)
        yield f"timm: {name}", lambda name=name: _on_meta(name), torch.zeros(1, *shape)
    for name, (config, options, example) in TRANSFORMERS.items():
        if re.search(pattern, name):
            made = getattr(transformers, config)(**options)
            yield (
                f"transformers: {name}",
                lambda n=name, c=made: getattr(transformers, n)(c),
                example,
            )


def _on_meta(name: str) -> nn.Module:
    import timm

    try:
        with torch.device("meta"):
            return timm.create_model(name)
    except (NotImplementedError, RuntimeError):
        # Some networks compute with their first weights.
        return timm.create_model(name).to("meta")


def counted(module: nn.Module, example: Any) -> float | None:
    """Multiply-accumulates by torch's own counter, or None where it fails."""
    device = next(module.parameters()).device
    try:
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            if isinstance(example, dict):
                module(**example)
            else:
                module(example.to(device))
    except Exception:
        return None
    return float(counter.get_total_flops()) / 2


def read(module: nn.Module, example: Any) -> dict[str, Any]:
    """What a reading gives, or the sentence of its refusal."""
    module.eval()
    try:
        torch_graph(module, example)
    except InputError as error:
        return {"refused": str(error)}
    # What the network's making left is none of the reading's work.
    gc.collect()
    start = time.process_time()
    graph = torch_graph(module, example)
    seconds = time.process_time() - start
    own = sum(parameter.numel() for parameter in module.parameters())
    return {
        "ms": round(1e3 * seconds, 1),
        "operators": len(graph),
        "flops": graph.total("flops"),
        "counted_flops": counted(module, example),
        "params": int(graph.total("params")),
        "own_params": own,
    }


def large_module() -> dict[str, Any]:
    """Time and growth of memory of a reading of seven billion parameters."""
    import transformers

    with torch.device("meta"):
        module = transformers.LlamaForCausalLM(transformers.LlamaConfig()).eval()
    example = {"input_ids": torch.ones(1, 2048, dtype=torch.long)}
    torch_graph(nn.Linear(3, 3), torch.zeros(1, 3))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    graph = torch_graph(module, example)
    seconds = time.process_time() - start
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {
        "network": "LlamaForCausalLM",
        "params": int(graph.total("params")),
        "ms": round(1e3 * seconds, 1),
        "megabytes": round(growth / 1024, 1),
    }


def exceptions(rows: dict[str, dict[str, Any]]) -> list[list[Any]]:
    """Networks whose FLOPs or parameters differ from the other count."""
    found = []
    for name, row in rows.items():
        if "refused" in row:
            continue
        flops, other = row["flops"], row["counted_flops"]
        if other is not None and abs(flops - other) > EQUAL * other:
            found.append([name, "FLOPs", flops, other])
        if row["params"] != row["own_params"]:
            found.append([name, "parameters", row["params"], row["own_params"]])
    return found


def main() -> None:
    parser = Options(__doc__)
    parser.add_argument("--models", type=int, default=200, help="networks of timm")
    parser.add_argument("--only", default="", help="networks whose name this expression finds")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    large = large_module()
    rows: dict[str, dict[str, Any]] = {}
    for name, make, example in networks(options.models, options.only):
        rows[name] = read(make(), example)
        print(name, rows[name], flush=True)
    times = [row["ms"] for row in rows.values() if "ms" in row]
    timm_times = [row["ms"] for n, row in rows.items() if "ms" in row and n.startswith("timm")]
    result = {
        "networks": len(rows),
        "refused": {name: row["refused"] for name, row in rows.items() if "refused" in row},
        "median_ms": median(times) if times else None,
        "median_ms_timm": median(timm_times) if timm_times else None,
        "slowest_ms": max(times, default=None),
        "counted": sum(row.get("counted_flops") is not None for row in rows.values()),
        "exceptions": exceptions(rows),
        "large": large,
    }
    print(result)
    if not options.only:
        versions = {package: version(package) for package in ("timm", "transformers")}
        write_result("torch_networks", versions=versions, **result, rows=rows)


if __name__ == "__main__":
    main()
