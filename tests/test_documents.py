"""What README.md and docs/ tell people to type runs.

Fences of `console` hold commands after `$ `; fences of `python` hold programs. One marked `slow` runs with
`make test-all`; one marked `fails` exits with 2; one marked `norun` is only checked for known commands.
A fence of `text` right below commands is what the last of them prints; ` ... ` stands for what is left out.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"\n\n```text\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
EFFORT = re.compile(r"[\d,]+ complete mappings? evaluated")
"""How hard the search was: no promise."""


@dataclass(frozen=True)
class Block:
    document: Path
    line: int
    info: tuple[str, ...]
    body: str
    printed: str | None
    """What the document says it prints."""

    @property
    def id(self) -> str:
        return f"{self.document.name}:{self.line}"


def blocks() -> list[Block]:
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            below = PRINTED.match(text, match.end())
            printed = None if below is None else below["body"]
            found.append(Block(document, line, tuple(match["info"].split()), match["body"], printed))
    return found


def parameters(kind: str) -> list[object]:
    chosen = [block for block in blocks() if block.info[:1] == (kind,)]
    return [
        pytest.param(block, id=block.id, marks=[pytest.mark.slow] if "slow" in block.info else [])
        for block in chosen
        if "norun" not in block.info
    ]


def commands(block: Block) -> list[str]:
    joined = block.body.replace("\\\n", " ")
    return [line[2:].strip() for line in joined.splitlines() if line.startswith("$ ")]


def squeezed(text: str) -> str:
    """Words, however lines are broken and columns are filled."""
    return " ".join(EFFORT.sub("N mappings evaluated", text).split())


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the examples in it."""
    shutil.copytree(REPOSITORY / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def environment() -> dict[str, str]:
    data = os.environ.get("BITJOULE_DATA", str(REPOSITORY.parent / "shared" / "data"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "BITJOULE_DATA": data, "COLUMNS": "120"}


@pytest.mark.parametrize("block", parameters("console"))
def test_commands_run(block: Block, desk: Path) -> None:
    for command in commands(block):
        words = shlex.split(command)
        if "BITJOULE_DATA" in block.body and not Path(environment()["BITJOULE_DATA"]).is_dir():
            pytest.skip("no real data here: set BITJOULE_DATA")
        done = subprocess.run(words, cwd=desk, env=environment(), capture_output=True, text=True, check=False)
        expected = 0 if "fails" not in block.info else 2
        assert done.returncode == expected, f"{command}\n{done.stdout}\n{done.stderr}"
    if block.printed is not None:
        shown = squeezed(done.stdout + done.stderr)
        for part in squeezed(block.printed).split(" ... "):
            assert part in shown, block.id


@pytest.mark.parametrize("block", parameters("python"))
def test_programs_run(block: Block, desk: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", block.body],
        cwd=desk,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block.id}\n{done.stderr}"


def test_every_command_shown_exists() -> None:
    known = subprocess.run(
        ["bitjoule", "--help"], env=environment(), capture_output=True, text=True, check=True
    ).stdout
    for block in blocks():
        if block.info[:1] == ("console",):
            for command in commands(block):
                words = shlex.split(command)
                if words[0] == "bitjoule" and len(words) > 1 and not words[1].startswith("-"):
                    assert words[1] in known, f"{block.id}: {command}"


def test_every_document_is_linked_from_the_index() -> None:
    index = (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8")
    for document in (REPOSITORY / "docs").glob("*.md"):
        if document.name != "README.md":
            assert f"({document.name})" in index, f"docs/README.md does not link {document.name}"
