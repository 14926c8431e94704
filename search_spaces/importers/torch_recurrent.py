"""Steps of PyTorch's recurrent layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nasplug.search_spaces.importers.network import ImportedNetwork
from nasplug.search_spaces.importers.recurrent import add_cell, add_recurrent
from nasplug.search_spaces.importers.steps import GATES
from nasplug.search_spaces.importers.torch_call import Call, Computed, Shape

__all__ = ["recurrent_handlers", "recurrent_shapes"]

_NAMES = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN"}
_CELLS = {f"{name}_cell": op for name, op in _NAMES.items()}
_LAYERS = {**_NAMES, "quantized_lstm": "LSTM", "quantized_gru": "GRU"}


@dataclass(frozen=True)
class _Layers:
    """Sizes of a call of several layers.

    Attributes:
        op: A key of `GATES`.
        steps: Steps of a sequence.
        rows: Axes of the outputs before the features.
        hidden: Features of the state.
        projection: Features that an LSTM projects its output to; 0 if it does not.
        directions: 2 if the sequences are read backwards too.
        count: Layers.
        batch: Sequences.
        bias: Whether the gates have biases.
    """

    op: str
    steps: int
    rows: Shape
    hidden: int
    projection: int
    directions: int
    count: int
    batch: int
    bias: bool

    @property
    def outputs(self) -> list[Shape]:
        """Shapes of the outputs: of all steps, and the last states."""
        out = self.projection or self.hidden
        layers = self.directions * self.count
        states: list[Shape] = [(layers, self.batch, out)]
        if self.op == "LSTM":
            states.append((layers, self.batch, self.hidden))
        return [(*self.rows, self.directions * out), *states]


def _layers(name: str, arguments: Sequence[Any], shape_of: Callable[[Any], Shape]) -> _Layers:
    op = _LAYERS[name]
    # Sequences of several lengths come packed, with how many of them have each step.
    is_packed = isinstance(arguments[3], (list, tuple))
    weights, bias, count = arguments[2 + is_packed : 5 + is_packed]
    directions = 2 if arguments[7 + is_packed] else 1
    state = arguments[1 + is_packed]
    out = shape_of(state[0] if op == "LSTM" else state)[-1]
    is_quantised = not hasattr(weights[0], "shape")
    # Matrices of a quantised layer are packed.
    hidden = out if is_quantised else shape_of(weights[0])[0] // GATES[op]
    data = shape_of(arguments[0])
    if is_packed:
        steps = shape_of(arguments[1])[0]
        batch = shape_of(state[0] if op == "LSTM" else state)[1]
    else:
        batch_first = bool(arguments[8])
        steps, batch = data[batch_first], data[1 - batch_first]
    projection = out if out != hidden else 0
    rows = data[:-1]
    return _Layers(op, steps, rows, hidden, projection, directions, count, batch, bool(bias))


def recurrent_shapes(name: str, arguments: Sequence[Any]) -> list[Shape] | None:
    """Shapes of a recurrent call's outputs; None for another call."""
    if name in _LAYERS:
        return _layers(name, arguments, lambda tensor: tuple(tensor.shape)).outputs
    if name in _CELLS:
        state = arguments[1][0] if name == "lstm_cell" else arguments[1]
        return [tuple(state.shape)] * (2 if name == "lstm_cell" else 1)
    return None


def _add_layers(network: ImportedNetwork, call: Call) -> list[int]:
    """Append the layers of an LSTM, a GRU or an RNN."""

    def shape_of(value: Any) -> Shape:
        return network.shape(value.step) if hasattr(value, "step") else tuple(value.shape)

    layers = _layers(call.name, call.arguments, shape_of)
    source = call.source()
    others = Call(call.name, call.arguments[1:], call.outputs, call.types)
    main = max(call.weights, key=lambda weight: weight.size, default=None)
    is_quantised = call.name.startswith("quantized")
    weight_type = "int8" if is_quantised or main is None else main.type
    for layer in range(layers.count):
        source = add_recurrent(
            network,
            layers.op,
            source,
            call.shape,
            steps=layers.steps,
            hidden=layers.hidden,
            directions=layers.directions,
            projection=layers.projection,
            bias=layers.bias,
            states=() if layer else others.data,
            weight_type="" if weight_type == call.types[1] else weight_type,
        )
    states = [network.add("Slice", (source,), shape) for shape in call.outputs[1:]]
    return [source, *states]


def _add_cell(network: ImportedNetwork, call: Call) -> list[int]:
    """Append one step of a recurrent layer."""
    op = _CELLS[call.name]
    states = call.argument(1)
    first, *others = [
        state.step if isinstance(state, Computed) else None
        for state in (states if isinstance(states, (list, tuple)) else [states])
    ]
    position = add_cell(
        network,
        op,
        call.source(),
        first,
        call.shape,
        bias=call.argument(4) is not None,
        others=[k for k in others if k is not None],
    )
    if call.name == "rnn_relu_cell":
        network.steps[position] = network.steps[position].becomes("Relu")
    return [position] * len(call.outputs)


recurrent_handlers = {
    **dict.fromkeys(_LAYERS, _add_layers),
    **dict.fromkeys(_CELLS, _add_cell),
}
