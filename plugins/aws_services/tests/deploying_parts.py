"""Packages for the tests of deploying, as `turnout package` writes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["NAME", "bucket", "queue", "role", "template", "write_package"]

NAME = "shop-production-lambda"


def template(**resources: Any) -> dict[str, Any]:
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Parameters": {
            "ArtefactBucket": {"Type": "String", "Description": "The bucket."},
            "CodeKey": {"Type": "String", "Description": "The key."},
            "DatabaseUrlSecret": {"Type": "String", "Description": "The ARN of DATABASE_URL."},
        },
        "Resources": resources,
    }


def queue(name: str, **properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name, **properties}}


def bucket(name: str, **more: Any) -> dict[str, Any]:
    return {"Type": "AWS::S3::Bucket", **more, "Properties": {"BucketName": name}}


def role(*actions: str) -> dict[str, Any]:
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    allowed = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]},
            "Policies": [{"PolicyName": "may", "PolicyDocument": {"Version": "2012-10-17", "Statement": [allowed]}}],
        },
    }


def write_package(
    project: Path,
    content: Mapping[str, Any],
    code: bytes = b"code",
    environment: str = "production",
    *,
    target: str = "lambda",
    services: Sequence[str] = (),
) -> None:
    directory = project / "dist" / target
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "template.json").write_text(json.dumps(content))
    (directory / "code.zip").write_bytes(code)
    artefacts: Any = {"CodeKey": {"path": "code.zip", "sha256": hashlib.sha256(code).hexdigest()}}
    told: dict[str, Any] = {"project": "shop", "environment": environment, "target": target, "artefacts": artefacts}
    told["services"] = list(services)
    (directory / "manifest.json").write_text(json.dumps(told))
