"""The `data` connector: what is parsed, what is written, and what is refused."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from turnout.connectors import StepError
from turnout.testing.connectors import ActionRunner
from turnout_connectors.data import archives, connector


@pytest.fixture
async def data() -> AsyncIterator[ActionRunner]:
    async with ActionRunner(connector) as runner:
        yield runner


async def _fails(data: ActionRunner, action: str, inputs: Mapping[str, Any]) -> StepError:
    with pytest.raises(StepError) as failed:
        await data.run(action, inputs)
    assert not failed.value.retryable
    return failed.value


async def _written(data: ActionRunner, action: str, inputs: Mapping[str, Any]) -> bytes:
    return await data.files.read((await data.run(action, inputs)).load())


async def test_csv_becomes_objects_of_text(data: ActionRunner) -> None:
    text = 'id,name\r\n007,"Müller, ""M"""\r\n\r\n8,"two\nlines"\r\n9\r\n'

    table = (await data.run("parse_csv", {"content": text})).load()

    assert table["columns"] == ["id", "name"]
    assert table["rows"] == [
        {"id": "007", "name": 'Müller, "M"'},
        {"id": "8", "name": "two\nlines"},
        {"id": "9", "name": None},
    ]


async def test_csv_comes_in_other_dialects_and_encodings(data: ActionRunner) -> None:
    file = await data.files.create("ä;'b;c'\nd;e\n".encode("cp1252"))
    inputs = {"content": file, "encoding": "cp1252", "delimiter": ";", "quote": "'", "header": ["x", "y"]}

    assert (await data.run("parse_csv", inputs)).load()["rows"] == [{"x": "ä", "y": "b;c"}, {"x": "d", "y": "e"}]
    assert (await data.run("parse_csv", {**inputs, "header": False})).load()["rows"] == [["ä", "b;c"], ["d", "e"]]


async def test_a_byte_order_mark_is_no_part_of_the_first_column(data: ActionRunner) -> None:
    file = await data.files.create(b"\xef\xbb\xbfid\r\n1\r\n")

    assert (await data.run("parse_csv", {"content": file})).load()["columns"] == ["id"]


async def test_a_table_larger_than_memory_goes_from_file_to_file(data: ActionRunner) -> None:
    file = await data.files.create(b"id,name\n" + b"".join(b"%d,n\n" % number for number in range(200_000)))

    table = (await data.run("parse_csv", {"content": file, "rows": "file"})).load()
    back = await _written(data, "write_csv", {"rows": table["rows"], "line_end": "\n"})

    assert (await data.files.read(table["rows"])).startswith(b'{"id":"0","name":"n"}\n{"id":"1"')
    assert back == await data.files.read(file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2,3\n", "line 2: 3 fields, but 2 columns"),
        ('a,b\n1,"2\n', "line 2"),
        ("a,a\n1,2\n", "two columns are named 'a'"),
    ],
)
async def test_csv_that_does_not_hold_is_refused_with_its_line(data: ActionRunner, content: str, said: str) -> None:
    error = await _fails(data, "parse_csv", {"content": content})

    assert error.kind == "csv"
    assert said in str(error)


async def test_bytes_of_another_encoding_are_refused(data: ActionRunner) -> None:
    file = await data.files.create("id\nä\n".encode("latin-1"))

    assert (await _fails(data, "parse_csv", {"content": file})).kind == "encoding"
    assert (await _fails(data, "parse_json", {"content": file})).kind == "encoding"
    assert (await _fails(data, "parse_csv", {"content": file, "encoding": "base64"})).kind == "input"


async def test_rows_become_csv(data: ActionRunner) -> None:
    rows = [
        {"id": 10**20, "ok": True, "none": None, "list": [1, "ä"]},
        {"id": 2, "ok": 'say "x"', "none": "a,b", "list": 1.5},
    ]

    text = await _written(data, "write_csv", {"rows": rows})

    assert text.decode() == (
        'id,ok,none,list\r\n100000000000000000000,true,,"[1,""ä""]"\r\n2,"say ""x""","a,b",1.5\r\n'
    )


async def test_csv_has_the_columns_that_were_asked_for_even_without_rows(data: ActionRunner) -> None:
    assert (
        await _written(data, "write_csv", {"rows": [{"a": 1, "b": 2}], "columns": ["b"], "line_end": "\n"}) == b"b\n2\n"
    )
    assert await _written(data, "write_csv", {"rows": [], "columns": ["a", "b"]}) == b"a,b\r\n"
    assert await _written(data, "write_csv", {"rows": [["x", 1]], "line_end": "\n"}) == b"x,1\n"


async def test_formulas_can_be_guarded(data: ActionRunner) -> None:
    text = await _written(data, "write_csv", {"rows": [["=1+1", -5, "-x"]], "guard_formulas": True})

    assert text == b"'=1+1,-5,'-x\r\n"


async def test_a_later_row_with_a_key_of_its_own_does_not_lose_it_silently(data: ActionRunner) -> None:
    error = await _fails(data, "write_csv", {"rows": [{"a": 1}, {"a": 2, "b": 3}]})

    assert "row 2 has 'b'" in str(error)


async def test_xml_becomes_json_by_the_documented_convention(data: ActionRunner) -> None:
    text = (
        '<?xml version="1.0"?><o:orders xmlns:o="urn:x" day="1"><order id="7"><item>a</item><item> b </item><note/></order>'
        "<remark>mixed <b>bold</b> text</remark></o:orders>"
    )

    parsed = (await data.run("parse_xml", {"content": text, "lists": ["order"]})).load()

    assert parsed == {
        "orders": {
            "@day": "1",
            "order": [{"@id": "7", "item": ["a", " b "], "note": None}],
            "remark": {"b": "bold", "#text": "mixed  text"},
        }
    }


async def test_xml_is_read_by_its_own_declared_encoding(data: ActionRunner) -> None:
    file = await data.files.create('<?xml version="1.0" encoding="ISO-8859-1"?><a>ü</a>'.encode("latin-1"))
    text = '<?xml version="1.0" encoding="ISO-8859-1"?><a>ü</a>'

    assert (await data.run("parse_xml", {"content": file})).load() == {"a": "ü"}
    assert (await data.run("parse_xml", {"content": text})).load() == {"a": "ü"}


async def test_namespaces_are_kept_where_asked(data: ActionRunner) -> None:
    parsed = (await data.run("parse_xml", {"content": '<a xmlns="urn:x"/>', "namespaces": "keep"})).load()

    assert parsed == {"{urn:x}a": None}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ('<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;">]><a>&z;</a>', "xml_refused"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "xml_refused"),
        ("<a><b></a>", "not_xml"),
        ("", "not_xml"),
        ("<a>" * 100_000, "too_deep"),
    ],
)
async def test_hostile_and_broken_xml_is_refused(data: ActionRunner, content: str, kind: str) -> None:
    assert (await _fails(data, "parse_xml", {"content": content})).kind == kind


async def test_json_becomes_xml_and_comes_back(data: ActionRunner) -> None:
    value = {
        "orders": {"@day": "<1>", "order": [{"@id": "7", "item": ["a&b", "c"], "note": None}, "text"], "empty": {}}
    }

    text = await _written(data, "write_xml", {"value": value})
    back = (await data.run("parse_xml", {"content": text.decode()})).load()

    assert text.startswith(
        b'<?xml version="1.0" encoding="UTF-8"?>\n<orders day="&lt;1&gt;"><order id="7"><item>a&amp;b</item>'
    )
    assert back == {"orders": {**value["orders"], "empty": None}}


@pytest.mark.parametrize(
    "value",
    [{"a": 1, "b": 2}, {"a b": 1}, {"a": {"<b": 1}}, {"a": [[1]]}, {"a": "\x00"}, {"a": {"@x": {}}}, {"a": [1, 2]}, {}],
)
async def test_what_has_no_form_in_xml_is_refused(data: ActionRunner, value: Any) -> None:
    assert (await _fails(data, "write_xml", {"value": value})).kind == "xml"


async def test_numbers_and_truth_are_written_to_xml_as_json_writes_them(data: ActionRunner) -> None:
    text = await _written(data, "write_xml", {"value": {"a": {"n": 10**25, "t": True}}, "declaration": False})

    assert text == b"<a><n>10000000000000000000000000</n><t>true</t></a>"


async def test_json_keeps_every_digit_both_ways(data: ActionRunner) -> None:
    text = '{"n":123456789012345678901234567890,"u":"ä"}'

    parsed = await data.run("parse_json", {"content": text})

    assert parsed.load() == {"n": 123456789012345678901234567890, "u": "ä"}
    assert json.loads(await _written(data, "write_json", {"value": parsed, "indent": 2})) == json.loads(text)


async def test_ndjson_is_a_value_a_line(data: ActionRunner) -> None:
    assert (await data.run("parse_ndjson", {"content": '{"a":1}\n\n[2]\r\n"\u2028"\n'})).load() == [
        {"a": 1},
        [2],
        "\u2028",
    ]
    assert await _written(data, "write_ndjson", {"items": [{"a": "x\ny"}, None]}) == b'{"a":"x\\ny"}\nnull\n'
    assert "line 2: not JSON" in str(await _fails(data, "parse_ndjson", {"content": "1\n{\n"}))


async def test_a_file_has_no_place_in_json(data: ActionRunner) -> None:
    file = await data.files.create(b"x")

    assert "/a" in str(await _fails(data, "write_json", {"value": {"a": file}}))
    assert (await _fails(data, "write_ndjson", {"items": [file]})).kind == "input"


async def test_gzip_and_back_gives_the_same_file(data: ActionRunner) -> None:
    file = await data.files.create(b"content" * 100_000, name="a.txt")

    packed = (await data.run("gzip", {"content": file})).load()
    again = (await data.run("gzip", {"content": file})).load()
    back = (await data.run("gunzip", {"content": packed})).load()

    assert (packed.name, packed.sha256) == ("a.txt.gz", again.sha256)
    assert (back.name, back.sha256) == ("a.txt", file.sha256)


async def test_a_zip_has_its_files_and_is_the_same_each_time(data: ActionRunner) -> None:
    file = await data.files.create(b"b" * 2_000_000)
    inputs = {"files": {"a.txt": "ä", "sub/b.bin": file}}

    packed = (await data.run("zip", inputs)).load()
    files = (await data.run("unzip", {"content": packed})).load()["files"]
    chosen = (await data.run("unzip", {"content": packed, "select": "sub/*"})).load()["files"]

    assert packed.sha256 == (await data.run("zip", inputs)).load().sha256
    assert [(found.name, found.size) for found in files] == [("a.txt", 2), ("sub/b.bin", 2_000_000)]
    assert [found.sha256 for found in chosen] == [file.sha256]


def _zip_of(name: str, content: bytes = b"x") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


@pytest.mark.parametrize("name", ["../up", "a/../../up", "/etc/passwd", "C:/x", "..\\up", "a\nb"])
async def test_a_path_that_leads_out_of_an_archive_is_refused(data: ActionRunner, name: str) -> None:
    file = await data.files.create(_zip_of(name))

    assert (await _fails(data, "unzip", {"content": file})).kind == "unsafe_path"
    assert (await _fails(data, "zip", {"files": {name: "x"}})).kind == "unsafe_path"


async def test_bombs_are_refused(data: ActionRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_BOMB_BYTES", 1_000_000)
    zeros = b"\0" * 5_000_000
    packed = await data.files.create(gzip.compress(zeros))
    zipped = await data.files.create(_zip_of("a", zeros))

    assert (await _fails(data, "gunzip", {"content": packed})).kind == "too_large"
    assert (await _fails(data, "unzip", {"content": zipped})).kind == "too_large"
    assert (await _fails(data, "unzip", {"content": zipped, "max_bytes": 1000})).kind == "too_large"


@pytest.mark.parametrize(
    "content",
    [b"", b"not an archive", gzip.compress(b"x")[:-6], _zip_of("a")[:-10]],
    ids=["nothing", "no-archive", "half-a-gzip", "half-a-zip"],
)
async def test_damaged_archives_are_refused(data: ActionRunner, content: bytes) -> None:
    file = await data.files.create(content)

    assert (await _fails(data, "unzip", {"content": file})).kind == "not_zip"
    assert (await _fails(data, "gunzip", {"content": file})).kind == "not_gzip"
