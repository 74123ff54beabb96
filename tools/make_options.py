"""Write what follows from the declared options of the codecs: the tables in docs/codecs/NAME.md, and
tersor/codecs/asked.py, the keyword arguments of `tersor.encode` and `tersor.decode` for type checkers.

    python tools/make_options.py            write them
    python tools/make_options.py --check    fail if they are not up to date
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tersor import registry
from tersor.codecs.options import Declared, Options

ROOT = Path(__file__).parents[1]
END = "<!-- /options -->"  # after "<!-- options: NAME -->" and the table
TYPES = {  # of options that the codec checks itself
    "region": "tuple[int, int, int, int]",
    "slices": "slice | tuple[slice, ...] | Mapping[str, slice]",
    "variables": "Sequence[str]",
    "tensors": "Sequence[str]",
    "rows": "slice",
    "frames": "slice",
    "out": "Mapping[str, object]",
    "per_tensor": "Mapping[str, Mapping[str, object]]",
    "watch": "Callable[..., bool | None]",
}
HEAD = '''"""The options of all codecs together, for type checkers; tools/make_options.py writes this file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

'''


def options(direction: str) -> dict[str, Options[object]]:
    """Of each codec: "ENCODE" or "DECODE"."""
    return {e.name: registry.resolve(f"{e.options}:{direction}") for e in registry.BUILT_IN if e.options}


def typed(name: str, direction: str) -> str:
    """A TypedDict of every option of every codec."""
    lines = [f"\nclass {name}(TypedDict, total=False):", f'    """Options of {direction.lower()}."""\n']
    kinds: dict[str, str] = {}
    for codec, declared in options(direction).items():
        for d in declared.declared.values():
            kind = TYPES[d.name] if d.kind is object else d.kind.__name__
            if kinds.setdefault(d.name, kind) != kind:
                raise SystemExit(f"{codec}: {d.name} is {kind} here and {kinds[d.name]} in another codec")
    lines += [f"    {n}: {k} | None" for n, k in kinds.items()]
    return "\n".join(lines) + "\n"


def row(d: Declared, direction: str) -> str:
    o = d.option
    default = "" if o.default is None else str(o.default)
    allowed = d.allowed() if d.kind in (int, float) or o.choices else ""
    only = f" (one of {o.one_of})" if o.one_of else ""
    flag = f"`{d.flag}`" if d.flag else ""
    return f"| `{d.name}` | {direction} | {o.help}{only} | {allowed} | {default} | {flag} |"


def table(codec: str) -> str:
    """The options of one codec in Markdown."""
    lines = ["| option | of | what | allowed | default | command line |", "|---|---|---|---|---|---|"]
    for direction in ("ENCODE", "DECODE"):
        declared = options(direction)[codec].declared.values()
        lines += [row(d, direction.lower()) for d in declared]
    return "\n".join(lines)


def page(codec: str, old: str) -> str:
    """A page with its table renewed; a page that is not there yet is a title and the table."""
    begin = f"<!-- options: {codec} -->"
    old = old or f"# {codec}\n\n{registry.by_name(codec).summary}\n\n{begin}\n{END}\n"
    before, found, rest = old.partition(begin)
    if not found:
        raise SystemExit(f"docs/codecs/{codec}.md has no line {begin}")
    after = rest.partition(END)[2] if END in rest else rest
    return f"{before}{begin}\n{table(codec)}\n\n{END}{after}"


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--check", action="store_true")
    check = p.parse_args().check
    asked = ROOT / "tersor" / "codecs" / "asked.py"
    made = {asked: HEAD + typed("AnyEncodeOptions", "ENCODE") + "\n" + typed("AnyDecodeOptions", "DECODE")}
    for codec in options("ENCODE"):
        path = ROOT / "docs" / "codecs" / f"{codec}.md"
        made[path] = page(codec, path.read_text() if path.exists() else "")
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if check:
            name = path.relative_to(ROOT)
            print(f"{name} is not up to date: run python tools/make_options.py", file=sys.stderr)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(made[path])
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
