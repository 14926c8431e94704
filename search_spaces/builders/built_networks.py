"""The settings of a builder that were built, and the graphs of their networks."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from nasplug.search_spaces.builders.cache import GraphCache, Member, identity_of
from nasplug.search_spaces.builders.networks import (
    Builder,
    describe_example,
    example_of,
    network_of,
)
from nasplug.search_spaces.builders.recording import BuilderError, UnclearBuilderError
from nasplug.search_spaces.builders.tree import Path, SuggestionTree
from nasplug.search_spaces.domains import literal
from nasplug.search_spaces.errors import InputError
from nasplug.search_spaces.graph import Graph

__all__ = ["TEXT_SHOWN", "BuiltNetworks", "text_of"]

# Networks that are written to disk together, and operators whose graphs stay in memory.
BATCH, MOST_NODES = 100, 400_000
# Characters of a setting in a message.
TEXT_SHOWN = 200


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
        self.tree = SuggestionTree(Builder(function), name)
        self._lock = threading.RLock()
        self._cache = GraphCache(identity_of(function, self.task))
        self._digests: dict[str, str] = {}
        self._graphs: OrderedDict[str, Graph] = OrderedDict()
        self._nodes = 0
        self._unsaved: dict[str, Member] = {}
        self._warned: set[str] = set()
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
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    graph, digest = network_of(built, self.example, self.name)
                except UnclearBuilderError:
                    raise
                except InputError as error:
                    failure = BuilderError(f"{self.name} with {text[:TEXT_SHOWN]}: {error}")
                    self.tree.fail(path, failure)
                    raise failure from error
            member = Member(path, digest, graph)
            self._keep(text, member)
            self._unsaved[text] = member
            if len(self._unsaved) >= BATCH:
                self.save()
        for warning in caught:
            if str(warning.message) not in self._warned:
                self._warned.add(str(warning.message))
                warnings.warn(str(warning.message), stacklevel=5)
        return member

    def save(self) -> None:
        """Write what was read since the last time to disk."""
        with self._lock:
            members, self._unsaved = self._unsaved, {}
        self._cache.save(members.values())


def text_of(path: Path) -> str:
    """Text of a setting: `name=value` for each parameter that was asked."""
    return ",".join([f"{literal(name)}={literal(value)}" for name, _, value in path])
