"""The little of `curl` that documentation uses, for machines that have none: the pages' commands must run there too.

python -m tools.curl [-s] [-i] [-X METHOD] [-H 'name: value'] [-d DATA|@FILE] URL
"""

from __future__ import annotations

import argparse
import sys
import urllib.error
import urllib.request
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="curl")
    parser.add_argument("-s", action="store_true", help="show no progress, which this one never does")
    parser.add_argument("-i", action="store_true", help="show the answer's headers")
    parser.add_argument("-X", dest="method")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="data")
    parser.add_argument("url")
    given = parser.parse_args()
    body = None
    if given.data is not None:
        body = Path(given.data[1:]).read_bytes() if given.data.startswith("@") else given.data.encode()
    headers = dict(header.split(": ", 1) for header in given.headers)
    request = urllib.request.Request(given.url, body, headers, method=given.method)  # noqa: S310 - the pages' own addresses
    try:
        answer = urllib.request.urlopen(request, timeout=60)  # noqa: S310
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        if given.i:
            print(f"HTTP/1.1 {answer.status} {answer.reason}\n{answer.headers}", end="")  # noqa: T201
        sys.stdout.flush()
        sys.stdout.buffer.write(answer.read())
    return 0


if __name__ == "__main__":
    sys.exit(main())
