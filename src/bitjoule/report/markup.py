"""HTML as text that is safe by construction: whatever is not `Html` is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Column", "Html", "Row", "code", "escape", "join", "paragraph", "table"]


class Html(str):
    """Markup that this package wrote; names and texts of users never become one except through `escape`."""

    __slots__ = ()


NOTHING = Html("")


def escape(text: object) -> Html:
    """`text` with every character that could be markup made inert.

    >>> escape('"><img onerror=x>')
    '&quot;&gt;&lt;img onerror=x&gt;'
    """
    return text if isinstance(text, Html) else Html(html.escape(str(text), quote=True))


def join(parts: Iterable[object], separator: str = "") -> Html:
    """Parts one after another, each escaped unless it is Html."""
    return Html(separator.join(escape(part) for part in parts))


def code(text: object) -> Html:
    """A name, hash or command in the fixed-width face."""
    return Html(f"<code>{escape(text)}</code>")


def paragraph(text: object, kind: str = "") -> Html:
    """One paragraph, with a class where `kind` is given."""
    mark = f' class="{kind}"' if kind else ""
    return Html(f"<p{mark}>{escape(text)}</p>")


@dataclass(frozen=True)
class Column:
    """Heading of a table column; numbers stand right. `hint` explains it, `key` makes it sortable."""

    heading: object
    numeric: bool = False
    hint: str = ""
    key: str = ""


@dataclass(frozen=True)
class Row:
    """Cells of one row (text is escaped); `attributes` is our own markup, as ` data-p=3`."""

    cells: tuple[object, ...]
    attributes: Html = NOTHING


def table(caption: object, columns: Sequence[Column], rows: Iterable[Row], *, kind: str = "") -> Html:
    """A table in its own scroll box; the first cell of a row is its heading.

    Raises:
        ValueError: a row with another number of cells than there are columns.
    """
    head = "".join(_heading(column) for column in columns)
    body = "".join(_row(columns, row) for row in rows)
    mark = f' class="{kind}"' if kind else ""
    return Html(
        f'<div class="scroll"><table{mark}><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>\n"
    )


def _heading(column: Column) -> str:
    kind = ' class="n"' if column.numeric else ""
    hint = f' title="{escape(column.hint)}"' if column.hint else ""
    key = f' data-key="{column.key}"' if column.key else ""
    return f'<th scope="col"{kind}{hint}{key}>{escape(column.heading)}</th>'


def _row(columns: Sequence[Column], row: Row) -> str:
    if len(row.cells) != len(columns):
        raise ValueError(f"a row has {len(row.cells)} cells, the table {len(columns)} columns")
    first, *rest = row.cells
    cells = "".join(
        f'<td class="n">{escape(cell)}</td>' if column.numeric else f"<td>{escape(cell)}</td>"
        for column, cell in zip(columns[1:], rest, strict=True)
    )
    return f'<tr{row.attributes}><th scope="row">{escape(first)}</th>{cells}</tr>'
