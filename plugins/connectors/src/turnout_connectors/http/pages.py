"""All pages of a list: by Link header, by a URL or cursor in the body, or by page number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import httpx
import jmespath
from jmespath.exceptions import JMESPathError
from turnout.connectors import StepError, Value

from turnout_connectors import transport
from turnout_connectors.http.answers import Answer
from turnout_connectors.http.exchange import Call, Exchange
from turnout_connectors.http.inputs import Paginate

__all__ = ["Pages"]

_COLLECTED_BYTES: Final = 256 * 1024 * 1024


class Pages:
    """Gathers the items of page after page, and says which page comes next."""

    def __init__(self, how: Paginate, exchange: Exchange) -> None:
        self._how = how
        self._exchange = exchange
        self._items: list[Value] = []
        self._bytes = 0
        self._number = how.start
        self._seen: set[str] = set()
        self._next = _NEXT[how.by]
        self.count = 0

    @property
    def first(self) -> Call:
        call = self._exchange.first
        if self._how.by != "page":
            return call
        return self._exchange.next_call(self._with_parameter(call.url, str(self._number)))

    def add(self, answer: Answer, response: httpx.Response, url: httpx.URL) -> Call | None:
        """Take a page's items; the request of the next page, None after the last."""
        self.count += 1
        body = answer["json"]
        if not isinstance(body, Value):
            raise self._fault(url, "the page is not JSON", kind="not_json")
        added = self._gather(body, url)
        target = self._next(self, body, response, url) if added or self._how.by != "page" else None
        if target is None:
            return None
        if str(target) in self._seen:
            raise self._fault(url, "the next page is one that was there before", kind="pagination_loop")
        self._seen.add(str(target))
        if self.count >= self._how.max_pages:
            if self._how.beyond == "stop":
                return None
            raise self._fault(url, f"there are more than {self._how.max_pages} pages", kind="too_many_pages")
        return self._exchange.next_call(target)

    def whole(self, last: Answer) -> Answer:
        """The last page's answer, with the items of all pages as `json`."""
        return {**last, "json": Value(self._items), "pages": self.count}

    def _gather(self, body: Value, url: httpx.URL) -> int:
        items = body if self._how.items is None else Value(self._search(self._how.items, body, url))
        if self._how.items is not None and items.load() is None:
            return 0
        if self._how.items is None and not isinstance(items.load(), list):
            raise self._fault(
                url, "the page is not a list: say with `items` where in it the list is", kind="pagination"
            )
        before = len(self._items)
        self._items.extend(items.items())
        self._bytes += len(body.json)
        if self._bytes > _COLLECTED_BYTES:
            raise self._fault(url, f"the pages are larger than {_COLLECTED_BYTES} bytes", kind="response_too_large")
        return len(self._items) - before

    def _search(self, path: str, body: Value, url: httpx.URL) -> Any:
        try:
            return jmespath.search(path, body.load())
        except JMESPathError as error:
            raise self._fault(url, f"{path}: {error}", kind="pagination") from error

    def _by_link(self, body: Value, response: httpx.Response, url: httpx.URL) -> httpx.URL | None:
        for relation, link in response.links.items():
            if relation is not None and "next" in relation.lower().split():
                return self._join(url, link["url"])
        return None

    def _by_url(self, body: Value, response: httpx.Response, url: httpx.URL) -> httpx.URL | None:
        following = self._search(self._how.next or "", body, url)
        return self._join(url, str(following)) if following else None

    def _by_page(self, body: Value, response: httpx.Response, url: httpx.URL) -> httpx.URL | None:
        self._number += 1
        return self._with_parameter(self._exchange.first.url, str(self._number))

    def _by_cursor(self, body: Value, response: httpx.Response, url: httpx.URL) -> httpx.URL | None:
        cursor = self._search(self._how.next or "", body, url)
        if cursor is None or cursor is False or cursor == "":
            return None
        return self._with_parameter(self._exchange.first.url, str(cursor))

    def _join(self, url: httpx.URL, following: str) -> httpx.URL:
        try:
            return url.join(following)
        except httpx.InvalidURL:
            raise self._fault(url, "the next page's address is not a URL", kind="pagination") from None

    def _with_parameter(self, url: httpx.URL, value: str) -> httpx.URL:
        return url.copy_set_param(self._how.parameter or "", value)

    def _fault(self, url: httpx.URL, why: str, *, kind: str) -> StepError:
        return StepError(f"GET {transport.masked_url(url)}: {why}", kind=kind, retryable=False)


_NEXT: Final[dict[str, Callable[[Pages, Value, httpx.Response, httpx.URL], httpx.URL | None]]] = {
    "link": Pages._by_link,
    "next_url": Pages._by_url,
    "page": Pages._by_page,
    "cursor": Pages._by_cursor,
}
