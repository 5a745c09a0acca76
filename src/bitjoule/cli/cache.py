"""`bitjoule cache`: what the mapper remembers on this machine."""

from __future__ import annotations

import typer

from bitjoule.cli.output import JsonOption, VerboseOption, print_json, speaking

__all__ = ["cache_app"]

cache_app = typer.Typer(no_args_is_help=True, help="Mappings that are remembered: info, clear.")


@cache_app.command("info")
def cache_info(as_json: JsonOption = False, verbose: VerboseOption = False) -> None:
    """Where the file is, how many mappings it holds, how large it is."""
    with speaking(verbose=verbose):
        from bitjoule.mapping.memo_file import MemoFile, memo_path
        from bitjoule.report.units import size_text

        info = MemoFile(memo_path()).info()
        if as_json:
            document = {"path": str(info.path), "mappings": info.entries, "size_bytes": info.size_bytes}
            print_json("cache info", document)
        else:
            held = "unreadable" if info.entries is None else f"{info.entries:,} mappings"
            print(f"{info.path}: {held}, {size_text(8 * info.size_bytes)}")


@cache_app.command("clear")
def cache_clear(as_json: JsonOption = False, verbose: VerboseOption = False) -> None:
    """Forget every mapping; they are searched for again when needed."""
    with speaking(verbose=verbose):
        from bitjoule.mapping.memo_file import MemoFile, memo_path

        file = MemoFile(memo_path())
        before = file.info()
        file.clear()
        if as_json:
            print_json("cache clear", {"path": str(before.path), "removed": before.entries})
        else:
            removed = "an unreadable file" if before.entries is None else f"{before.entries:,} mappings"
            print(f"{before.path}: removed {removed}")
