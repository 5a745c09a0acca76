"""The house rules that a machine can hold: who imports whom, who loads torch, what is public."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "bitjoule"

# room: (rooms it may import, may it load torch)
TABLE: dict[str, tuple[set[str], bool]] = {
    "formats": (set(), False),
    "scheme": ({"formats"}, False),
    "workload": ({"formats", "scheme"}, False),
    "hardware": ({"formats"}, False),
    "mapping": ({"workload", "hardware"}, False),
    "energy": ({"mapping", "workload", "hardware", "scheme"}, False),
    "search": ({"energy", "workload", "scheme"}, False),
    "studies": (set(), False),
    "report": ({"search", "energy"}, False),
    "network": ({"formats", "scheme", "workload"}, True),
    "quant": ({"formats", "network"}, True),
    "zoo": ({"network"}, True),
    "train": ({"quant", "network", "zoo", "scheme"}, True),
    "integer": ({"quant", "network", "formats", "scheme"}, True),
    "export": ({"integer", "network"}, True),
    "tta": ({"integer", "hardware", "formats"}, False),
    "rtl": ({"integer", "formats"}, False),
}
FRONT_DOOR = {"__init__", "__main__", "cli", "front_door"}
ORDER = list(TABLE)


def above(room: str) -> set[str]:
    """What `room` may import: the named rooms and, through them, what those may import."""
    found: set[str] = set()
    waiting = list(TABLE[room][0])
    while waiting:
        other = waiting.pop()
        if other not in found:
            found.add(other)
            waiting += TABLE[other][0]
    return found


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).with_suffix("").parts[0], path


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, is it imported when the file is loaded) of every import statement."""
    tree = ast.parse(path.read_text())
    top = {id(node) for node in ast.walk(tree)}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            top -= {id(node) for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or "", id(node) in top
            if node.module == "bitjoule":
                yield from ((f"bitjoule.{alias.name}", id(node) in top) for alias in node.names)


ALL_MODULES = [pytest.param(room, path, id=str(path.relative_to(SOURCE))) for room, path in modules()]


@pytest.mark.parametrize(("room", "path"), ALL_MODULES)
def test_imports_go_one_way(room: str, path: Path) -> None:
    if room in FRONT_DOOR or room.startswith("cli"):
        return
    assert room in TABLE, f"{path.name}: {room!r} is no room of DESIGN.md"
    allowed = above(room) | {room}
    for module, _ in imports(path):
        parts = module.split(".")
        if parts[0] == "bitjoule" and len(parts) > 1 and parts[1] in TABLE:
            assert parts[1] in allowed, f"{room} must not import {module}"
        if parts[0] in ("torch", "torchvision") and not TABLE[room][1]:
            raise AssertionError(f"{room} must not load torch: {path}")


@pytest.mark.parametrize(("room", "path"), ALL_MODULES)
def test_public_names_are_listed_and_exist(room: str, path: Path) -> None:
    tree = ast.parse(path.read_text())
    if path.name == "__main__.py":
        return
    assigned = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
    ]
    assert len(assigned) == 1, f"{path}: exactly one __all__"
    listed = ast.literal_eval(assigned[0])
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            defined |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            defined |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            defined.add(node.target.id)
    lazy = "__getattr__" in defined
    assert lazy or set(listed) <= defined, f"{path}: {set(listed) - defined} listed but not defined"


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


LIGHT = [
    "bitjoule",
    *(f"bitjoule.{room}" for room in ORDER if not TABLE[room][1] and (SOURCE / room).exists()),
]


@pytest.mark.parametrize("module", [*LIGHT, "bitjoule.scheme", "bitjoule.cli"])
def test_half_of_the_house_never_loads_torch(module: str) -> None:
    loaded = loaded_after(f"import {module}")
    assert "torch" not in loaded
    if module in ("bitjoule", "bitjoule.cli"):
        assert "scipy" not in loaded
        assert "plotly" not in loaded


def test_the_front_door_is_small() -> None:
    import bitjoule

    assert len(bitjoule.__all__) <= 25
    for name in bitjoule.__all__:
        assert getattr(bitjoule, name) is not None
