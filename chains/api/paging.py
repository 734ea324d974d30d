"""The pages of long lists in the API: as chains.inventory.paging finds them."""

from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from chains.inventory import paging
from chains.inventory.asking import BadRequestError

SIZE, MOST = 100, 1000


class KeysetPagination(BasePagination):
    """`limit` rows from `cursor` on; the view says in which `order`, and how many rows there are."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """The rows; raises ValidationError."""
        cursor = request.query_params.get("cursor", "")
        try:
            self.page = paging.page(queryset, view.order, cursor, limit_of(request))
        except BadRequestError as error:
            raise ValidationError({"cursor": [str(error)]}) from None
        self.total = view.total(self.page, queryset)
        self.url = request.build_absolute_uri()
        return list(self.page.rows)

    def get_paginated_response(self, data: Any) -> Response:
        """The rows with the addresses of the pages beside."""
        return Response(
            {
                "count": self.total.count, "count_is_exact": not self.total.more,
                "next": self._link(self.page.next), "previous": self._link(self.page.previous),
                "results": data,
            }
        )  # fmt: skip

    def _link(self, cursor: str) -> str | None:
        return replace_query_param(self.url, "cursor", cursor) if cursor else None

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """For the OpenAPI document."""
        link = {"type": "string", "nullable": True, "format": "uri"}
        return {
            "type": "object",
            "required": ["count", "count_is_exact", "next", "previous", "results"],
            "properties": {
                "count": {"type": "integer", "description": "how many rows there are"},
                "count_is_exact": {
                    "type": "boolean", "description": "false: there are more than `count`",
                },
                "next": link, "previous": link, "results": schema,
            },
        }  # fmt: skip

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """For the OpenAPI document."""
        words = {
            "limit": ("integer", f"rows of a page: {SIZE}, or up to {MOST}"),
            "cursor": ("string", "of the page, from `next` or `previous`; the first without one"),
        }
        return [
            {"name": name, "in": "query", "required": False, "description": text,
             "schema": {"type": kind}}
            for name, (kind, text) in words.items()
        ]  # fmt: skip


def limit_of(request: Request) -> int:
    """Raises ValidationError."""
    text = request.query_params.get("limit", "")
    if not text:
        return SIZE
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        raise ValidationError({"limit": ["Give a whole number, 1 at least."]})
    return min(int(text), MOST)
