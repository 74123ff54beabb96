"""Draw which room of the package imports which, from the imports themselves, into docs/architecture.md.

    python tools/draw_rooms.py           (or: make picture)

An arrow that follows from two others is left out: A -> C is not drawn beside A -> B -> C. All codecs are one
room in the picture, and what they share at the top of codecs/ is another.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tersor"
PAGE = ROOT / "docs" / "architecture.md"
START, END = "<!-- rooms: make picture -->", "<!-- end of rooms -->"
LEFT_OUT = {"__init__", "__main__", "testing"}  # nothing is above the first two; the third imports all
CODECS, SHARED = "codecs/NAME", "codecs"
Rooms = dict[str, set[str]]


def room_of(parts: tuple[str, ...]) -> str:
    """Of a module's name below tersor."""
    if parts[0] == "codecs" and len(parts) > 1:
        return CODECS if (PACKAGE / "codecs" / parts[1]).is_dir() else SHARED
    return parts[0]


def imported(path: Path) -> set[str]:
    """Rooms that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "tersor":
            names |= {f"tersor.{a.name}" for a in node.names if (PACKAGE / a.name).exists()}
            names |= {f"tersor.{a.name}" for a in node.names if (PACKAGE / f"{a.name}.py").exists()}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {room_of(tuple(n.split(".")[1:])) for n in names if n.startswith("tersor.")}


def rooms() -> Rooms:
    """room -> rooms it imports."""
    out: Rooms = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = room_of(path.relative_to(PACKAGE).with_suffix("").parts)
        if room not in LEFT_OUT:
            out.setdefault(room, set()).update(imported(path) - {room} - LEFT_OUT)
    return out


def reduced(graph: Rooms) -> Rooms:
    """Without the arrows that follow from others; the graph has no circles (tests/test_house.py)."""

    def reach(room: str) -> set[str]:
        return set().union(*({r} | reach(r) for r in graph[room])) if graph[room] else set()

    return {
        room: {r for r in below if not any(r in reach(other) for other in below - {r})}
        for room, below in graph.items()
    }


def mermaid(graph: Rooms) -> str:
    """The picture, as GitHub and the documentation site draw it."""
    names = {room: room.replace("/", "_") for room in graph}
    lines = ["```mermaid", "flowchart TD"]
    for room in graph:
        folder = room == CODECS or (PACKAGE / room).is_dir()
        lines.append(f'    {names[room]}["{room}{"/" if folder else ".py"}"]')
    for room, below in reduced(graph).items():
        lines += [f"    {names[room]} --> {names[r]}" for r in sorted(below)]
    return "\n".join([*lines, "```"])


def main() -> None:
    page = PAGE.read_text()
    picture = f"{START}\n\n{mermaid(rooms())}\n\n{END}"
    PAGE.write_text(re.sub(f"{START}.*{END}", lambda _: picture, page, flags=re.DOTALL))


if __name__ == "__main__":
    main()
