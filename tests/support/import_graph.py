"""The module import graph of a source tree, read from its syntax: function-level and type-only imports count."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path


def modules(root: Path, packages: Iterable[str]) -> dict[str, set[str]]:
    """Every module of some packages, with the modules of the same packages that it imports.

    `from . import x` counts as the module x where there is one, and as the package where x is a name of its own. A
    package's `__init__` is the package itself; that Python runs it before its modules is not counted.

    Args:
        root: Folder in which the packages lie.
        packages: Their names.

    Returns:
        Dotted name -> dotted names of the modules that it imports, itself left out.
    """
    files = {_name(path, root): path for package in packages for path in sorted((root / package).rglob("*.py"))}
    return {name: set(_imported(name, path, files)) - {name} for name, path in files.items()}


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other, directly or by way of others; each sorted, empty when there are
    none."""
    return sorted(sorted(group) for group in _components(graph) if len(group) > 1)


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(name: str, path: Path, files: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (found for alias in node.names if (found := _known(alias.name, files)))
        elif isinstance(node, ast.ImportFrom):
            base = _base(name, path, node)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                if found := inner if inner in files else _known(base, files):
                    yield found


def _base(name: str, path: Path, node: ast.ImportFrom) -> str:
    """The absolute name of what stands between `from` and `import`."""
    if not node.level:
        return node.module or ""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    above = package[: len(package) - (node.level - 1)]
    return ".".join([*above, *([node.module] if node.module else [])])


def _known(dotted: str, files: dict[str, Path]) -> str:
    """The innermost module of ours that a dotted name stands for, or an empty string."""
    while dotted and dotted not in files:
        dotted = dotted.rpartition(".")[0]
    return dotted


def _components(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components (Kosaraju: the graph backwards, in the order in which the first walk ends)."""
    order: list[str] = []
    seen: set[str] = set()
    for start in graph:
        order += _walk(start, graph, seen)
    back: dict[str, set[str]] = {name: set() for name in graph}
    for name, imports in graph.items():
        for other in imports & graph.keys():
            back[other].add(name)
    seen = set()
    return [group for start in reversed(order) if (group := _walk(start, back, seen))]


def _walk(start: str, graph: dict[str, set[str]], seen: set[str]) -> list[str]:
    """What can be reached from a module and was not seen before, in the order in which the walk leaves it."""
    if start in seen:
        return []
    seen.add(start)
    left: list[str] = []
    stack = [(start, iter(sorted(graph[start])))]
    while stack:
        name, rest = stack[-1]
        following = next((other for other in rest if other in graph and other not in seen), None)
        if following is None:
            left.append(name)
            stack.pop()
        else:
            seen.add(following)
            stack.append((following, iter(sorted(graph[following]))))
    return left
