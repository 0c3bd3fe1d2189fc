"""CSV, in the dialects that are met: RFC 4180, semicolons, tabs, other quotes, other encodings.

Values stay text: `007` and `1e5` are not numbers until somebody says so. Large files are converted from and to NDJSON as
files (`rows: file`), a row at a time.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from turnout.connectors import ActionContext, Effect, File, Inputs, Value
from typing_extensions import TypedDict

from turnout_connectors.data.connector import connector
from turnout_connectors.data.content import (
    MEMORY_BYTES,
    Content,
    Encoding,
    Spool,
    faulty,
    in_thread,
    new_spool,
    spooled,
    stored,
)

__all__: list[str] = []

_FIELD_BYTES = 16 * 1024 * 1024
_Character = Annotated[str, Field(min_length=1, max_length=1)]


class Dialect(Inputs):
    """How the table is written. The defaults are RFC 4180's."""

    delimiter: _Character = Field(default=",", description="Between fields")
    quote: _Character = Field(default='"', description="Around fields; doubled inside them")
    escape: _Character | None = Field(default=None, description="Before a quote inside a field, instead of doubling it")
    encoding: Encoding = "utf-8"


class ParseCsv(Dialect):
    content: Content
    header: bool | list[str] = Field(
        default=True,
        description="The first row names the columns (true), there are no names (false), or these are the names",
    )
    rows: Literal["list", "file"] = Field(
        default="list", description="Rows as a list, or as a file of NDJSON for tables larger than 64 MiB"
    )


class WriteCsv(Dialect):
    rows: Value = Field(description="Rows: a list of objects or of lists, or a file of NDJSON of them")
    columns: list[str] | None = Field(
        default=None, description="Columns of objects, in order; by default the keys of the first object"
    )
    header: bool = Field(default=True, description="Write the columns' names first")
    line_end: Literal["\r\n", "\n"] = Field(default="\r\n", description="End of each line")
    guard_formulas: bool = Field(
        default=False,
        description="Put an apostrophe before text that a spreadsheet would run as a formula (=, +, -, @): for people's eyes, not machines",
    )
    name: str = Field(default="data.csv", description="Name of the file")


class Table(TypedDict):
    rows: Annotated[list[Any] | File, Field(description="Objects by column, or lists where there are no names")]
    columns: Annotated[list[str], Field(description="Names of the columns, in order")]


@connector.action(effect=Effect.PURE)
async def parse_csv(context: ActionContext, inputs: ParseCsv) -> Table:
    """Parse CSV.

    A row with more fields than columns fails the step; missing fields at its end are null.
    """
    size = len(inputs.content) if isinstance(inputs.content, str) else inputs.content.size
    if inputs.rows == "list" and size > MEMORY_BYTES:
        raise faulty(
            "too_large", f"the table has {size} bytes; above {MEMORY_BYTES} take its rows as a file (rows: file)"
        )
    encoding = inputs.encoding if isinstance(inputs.content, File) else "utf-8"
    with await spooled(context, inputs.content) as spool:
        if inputs.rows == "list":
            columns, rows = await in_thread(_listed, inputs, spool, encoding)
            return {"rows": rows, "columns": columns}
        with new_spool() as out:
            columns = await in_thread(_lines, inputs, spool, encoding, out)
            file = await stored(context, out, name="rows.ndjson", content_type="application/x-ndjson")
            return {"rows": file, "columns": columns}


@connector.action(effect=Effect.PURE)
async def write_csv(context: ActionContext, inputs: WriteCsv) -> File:
    """Write rows to a CSV file.

    Lists and objects inside a row are written as JSON; null is an empty field; true and false as JSON writes them.
    """
    rows = inputs.rows.load() if inputs.rows.files else None
    with new_spool() as out:
        if isinstance(rows, File):
            with await spooled(context, rows) as spool:
                await in_thread(_write, inputs, (Value.parse(line) for line in spool if line.strip()), out)
        else:
            await in_thread(_write, inputs, inputs.rows.items(), out)
        return await stored(context, out, name=inputs.name, content_type=f"text/csv; charset={inputs.encoding}")


def _listed(inputs: ParseCsv, spool: Spool, encoding: str) -> tuple[list[str], list[Any]]:
    columns, rows = _rows(inputs, spool, encoding)
    return columns, list(rows)


def _lines(inputs: ParseCsv, spool: Spool, encoding: str, out: Spool) -> list[str]:
    columns, rows = _rows(inputs, spool, encoding)
    for row in rows:
        out.write(Value(row).json + b"\n")
    return columns


def _rows(inputs: ParseCsv, spool: Spool, encoding: str) -> tuple[list[str], Iterator[Any]]:
    csv.field_size_limit(_FIELD_BYTES)  # the module's own limit, 128 KiB, is less than real fields have
    text = io.TextIOWrapper(spool, encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="")
    reader = csv.reader(text, strict=True, **_options(inputs))
    records = _checked(reader, encoding)
    columns = list(inputs.header) if isinstance(inputs.header, list) else next(records, []) if inputs.header else []
    if len(set(columns)) != len(columns):
        twice = next(column for column in columns if columns.count(column) > 1)
        raise faulty("csv", f"two columns are named {twice!r}: name them yourself with `header`")
    return columns, _named(records, columns, reader) if columns else records


def _checked(reader: Any, encoding: str) -> Iterator[list[str]]:
    """The records, empty lines left out; faults say in which line they are."""
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise faulty("csv", f"line {reader.line_num}: {error}") from error
        except UnicodeDecodeError as error:
            raise faulty("encoding", f"after line {reader.line_num}: not {encoding}: {error.reason}") from error
        if record:
            yield record


def _named(records: Iterator[list[str]], columns: list[str], reader: Any) -> Iterator[dict[str, str | None]]:
    for record in records:
        if len(record) > len(columns):
            raise faulty("csv", f"line {reader.line_num}: {len(record)} fields, but {len(columns)} columns")
        row: dict[str, str | None] = dict(zip(columns, record, strict=False))
        row.update(dict.fromkeys(columns[len(record) :]))
        yield row


def _write(inputs: WriteCsv, rows: Iterable[Value], out: Spool) -> None:
    text = io.TextIOWrapper(out, encoding=inputs.encoding, newline="", write_through=True)
    writer = csv.writer(text, lineterminator=inputs.line_end, **_options(inputs))
    columns = inputs.columns
    try:
        for number, row in enumerate(rows):
            data = row.load()
            if isinstance(data, Mapping):
                columns = list(data) if columns is None else columns
                if inputs.columns is None and (unknown := data.keys() - set(columns)):
                    raise faulty(
                        "csv", f"row {number + 1} has {min(unknown)!r}, which the first row has not: name the `columns`"
                    )
                cells = [data.get(column) for column in columns]
            elif isinstance(data, list):
                cells = data
            else:
                raise faulty("csv", f"row {number + 1} is neither an object nor a list")
            if number == 0 and inputs.header and columns is not None:
                writer.writerow(columns)
            writer.writerow([_cell(cell, guard=inputs.guard_formulas) for cell in cells])
        if inputs.header and out.tell() == 0 and columns is not None:
            writer.writerow(columns)
    except (csv.Error, UnicodeEncodeError) as error:
        raise faulty("csv", f"cannot be written: {error}") from error
    finally:
        text.detach()


def _cell(value: Any, *, guard: bool) -> str:
    match value:
        case None:
            return ""
        case str():
            return f"'{value}" if guard and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value
        case File():
            raise faulty("csv", f"a cell holds the file {value.name!r}: a table has no bytes")
        case _:
            return Value(value).json.decode()


def _options(dialect: Dialect) -> dict[str, Any]:
    return {
        "delimiter": dialect.delimiter,
        "quotechar": dialect.quote,
        "escapechar": dialect.escape,
        "doublequote": dialect.escape is None,
    }
