"""What is drawn: nodes joined by edges, some of which hold a whole picture of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from chainrule.see.draw.shapes import Group

__all__ = ["Edge", "Figure", "Level", "Node", "TextLine"]


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of text in a node."""

    text: str
    style: str = "text"


@dataclass(frozen=True, slots=True)
class Figure:
    """Shapes of a known size, for a node that is no box of text; the origin is in their middle."""

    shapes: Group
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Node:
    """A box with lines of text, or with a picture inside that can be opened.

    `note` is what a pointer on it shows. Nodes of a smaller `side` stand left of others.
    """

    lines: tuple[TextLine, ...]
    style: str
    note: str = ""
    side: int = 0
    inner: Level | None = None
    is_open: bool = False
    figure: Figure | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """From one node to another, by their numbers; one of greater `weight` is drawn straighter."""

    source: int
    target: int
    style: str = "forward"
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Level:
    """Nodes and edges; `ranks` are the rows of the nodes where they are not to be found.

    With `to_the_right`, edges lead to the right instead of down.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = ()
    ranks: tuple[int, ...] | None = None
    to_the_right: bool = False
    legend: tuple[tuple[str, str], ...] = field(default=())

    def all_nodes(self) -> Iterator[Node]:
        """The nodes, and those within them."""
        for node in self.nodes:
            yield node
            if node.inner is not None:
                yield from node.inner.all_nodes()
