"""The rules of the source's layout, each a function from a tree to its offenders, so that a test can plant one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.import_graph import modules

PACKAGES = ("schemas", "registry", "stages", "pipeline")

# low to high: a room imports its own level and those before it; the longest prefix of a module's name decides
ROOMS = (
    ("schemas",),
    ("registry",),
    ("stages.core",),
    ("stages.mix", "stages.pack"),
    ("stages.parse", "stages.formats", "stages.tokenize", "stages.media"),
    ("stages.readers", "stages.validate", "stages.render", "stages.truncate", "stages.curate"),
    ("stages.convert", "stages.writers", "stages.train"),
    ("pipeline.installation",),
    ("pipeline.config", "pipeline.engine", "pipeline.reports", "pipeline.progress"),
    ("pipeline.jobs", "pipeline.output"),
    ("pipeline.plan",),
    ("pipeline.runs",),
    ("pipeline.inspect",),
    ("pipeline.commands",),
    ("pipeline.cli",),
    ("pipeline.start",),
    ("pipeline.__main__",),
)
MOST_ENTRIES, MOST_MODULE_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS = 15, 300, 60, 6
FREE_FOLDERS = ("pipeline/commands",)  # one file a command


def sources(root: Path) -> list[Path]:
    """Every source file of the four packages."""
    return [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]


def level(module: str) -> int:
    """The place of a module's room, -1 for the roots `stages` and `pipeline`, which hold no code."""
    fitting = [
        (len(room), at) for at, rooms in enumerate(ROOMS) for room in rooms if f"{module}.".startswith(f"{room}.")
    ]
    return max(fitting)[1] if fitting else -1


def against_the_direction(root: Path) -> list[str]:
    """Imports that point upwards, function-level and type-only ones included."""
    return [
        f"{name} imports {other}"
        for name, imports in modules(root, PACKAGES).items()
        for other in sorted(imports)
        if level(other) > level(name) >= 0
    ]


def without_room(root: Path) -> list[str]:
    """Modules that lie in no room, roots with code among them."""
    return [name for name in modules(root, PACKAGES) if level(name) < 0 and name not in ("stages", "pipeline")]


def full_folders(root: Path) -> list[str]:
    """Code folders with more entries than a reader can take in; `__init__.py` and data files do not count."""
    found = []
    for folder in sorted({path.parent for path in sources(root)}):
        entries = [
            entry
            for entry in folder.iterdir()
            if (entry.suffix == ".py" and entry.name != "__init__.py") or (entry.is_dir() and any(entry.rglob("*.py")))
        ]
        name = folder.relative_to(root).as_posix()
        if len(entries) > MOST_ENTRIES and name not in FREE_FOLDERS:
            found.append(f"{name}: {len(entries)} entries")
    return found


def long_modules(root: Path) -> list[str]:
    """Modules above the limit of lines."""
    counts = {path: path.read_text(encoding="utf-8").count("\n") for path in sources(root)}
    return [
        f"{path.relative_to(root).as_posix()}: {lines} lines"
        for path, lines in counts.items()
        if lines > MOST_MODULE_LINES
    ]


def long_functions(root: Path) -> list[str]:
    """Functions with too many lines or parameters; click commands, whose parameters are options, are excepted."""
    found = []
    for path in sources(root):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or _is_command(node):
                continue
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([one for one in parameters if one.arg not in ("self", "cls")])
            if lines > MOST_FUNCTION_LINES or count > MOST_PARAMETERS:
                place = f"{path.relative_to(root).as_posix()}:{node.lineno}"
                found.append(f"{place} {node.name}: {lines} lines, {count} parameters")
    return found


def _is_command(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(re.search(r"\bclick\.|\.command\b", ast.unparse(decorator)) for decorator in node.decorator_list)


def mirror_of(source: Path, root: Path) -> Path:
    """The test file of a source file: the same path under tests/, `test_init.py` for a package's `__init__`."""
    relative = source.relative_to(root)
    stem = "init" if relative.stem == "__init__" else relative.stem.strip("_")
    return root / "tests" / relative.parent / f"test_{stem}.py"


def without_test(root: Path) -> list[str]:
    """Source files with code and no mirrored test file; an `__init__` of a docstring, or a `__main__` that only starts
    another module, holds none."""
    return [
        path.relative_to(root).as_posix()
        for path in sources(root)
        if _has_code(path) and not mirror_of(path, root).is_file()
    ]


def _has_code(path: Path) -> bool:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    starts = [node for node in body if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)]
    return any(not isinstance(node, (ast.Expr, ast.Import, ast.ImportFrom)) and node not in starts for node in body)


def without_source(root: Path) -> list[str]:
    """Test files under a package's mirror that belong to no source file."""
    mirrored = {mirror_of(path, root) for path in sources(root)}
    tests = [path for package in PACKAGES for path in sorted((root / "tests" / package).rglob("test_*.py"))]
    return [path.relative_to(root).as_posix() for path in tests if path not in mirrored]


def private_imports(root: Path) -> list[str]:
    """Private names taken from another module, by import or by attribute."""
    graph = modules(root, PACKAGES)
    found = []
    for path in sources(root):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        place = path.relative_to(root).as_posix()
        names = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] in PACKAGES):
                for alias in node.names:
                    if _private(alias.name):
                        found.append(f"{place}: {alias.name} of {node.module or '.'}")
                    names |= {alias.asname or alias.name} if _is_module(node, alias.name, graph) else set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and _private(node.attr) and ast.unparse(node.value) in names:
                found.append(f"{place}: {ast.unparse(node)}")
    return found


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _is_module(node: ast.ImportFrom, name: str, graph: dict[str, set[str]]) -> bool:
    return any(module.endswith(f"{(node.module or '').lstrip('.')}.{name}".lstrip(".")) for module in graph)


def used_by_tests_alone(root: Path) -> list[str]:
    """Public top-level names that no source file but their own mentions, and that their own mentions once."""
    texts = {path: path.read_text(encoding="utf-8") for path in [*sources(root), *_other_code(root)]}
    counts: dict[str, int] = {}
    for text in texts.values():
        for word in re.findall(r"\w+", text):
            counts[word] = counts.get(word, 0) + 1
    return [
        f"{path.relative_to(root).as_posix()}: {name}"
        for path in sources(root)
        for name in _public_names(ast.parse(texts[path]))
        if counts[name] == 1
    ]


def _other_code(root: Path) -> Iterator[Path]:
    """What else uses the source: generators of pages, the table of rules, the project's entry points."""
    yield from sorted((root / "docs").rglob("*.py"))
    yield from (path for path in (root / "pyproject.toml", root / "registry" / "rules.yaml") if path.is_file())


def _public_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))
