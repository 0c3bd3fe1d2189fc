"""The entry point: what this distribution provides. It loads none of it until it is asked, and boto3 not before it is used."""

from __future__ import annotations

from collections.abc import Mapping

from turnout.hookspecs import hookimpl

__all__: list[str] = []


@hookimpl
def turnout_stores() -> Mapping[str, type]:
    from turnout_lambda.s3_payloads import S3PayloadStore

    return {"payloads:s3": S3PayloadStore}
