"""Reading YAML from strangers: every refusal is one line and never a traceback of the parser."""

from pathlib import Path

import pytest

from bitjoule.hardware import HardwareError
from bitjoule.hardware.document import MAX_BYTES, plain, read_file, read_text


def refusal(text: str) -> str:
    with pytest.raises(HardwareError) as caught:
        read_text(text, "my.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "my.yaml: must hold keys and values (schema, name, kind, ...), not nothing"),
        ("- a\n- b\n", "my.yaml: must hold keys and values (schema, name, kind, ...), not a list"),
        ("moons", "my.yaml: must hold keys and values (schema, name, kind, ...), not one value"),
        ("[" * 5000, "my.yaml: nests too deeply; a hardware description has about four levels"),
    ],
)
def test_not_a_description(text: str, message: str) -> None:
    assert refusal(text) == message


def test_syntax_errors_say_where() -> None:
    assert refusal("a: [1, 2\nb: 3\n").startswith("my.yaml: is not YAML: line 2, column 2: ")


def test_alias_bombs_are_stopped() -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 30)]
    assert refusal("\n".join(lines)) == "my.yaml: expands more than 100 aliases; write the values out"


def test_a_few_aliases_are_fine() -> None:
    assert read_text("a: &x 3\nb: *x\n", "my.yaml") == ({"a": 3, "b": 3}, [])


def test_tags_and_duplicate_keys_are_faults_among_others() -> None:
    document, faults = read_text("a: !!python/object:os.system x\nb: 1\nb: 2\n", "my.yaml")
    assert document == {"a": None, "b": 1}
    assert [fault.text for fault in faults] == [
        "a must be a plain value, not one with the YAML tag 'tag:yaml.org,2002:python/object:os.system'",
        "b stands twice, again in line 3; keep one",
    ]


def test_files(tmp_path: Path) -> None:
    for make, text in (
        (lambda p: None, "there is no such file; give a preset's name or the path of a YAML file"),
        (lambda p: p.mkdir(), "is a directory; give the YAML file in it"),
        (lambda p: p.write_bytes(b"\xff"), "must be UTF-8 text; byte 0 is not"),
        (
            lambda p: p.write_bytes(b" " * (MAX_BYTES + 1)),
            "must be at most 1 MiB; a hardware description is a few KiB",
        ),
    ):
        path = tmp_path / f"{abs(hash(text))}.yaml"
        make(path)
        with pytest.raises(HardwareError) as caught:
            read_file(path)
        assert str(caught.value) == f"{path}: {text}"


def test_python_mappings_read_like_files() -> None:
    assert plain({"a": (1, {"b": 2})}) == {"a": [1, {"b": 2}]}
