"""The settings of a builder that were built, and the graphs of their networks."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from nasplug.search_spaces.builders.cache import GraphCache, Member, identity_of
from nasplug.search_spaces.builders.chance import chance_of
from nasplug.search_spaces.builders.networks import describe_example, example_of, network_of
from nasplug.search_spaces.builders.recording import BuilderError, UnclearBuilderError
from nasplug.search_spaces.builders.running import Builder, undisturbed
from nasplug.search_spaces.builders.tree import Path, SuggestionTree
from nasplug.search_spaces.domains import literal
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph
from nasplug.search_spaces.networks.onnx_model import check_batch, check_size

if TYPE_CHECKING:
    import onnx

__all__ = ["TEXT_SHOWN", "BuiltNetworks", "text_of"]

# Networks that are written to disk together, and operators whose graphs stay in memory.
BATCH, MOST_NODES = 100, 400_000
# Seeds with which equal parameters must give equal networks. All first draws of random, NumPy and
# torch differ between them, also among as few as two values.
SEEDS = (0, 55)
# Characters of a setting in a message.
TEXT_SHOWN = 200

_writing = threading.Lock()


class BuiltNetworks:
    """The settings of a builder that were built, and their networks.

    Attributes:
        function: The builder.
        example: Input of its networks.
        name: Name of the space.
        task: Shape of the input.
        tree: The suggestions, as far as they are known.
    """

    def __init__(self, function: Callable[[Any], Any], example: Any, name: str) -> None:
        self.function, self.example, self.name = function, example_of(example), name
        self.task = describe_example(self.example)
        self._builder = Builder(function)
        self.tree = SuggestionTree(self._builder, name)
        self._lock = threading.RLock()
        self._cache = GraphCache(identity_of(function, self.task))
        self._digests: dict[str, str] = {}
        self._graphs: OrderedDict[str, Graph] = OrderedDict()
        self._nodes = 0
        self._unsaved: dict[str, Member] = {}
        self._load()

    def __getstate__(self) -> dict[str, Any]:
        return {"function": self.function, "example": self.example, "name": self.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
        self.tree.explore()

    def _load(self) -> None:
        for member in self._cache.load():
            text = text_of(member.path)
            if text not in self._digests:
                # A file that contradicts the others says nothing.
                with contextlib.suppress(InputError):
                    self.tree.add(member.path)
                    self._keep(text, member)

    def _keep(self, text: str, member: Member) -> None:
        self._digests[text] = member.digest
        earlier = self._graphs.pop(text, None)
        self._nodes += len(member.graph) - (0 if earlier is None else len(earlier))
        self._graphs[text] = member.graph
        while self._nodes > MOST_NODES and len(self._graphs) > 1:
            _, graph = self._graphs.popitem(last=False)
            self._nodes -= len(graph)

    def digest(self, path: Path, built: Any = None) -> str:
        """Digest of the network of a setting."""
        text = text_of(path)
        if text not in self._digests:
            self._make(text, path, built)
        return self._digests[text]

    def graph(self, path: Path) -> Graph:
        """Graph of the network of a setting."""
        text = text_of(path)
        with self._lock:
            graph = self._graphs.get(text)
            return self._make(text, path, None).graph if graph is None else graph

    def _make(self, text: str, path: Path, built: Any) -> Member:
        """Build and read a network, if the builder has not returned it yet."""
        with self._lock:
            if built is None:
                built = self.tree.built(path)
            try:
                with undisturbed(warned=self._builder.warned):
                    graph, digest = network_of(built, self.example, self.name)
            except UnclearBuilderError:
                raise
            except (InputError, SystemExit) as error:
                reason = str(error) if isinstance(error, InputError) else repr(error)
                failure = BuilderError(f"{self.name} with {text[:TEXT_SHOWN]}: {reason}")
                self.tree.fail(path, failure)
                raise failure from error
            member = Member(path, digest, graph)
            self._keep(text, member)
            self._unsaved[text] = member
            if len(self._unsaved) >= BATCH:
                self.save()
        return member

    def onnx_model(self, path: Path, seed: int, batch_size: int) -> onnx.ModelProto:
        """The network of a setting as an ONNX model, with the weights that the builder makes.

        Args:
            path: The suggestions with their values.
            seed: Seed of all random generators, which are left as they were.
            batch_size: Images a forward pass.

        Raises:
            InputError: If the network cannot be written, or not with this batch size.
        """
        from nasplug.search_spaces.builders.exporting import onnx_of

        name = f"{self.name} with {text_of(path)[:TEXT_SHOWN]}"
        check_batch(batch_size)
        check_size(self.graph(path).total("params"), name)
        # Threads share the random generators, and exporters have a state of their own.
        with _writing, undisturbed(seed, self._builder.warned):
            built = self.tree.built(path, self.function)
            return onnx_of(built, self.example, name, batch_size)

    def check_repeatable(self, path: Path) -> None:
        """Check that a builder makes the same network of equal parameters, whatever is drawn.

        Raises:
            UnclearBuilderError: If it does not, with the line that seems to be the cause.
        """
        try:
            digests = {self._digest_again(path, seed) for seed in SEEDS}
        except UnclearBuilderError as error:
            raise UnclearBuilderError(f"{error}{self._chance(path)}") from error
        if len(digests) > 1:
            raise UnclearBuilderError(
                f"{self.name} builds different networks from equal parameters, such as "
                f"{text_of(path)[:TEXT_SHOWN]}; it must depend on the trial's suggestions alone"
                f"{self._chance(path)}"
            )
        if self.digest(path) not in digests:
            # What was kept comes from a file that the builder reads and that has changed.
            self._forget()

    def _digest_again(self, path: Path, seed: int) -> str:
        built = self.tree.built(path, partial(self._builder, seed=seed))
        with undisturbed(warned=self._builder.warned):
            return network_of(built, self.example, self.name)[1]

    def _chance(self, path: Path) -> str:
        """Words on the line of a builder that gives other values in each run."""
        line = chance_of(lambda: self.tree.built(path))
        return f" (see {line})" if line else ""

    def _forget(self) -> None:
        """Read all networks anew, and remove those on disk."""
        self._cache.clear()
        self._digests.clear()
        self._graphs.clear()
        self._unsaved.clear()
        self._nodes = 0

    def save(self) -> None:
        """Write what was read since the last time to disk."""
        with self._lock:
            members, self._unsaved = self._unsaved, {}
        self._cache.save(members.values())


def text_of(path: Path) -> str:
    """Text of a setting: `name=value` for each parameter that was asked."""
    return ",".join([f"{literal(name)}={literal(value)}" for name, _, value in path])
