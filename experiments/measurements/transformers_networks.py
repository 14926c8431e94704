"""Networks of the library transformers, from their configurations, which its hub keeps.

`CONFIGURATIONS` has what differs from the defaults of a class; the costs that the tables state
check it.
"""

from __future__ import annotations

from typing import Any

import torch

from experiments.measurements.transformers_images import IMAGES, Configuration

__all__ = ["CONFIGURATIONS", "transformers_network"]

_BERT_LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
CONFIGURATIONS: dict[str, Configuration] = IMAGES | {
    **{
        f"{name}Depth-Anything-V2-Small-hf"
        if layers[0] == 3
        else f"{name}depth-anything-small-hf": (
            "DepthAnythingConfig",
            "DepthAnythingForDepthEstimation",
            {
                "backbone_config": {
                    "model_type": "dinov2",
                    "hidden_size": 384,
                    "num_attention_heads": 6,
                    "patch_size": 14,
                    "image_size": 518,
                    "out_indices": layers,
                    "apply_layernorm": True,
                    "reshape_hidden_states": False,
                },
                "reassemble_hidden_size": 384,
                "neck_hidden_sizes": [48, 96, 192, 384],
                "fusion_hidden_size": 64,
            },
            "518",
        )
        for name, layers in (
            ("LiheYoung/", [9, 10, 11, 12]),
            ("depth-anything/", [3, 6, 9, 12]),
        )
    },
    "MCG-NJU/videomae-base-finetuned-kinetics": (
        "VideoMAEConfig",
        "VideoMAEForVideoClassification",
        {"num_labels": 400, "use_mean_pooling": True},
        "video",
    ),
    "nvidia/segformer-b0-finetuned-ade-512-512": (
        "SegformerConfig",
        "SegformerForSemanticSegmentation",
        {"num_labels": 150},
        "512",
    ),
    "patrickvonplaten/wavlm-libri-clean-100h-base-plus": (
        "WavLMConfig",
        "WavLMForCTC",
        {"vocab_size": 31},
        "sound",
    ),
    **{
        f"{owner}/{kind}detr-resnet-{depth}{ending}": (
            f"{name}DetrConfig",
            f"{name}DetrForObjectDetection",
            {
                "backbone": f"resnet{depth}",
                "use_pretrained_backbone": False,
                "use_timm_backbone": True,
                "dilation": bool(ending),
                "num_labels": 91,
            },
            "480",
        )
        for owner, kind, name, depth, ending in (
            ("facebook", "", "", 50, ""),
            ("facebook", "", "", 50, "-dc5"),
            ("facebook", "", "", 101, ""),
            ("facebook", "", "", 101, "-dc5"),
            ("microsoft", "conditional-", "Conditional", 50, ""),
        )
    },
    # Models of a language: the last item is the length of the text.
    "BertForQuestionAnswering(bert-base-uncased)": (
        "BertConfig",
        "BertForQuestionAnswering",
        {},
        "text",
    ),
    **dict.fromkeys(
        (
            "BertForQuestionAnswering(bert-large-uncased)",
            "BertForQuestionAnswering(bert-large-uncased, seq<=384)",
            "bert-large-uncased",
        ),
        ("BertConfig", "BertForQuestionAnswering", _BERT_LARGE, "text"),
    ),
    "bert-base-cased": ("BertConfig", "BertModel", {"vocab_size": 28996}, "text"),
    "google-bert/bert-base-uncased": ("BertConfig", "BertForMaskedLM", {}, "text"),
    "distilbert/distilbert-base-uncased": (
        "DistilBertConfig",
        "DistilBertForMaskedLM",
        {},
        "text",
    ),
    "albert-base-v2": (
        "AlbertConfig",
        "AlbertForMaskedLM",
        {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
        "text",
    ),
    "google/electra-base-discriminator": (
        "ElectraConfig",
        "ElectraForPreTraining",
        {
            "embedding_size": 768,
            "hidden_size": 768,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
        },
        "text",
    ),
    "google/mobilebert-uncased": ("MobileBertConfig", "MobileBertForMaskedLM", {}, "text"),
    "nomic-ai/nomic-embed-text-v1.5": ("NomicBertConfig", "NomicBertModel", {}, "text"),
    "neusight/bert_large": (
        "BertConfig",
        "BertLMHeadModel",
        _BERT_LARGE | {"is_decoder": True},
        "text",
    ),
    **{
        f"neusight/{name}": (
            "GPT2Config",
            "GPT2LMHeadModel",
            {"n_layer": layers, "n_embd": width, "n_head": heads, "n_positions": positions},
            "text",
        )
        for name, layers, width, heads, positions in (
            ("gpt2_large", 36, 1280, 20, 1024),
            ("gpt3_xl", 24, 3072, 24, 2048),
            ("gpt3_27", 32, 2560, 32, 2048),
        )
    },
    "neusight/opt_13": (
        "OPTConfig",
        "OPTForCausalLM",
        {
            "hidden_size": 2048,
            "num_hidden_layers": 24,
            "num_attention_heads": 32,
            "ffn_dim": 8192,
            "word_embed_proj_dim": 2048,
        },
        "text",
    ),
}
# Lengths and sides that the tables state otherwise, or not at all. LeViT's names end in a width.
_SIZES = {
    "bert-large-uncased": "384",
    "BertForQuestionAnswering(bert-large-uncased, seq<=384)": "384",
    "bert-base-cased": "128",
    "nomic-ai/nomic-embed-text-v1.5": "128",
    **{f"facebook/levit-{width}": "224" for width in (192, 256, 384)},
}


def transformers_network(name: str, size: str) -> tuple[torch.nn.Module, Any, str]:
    """Module of a name of transformers' hub, an example of its input, and the type of the model.

    Raises:
        KeyError: If the name has no configuration here.
    """
    import transformers

    config_class, model_class, changes, kind = CONFIGURATIONS[name]
    if "backbone_config" in changes:
        inner = dict(changes["backbone_config"])
        inner.pop("model_type")
        changes = changes | {"backbone_config": transformers.Dinov2Config(**inner)}
    config = getattr(transformers, config_class)(**changes)
    config.return_dict = False
    # The caches and states that generation would use are no part of one pass.
    config.use_cache = False
    module = getattr(transformers, model_class)(config)
    size = _SIZES.get(name, size)
    return module, _example(kind, size), str(config.model_type)


def _example(kind: str, size: str) -> Any:
    if kind == "text":
        return torch.zeros(1, int(size.rpartition("x")[2]), dtype=torch.long)
    if kind == "video":
        return torch.zeros(1, 16, 3, int(size), int(size))
    if kind == "sound":
        return torch.zeros(1, int(size.rpartition("x")[2]))
    side = int(size or kind)
    return torch.zeros(1, 3, side, side)
