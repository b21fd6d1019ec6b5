"""Which room of the project imports which, as text; fails on an arrow that runs back.

    python Testing/project/import_arrows.py [FOLDER]

A room is a folder of CLIPLungLib, or a file that lies loose at its top; the Slicer module (CLIPLung/) is one room.
Every import counts: at the top of a file, inside a function, for types only, and `import_module("...")` with a fixed name.
Exit code 0 when all arrows run down, 1 otherwise.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LIBRARY, MODULE, MODULE_PIECES = "CLIPLungLib", "CLIPLung", "CLIPLungGUI"
LOOSE_FILES_AT_MOST = 9

# From the bottom up, with the reason for the place. A room may import rooms of its own line and of the lines above it.
ORDER: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (LIBRARY, "errors", "version", "device", "vocabulary", "atomic_write"),
        "words and tools that everybody needs and that need nobody",
    ),
    (("image",), "a CT and a patch are there without any network"),
    (("guidelines",), "published rules on sizes and findings; they need neither image nor network"),
    (("model",), "the network sees patches and texts, and nothing of files or patients"),
    (("calibration",), "turns what the network says into probabilities and intervals"),
    (("inference",), "the answer for a nodule: image, model and calibration together"),
    (("followup",), "compares the answers for one nodule in two scans, and finds it in the earlier one"),
    (("cluster",), "the answers for a cohort, computed by many processes or machines"),
    (("similar",), "compares answers with those for known nodules"),
    (("dataset",), "nodules with ratings or outcomes, cut into patches by the same image code"),
    (("lidc",), "makes a data folder of LIDC-IDRI"),
    (("phantom",), "the synthetic chest takes the shapes of its nodules from lidc"),
    (("training",), "learns from a data folder"),
    (("evaluation",), "evaluates trained networks on left-out folds, end to end"),
    (("saliency",), "evaluates heat maps on left-out folds, by the figures of evaluation"),
    (("recalibration",), "refits a trained network to local cases, and compares by the figures of evaluation"),
    (("reproduction",), "the paper's own method, judged by the figures of evaluation"),
    (("ablation",), "what each term of our own method adds, judged by the figures of evaluation"),
    (("report",), "shows an answer as picture or DICOM"),
    (("model_card",), "shows what evaluation found"),
    (("scene",), "shows an answer in an MRML scene"),
    (("demo",), "walks the whole way on the synthetic chest"),
    (("cli", "__main__"), "offers everything below as commands"),
    ((MODULE,), "the Slicer module: a shell of Qt and MRML around the library"),
)
LEVEL = {room: level for level, (rooms, _) in enumerate(ORDER) for room in rooms}
# Packages of the application, and the rooms that may know of them.
OUTSIDE: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("slicer", "vtk", "vtkmodules", "mrml"), frozenset({"scene", "demo", MODULE})),
    **dict.fromkeys(("qt", "ctk", "PySide6", "PyQt5"), frozenset({MODULE})),
}


@dataclass(frozen=True)
class Arrow:
    """One import: the file and line it stands in, the two rooms, and the file it leads to (None where there is no such file)."""

    file: Path
    line: int
    source: str
    target: str
    target_file: Path | None


def project_files(folder: Path) -> list[Path]:
    """The Python files of library and module."""
    return sorted(file for name in (LIBRARY, MODULE) for file in (folder / name).rglob("*.py"))


def module_name(folder: Path, file: Path) -> str:
    """The name by which a file is imported: CLIPLungLib.image.patch, CLIPLungGUI.logic, CLIPLung."""
    base = folder if LIBRARY in file.relative_to(folder).parts[:1] else folder / MODULE
    parts = file.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    """The room of a module's name; None for other packages."""
    parts = module.split(".")
    if parts[0] == LIBRARY:
        return parts[1] if len(parts) > 1 else LIBRARY
    return MODULE if parts[0] in (MODULE, MODULE_PIECES, "Scripts") else None


def imported_names(tree: ast.AST, package: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Every import of a file as (module, names taken from it, line).

    Args:
        package: the parts of the file's own package, for relative imports.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, (), node.lineno
        elif isinstance(node, ast.ImportFrom):
            above = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module, tuple(alias.name for alias in node.names), node.lineno
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value, (), node.lineno


def all_imports(folder: Path) -> Iterator[tuple[Path, str, int]]:
    """(file, imported module, line); `from a import b` leads to a.b where that is a file or a room."""
    names = {module_name(folder, file): file for file in project_files(folder)}
    packages = {name.rpartition(".")[0] for name in names}
    for name, file in names.items():
        package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
        tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
        for module, taken, line in imported_names(tree, package):
            inner = {f"{module}.{part}" for part in taken} & (names.keys() | packages)
            for target in sorted(inner) or [module]:
                yield file, target, line


def arrows(folder: Path) -> list[Arrow]:
    """Every import of one file of the project in another."""
    names = {module_name(folder, file): file for file in project_files(folder)}
    found = []
    for file, module, line in all_imports(folder):
        source, target = room_of(module_name(folder, file)), room_of(module)
        if target is not None and names.get(module) != file:
            found.append(Arrow(file, line, str(source), target, names.get(module)))
    return found


def circles(edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Groups of names that reach each other along the edges, each sorted (Tarjan's strongly connected components)."""
    following: dict[str, set[str]] = {}
    for start, end in edges:
        following.setdefault(start, set()).add(end)
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_names: list[str] = []
    found = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        open_names.append(name)
        for other in sorted(following.get(name, ())):
            if other not in number:
                visit(other)
            if other in open_names:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == number[name]:
            group = open_names[open_names.index(name) :]
            del open_names[-len(group) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(following):
        if name not in number:
            visit(name)
    return sorted(found)


def room_circles(found: Sequence[Arrow]) -> list[list[str]]:
    """Rooms that import each other, directly or by way of others."""
    return circles((arrow.source, arrow.target) for arrow in found if arrow.source != arrow.target)


def file_circles(folder: Path, found: Sequence[Arrow]) -> list[list[str]]:
    """Files that import each other, directly or by way of others."""
    return circles(
        (arrow.file.relative_to(folder).as_posix(), arrow.target_file.relative_to(folder).as_posix())
        for arrow in found
        if arrow.target_file is not None
    )


def back_arrows(folder: Path, found: Sequence[Arrow]) -> list[str]:
    """Imports of a room that stands higher, each with its place and the remedy."""
    return [
        f"{arrow.file.relative_to(folder).as_posix()}:{arrow.line}: '{arrow.source}' imports '{arrow.target}', which stands higher. "
        "Move what both need down, or hand the value in."
        for arrow in found
        if LEVEL.get(arrow.source, len(ORDER)) < LEVEL.get(arrow.target, -1)
    ]


def outside_arrows(folder: Path) -> list[str]:
    """Imports of the application's packages in rooms that must not know of it."""
    faults = []
    for file, module, line in all_imports(folder):
        package, room = module.split(".")[0], str(room_of(module_name(folder, file)))
        if room not in OUTSIDE.get(package, {room}):
            allowed = ", ".join(sorted(OUTSIDE[package]))
            faults.append(
                f"{file.relative_to(folder).as_posix()}:{line}: '{room}' imports {package}; only {allowed} may."
            )
    return faults


def loose_files(folder: Path) -> list[str]:
    """The Python files at the library's top."""
    return sorted(file.name for file in (folder / LIBRARY).glob("*.py"))


def faults_of(folder: Path, found: Sequence[Arrow]) -> list[str]:
    """Everything that makes the check fail, a line each."""
    rooms = {name for arrow in found for name in (arrow.source, arrow.target)}
    rooms |= {str(room_of(module_name(folder, file))) for file in project_files(folder)}
    loose = loose_files(folder)
    return [
        *back_arrows(folder, found),
        *outside_arrows(folder),
        *(f"circle between rooms: {' <-> '.join(group)}" for group in room_circles(found)),
        *(f"circle between files: {' <-> '.join(group)}" for group in file_circles(folder, found)),
        *(
            f"'{room}' is no room of ORDER: give it a place there, with the reason."
            for room in sorted(rooms - LEVEL.keys())
        ),
        *(
            [f"{len(loose)} files lie loose in {LIBRARY}, at most {LOOSE_FILES_AT_MOST} may: {', '.join(loose)}."]
            if len(loose) > LOOSE_FILES_AT_MOST
            else []
        ),
    ]


def picture(folder: Path, found: Sequence[Arrow]) -> str:
    """The rooms from the bottom up, each with the rooms it imports and how often, and the counts."""
    counts = Counter((arrow.source, arrow.target) for arrow in found if arrow.source != arrow.target)
    rooms = {str(room_of(module_name(folder, file))) for file in project_files(folder)}
    rooms |= {name for pair in counts for name in pair}

    def place(room: str) -> tuple[int, str]:
        return LEVEL.get(room, len(ORDER)), room

    width = max(map(len, rooms), default=0)
    lines = []
    for room in sorted(rooms, key=place):
        targets = sorted((target for source, target in counts if source == room), key=place)
        lines.append(f"{room:<{width}} -> {', '.join(f'{name} {counts[room, name]}' for name in targets) or 'nothing'}")
    by_room, by_file = room_circles(found), file_circles(folder, found)
    return "\n".join(
        [
            *lines,
            "",
            f"rooms and loose files: {len(rooms)}; loose files at the library's top: {len(loose_files(folder))}",
            f"arrows between rooms: {len(counts)} (of {sum(counts.values())} imports)",
            f"arrows that run back: {len(back_arrows(folder, found))}",
            f"circles between rooms: {len(by_room)} (of {sum(map(len, by_room))} rooms)",
            f"circles between files: {len(by_file)} (of {sum(map(len, by_file))} files)",
        ]
    )


def main(arguments: Sequence[str]) -> int:
    """Print the arrows of a folder, by default of this project; the exit code."""
    folder = Path(arguments[0]).resolve() if arguments else Path(__file__).resolve().parents[2]
    if not (folder / LIBRARY).is_dir():
        print(f"{folder} holds no folder {LIBRARY}. Give the top folder of the project.", file=sys.stderr)
        return 2
    found = arrows(folder)
    faults = faults_of(folder, found)
    print("\n".join([picture(folder, found), *(["", *faults] if faults else [])]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
