"""Decoder-only language models: the three scales of HW-GPT-Bench, and choices of one's own.

HW-GPT-Bench (Sukthanker et al., NeurIPS 2024) varies the embedding, the layers and the bias of a
network, and the heads and the MLP of each layer. Its activation is not known from its counts and
assumed to be a SiLU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasplug.search_spaces.errors import InputError, closest
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.networks.family import Choices, Decision, Family, at_least
from nasplug.search_spaces.networks.gpt_model import LanguageModel, Tokens
from nasplug.search_spaces.networks.gpt_network import LanguageModelBuilder
from nasplug.search_spaces.networks.gpt_text import FORM, read_text, write_text
from nasplug.search_spaces.networks.network_space import NetworkSpace
from nasplug.search_spaces.networks.own_choices import (
    check_names,
    check_whole,
    choices_text,
    distinct_values,
    read_choices,
)
from nasplug.search_spaces.space import Architecture

__all__ = ["SCALES", "GPTChoices", "GPTSpace", "gpt", "gpt_graph"]

_NAME = "gpt"


@dataclass(frozen=True)
class GPTChoices:
    """Choices of a space of decoder-only language models.

    Attributes:
        embed: Numbers that a token may be embedded in.
        layers: Numbers of layers.
        bias: Whether linear layers may have a bias, or may have none.
        heads: Query heads that a layer may have.
        mlp: Widths that the MLP of a layer may have, in units of the embedding.
        kv_heads: Heads of keys and values of all layers, shared by query heads in equal groups; 0
            for one a query head.
        gated: Whether MLPs may be gated, of three matrices, or plain, of two.
        vocabulary: Words of the embedding and of the output layer.
        context: Most tokens that a network attends to.
        length: Tokens of a prompt, and of a cache with the new token; the whole context if None.
        head_size: Numbers of a head, a multiple of 8.

    Raises:
        InputError: If a choice is impossible, such as heads that `kv_heads` do not divide.
    """

    embed: tuple[int, ...] = (256, 512, 768)
    layers: tuple[int, ...] = (4, 5, 6, 7, 8)
    bias: tuple[bool, ...] = (False, True)
    heads: tuple[int, ...] = (4, 8, 12)
    mlp: tuple[int, ...] = (2, 3, 4)
    kv_heads: tuple[int, ...] = (0,)
    gated: tuple[bool, ...] = (True,)
    vocabulary: int = 50_254
    context: int = 1_024
    length: int | None = None
    head_size: int = 64

    def __post_init__(self) -> None:
        for name in (*_LISTS, *_TRUTHS):
            object.__setattr__(self, name, distinct_values(name, getattr(self, name)))
        for name, value in self._numbers():
            check_whole(name, value, 0 if name == "kv_heads" else 1)
        for name in _TRUTHS:
            if not set(getattr(self, name)) <= {False, True}:
                raise InputError(f"{name} is {getattr(self, name)}; it may be 0 and 1 alone")
            object.__setattr__(self, name, tuple(map(bool, getattr(self, name))))
        for shared in self.kv_heads:
            wrong = [heads for heads in self.heads if shared and heads % shared]
            if wrong:
                raise InputError(
                    f"{shared} heads of keys and values do not divide {wrong[0]} query heads; "
                    "choose kv_heads that divide each of heads, or 0 for one a query head"
                )
        if self.head_size % 8:
            raise InputError(f"a head size of {self.head_size} is no multiple of 8")
        if self.length is not None and self.length > self.context:
            raise InputError(
                f"a length of {self.length:,} tokens is beyond the context of {self.context:,}; "
                "choose at most that"
            )

    def _numbers(self) -> Iterator[tuple[str, Any]]:
        for name in _LISTS:
            yield from ((name, value) for value in getattr(self, name))
        for name in ("vocabulary", "context", "head_size"):
            yield name, getattr(self, name)
        if self.length is not None:
            yield "length", self.length

    @property
    def tokens(self) -> int:
        """Tokens of a prompt, and of a cache with the new token."""
        return self.context if self.length is None else self.length

    @property
    def text(self) -> str:
        """Text that `gpt` reads: all that differs from the default choices."""
        return choices_text(self)

    def decisions(self) -> tuple[Decision, ...]:
        """Decisions of a network, those of the whole first."""
        layers = Decision("layers", self.layers, self.layers[-1])
        decisions = [
            Decision("embed", self.embed, self.embed[-1]),
            layers,
            Decision("bias", self.bias, self.bias[-1]),
        ]
        if len(self.kv_heads) > 1:
            decisions.append(Decision("kv_heads", self.kv_heads, self.kv_heads[-1]))
        if len(self.gated) > 1:
            decisions.append(Decision("gated", self.gated, self.gated[-1]))
        for layer in range(1, self.layers[-1] + 1):
            needs = (at_least(layers, layer),) if layer > self.layers[0] else ()
            decisions += [
                Decision(f"heads_{layer}", self.heads, self.heads[-1], needs),
                Decision(f"mlp_{layer}", self.mlp, self.mlp[-1], needs),
            ]
        return tuple(decisions)

    def model(self, chosen: Choices) -> LanguageModel:
        """Make the language model of a choice for each decision."""
        count = range(1, chosen["layers"] + 1)
        return LanguageModel(
            embed=chosen["embed"],
            heads=tuple(chosen[f"heads_{k}"] for k in count),
            ratios=tuple(chosen[f"mlp_{k}"] for k in count),
            has_bias=chosen["bias"],
            kv_heads=chosen.get("kv_heads", self.kv_heads[-1]),
            is_gated=chosen.get("gated", self.gated[-1]),
            vocabulary=self.vocabulary,
            head_size=self.head_size,
        )

    def family(self) -> Family:
        """Make the family of all networks."""
        smallest = {d.name: d.choices[0] for d in self.decisions()}
        return Family(
            _NAME,
            self.decisions(),
            lambda net, chosen, classes: net.build(),
            tasks={
                "prefill": Tokens(self.tokens, False, self.vocabulary),
                "decode": Tokens(self.tokens, True, self.vocabulary),
            },
            standards={"largest": {}, "smallest": smallest},
            start=lambda tokens, chosen: LanguageModelBuilder(self.model(chosen), tokens),
            write=write_text,
            read=read_text,
            code=lambda chosen, tokens: ("gpt", self.model(chosen).constants(tokens)),
        )


_LISTS = ("embed", "layers", "heads", "mlp", "kv_heads")
_TRUTHS = ("bias", "gated")

SCALES = {
    "s": GPTChoices((192, 384, 768), (10, 11, 12), heads=(4, 8, 12)),
    "m": GPTChoices((256, 512, 1024), (22, 23, 24), heads=(8, 12, 16)),
    "l": GPTChoices((320, 640, 1280), (34, 35, 36), heads=(8, 16, 20)),
}
"""Choices of HW-GPT-Bench, by the name of a scale."""


class GPTSpace(NetworkSpace):
    """Space of decoder-only language models.

    The task `"prefill"` is a forward pass of a whole prompt, `"decode"` one of a single token that
    reads the keys and values of earlier tokens from a cache. `GPTChoices.length` is the number of
    tokens of both. The text of a network is `embed=192,bias=0,heads=c8c…,mlp=243…`, with a digit of
    base 36 for each layer. Multiply-accumulates are those of HW-GPT-Bench and, as `MatMul`, the two
    products inside of attention, which it does not count.

    Args:
        choices: Choices of the space; also by their names, such as `layers=(2, 3)`.
        name: Name of the space; by default `gpt:` and the choices.

    Example:
        >>> import nasplug
        >>> space = nasplug.space("gpt:embed=64|128,layers=2|3,heads=2|4,kv_heads=1|2,context=128")
        >>> arch = space.parse("embed=64,bias=0,kv_heads=2,heads=24,mlp=34")
        >>> space.to_params(arch)["heads_2"], space.tasks
        (4, ('prefill', 'decode'))
        >>> space.to_graph(arch, "decode").total("params") == space.to_graph(arch).total("params")
        True
    """

    family: Family
    quality = "perplexity"
    scales = tuple(SCALES)

    def __init__(self, choices: GPTChoices | None = None, name: str | None = None, **own: Any):
        if choices is None:
            check_names(own, _FIELDS, "a language model")
            choices = GPTChoices(**own)
        self.choices = choices
        text = choices.text
        super().__init__(choices.family(), name or (f"{_NAME}:{text}" if text else _NAME))

    def summands(
        self, archs: Sequence[Architecture], task: str | None = None
    ) -> tuple[list[Graph], NDArray[np.float64]]:
        """Graphs of one and of two equal layers; see `SearchSpace.summands`.

        The second ones less the first ones are a layer alone, and so on.
        """
        tokens = self.family.tasks[self.tasks[0] if task is None else task]
        # The model of one layer of a kind, by its decisions.
        single: dict[tuple[Any, ...], LanguageModel] = {}
        columns: dict[tuple[Any, ...], int] = {}
        rows: list[tuple[int, int, int]] = []
        firsts: list[int] = []
        for row, arch in enumerate(archs):
            chosen: Choices = self._chosen(self._digits(arch))
            whole = [chosen.get(name) for name in ("embed", "bias", "kv_heads", "gated")]
            count = range(1, chosen["layers"] + 1)
            layers = Counter((chosen[f"heads_{k}"], chosen[f"mlp_{k}"]) for k in count)
            for (heads, ratio), layer_count in layers.items():
                key = (*whole, heads, ratio)
                if key not in columns:
                    columns[key] = 2 * len(columns)
                    model = self.choices.model(chosen)
                    single[key] = replace(model, heads=(heads,), ratios=(ratio,))
                rows.append((row, columns[key], layer_count))
            firsts.append(columns[key])
        graphs = []
        for model in single.values():
            for times in (1, 2):
                several = replace(model, heads=model.heads * times, ratios=model.ratios * times)
                builder = LanguageModelBuilder(several, tokens)
                graphs.append(builder.graph(builder.build()))
        row_of, column_of, layer_counts = np.array(rows, np.intp).reshape(-1, 3).T
        numbers = np.zeros((len(archs), len(graphs)))
        np.add.at(numbers, (row_of, column_of + 1), layer_counts)
        np.add.at(numbers, (row_of, column_of), -layer_counts)
        # What is no layer is in twice a first graph less the second one.
        every, first = np.arange(len(archs)), np.array(firsts, np.intp)
        numbers[every, first] += 2
        numbers[every, first + 1] -= 1
        return graphs, numbers

    def to_code(self, arch: Architecture, task: str | None = None) -> str:
        """The code of the network, which trains on whole prompts; see `SearchSpace.to_code`."""
        return super().to_code(arch, "prefill" if task == "decode" else task)

    def _form(self) -> str:
        return f"{FORM}, or one of {', '.join(self.standards)}"


_FIELDS = tuple(field.name for field in fields(GPTChoices))


def gpt(part: str = "") -> GPTSpace:
    """Open a scale of HW-GPT-Bench, or a space of one's own choices.

    Args:
        part: `"s"`, `"m"` or `"l"`, which may have some of the scale's choices and a length of the
            sequence, as in `"s,embed=384|768,length=256"`; or choices of one's own such as
            `"embed=256|512,layers=4|6,heads=4|8"`, those that are left out being the default ones.
            A range of whole numbers is `4..6`.

    Raises:
        InputError: If there is no such scale or choice, or a choice is impossible.
    """
    scale, _, settings = part.partition(",")
    if "=" in scale or not part:
        return _space(GPTChoices(**_read_choices(part)))
    if scale not in SCALES:
        raise InputError(
            f"unknown scale {scale[:40]!r} of language models; known: {closest(scale, SCALES)}, or "
            "choices of your own such as gpt:embed=256|512,layers=4..6,heads=4|8"
        )
    chosen = _read_choices(settings)
    for name, values in chosen.items():
        _check_within(scale, name, values)
    if chosen.get("length") == SCALES[scale].context:
        del chosen["length"]
    return _space(replace(SCALES[scale], **chosen), scale)


def _check_within(scale: str, name: str, values: Any) -> None:
    """Check that a choice is one of a scale's, or a length.

    Raises:
        InputError: If it is not, for perplexities are known of the scale's networks alone.
    """
    whole = getattr(SCALES[scale], name)
    known, chosen = (x if isinstance(x, tuple) else (x,) for x in (whole, values))
    if name == "length" or set(chosen) <= set(known):
        return
    shown = "|".join(str(int(value)) for value in known)
    raise InputError(
        f"scale {scale} is that of HW-GPT-Bench, which has {name}={shown} alone; choose among "
        "these, or leave the scale out"
    )


@cache
def _space(choices: GPTChoices, scale: str = "") -> GPTSpace:
    """The space of some choices, perhaps of a scale; equal choices give the same object."""
    if not scale:
        return GPTSpace(choices)
    text = choices_text(choices, SCALES[scale])
    return GPTSpace(choices, f"{_NAME}:{scale}{',' if text else ''}{text}")


def _read_choices(text: str) -> dict[str, Any]:
    return read_choices(text, _FIELDS, (*_LISTS, *_TRUTHS), "a language model")


def gpt_graph(reference: str) -> Graph:
    """Make the graph of a network of HW-GPT-Bench, of any scale, for one prompt of 1,024 tokens.

    Args:
        reference: Text of the network, after `gpt:`.

    Raises:
        InputError: If it is of another form.
    """
    try:
        chosen = read_text(reference.removeprefix(f"{_NAME}:"))
    except InputError as error:
        raise InputError(f"{reference[:80]!r} is no reference of a language model") from error
    count = range(1, chosen["layers"] + 1)
    choices = GPTChoices(
        embed=(chosen["embed"],),
        layers=(chosen["layers"],),
        heads=tuple(chosen[f"heads_{k}"] for k in count),
        mlp=tuple(chosen[f"mlp_{k}"] for k in count),
    )
    tokens = Tokens(choices.tokens, False, choices.vocabulary)
    builder = LanguageModelBuilder(choices.model(chosen), tokens)
    return builder.graph(builder.build())
