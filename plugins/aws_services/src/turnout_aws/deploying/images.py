"""Images in a repository of ECR: each by the digest of what it is built from, built and pushed where it is not there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from turnout.errors import BackendError, UserError

from turnout_aws.clients import CallFailed, call
from turnout_aws.deploying.building import Builder, Login
from turnout_aws.deploying.packages import Image

__all__ = ["REPOSITORY", "Repository"]

REPOSITORY: Final = "RepositoryArn"
"""The parameter that says where a package's images are."""
_ARN: Final = re.compile(r"arn:aws[a-z-]*:ecr:[a-z0-9-]+:(\d{12}):repository/([a-z0-9._/-]+)")
_ABSENT: Final = "ImageNotFoundException"


class Repository:
    """`client` is boto3's for ECR, `builder` is asked for once something has to be built. `UserError` where the ARN is none."""

    def __init__(self, client: Any, arn: str, builder: Callable[[], Builder], tell: Callable[[str], None]) -> None:
        found = _ARN.fullmatch(arn)
        if found is None:
            raise UserError(
                f"{REPOSITORY}: {arn!r} is not the ARN of a repository of ECR (arn:aws:ecr:…:repository/shop)"
            )
        self._named = {"registryId": found[1], "repositoryName": found[2]}
        self._client = client
        self._builder = builder
        self._tell = tell

    async def provide(self, image: Image, *, dry_run: bool) -> str:
        """The image's address by its digest. What is not there is built and pushed; with `dry_run` it is only said, and the
        address is that of a tag. What was pushed by somebody else meanwhile is as good."""
        address, tag = await self._address(), f"turnout-{image.sha256}"
        there = await self._find(tag)
        if there is not None:
            return f"{address}@{there}"
        if dry_run:
            self._tell(f"{image.directory}: it would be built, and pushed to {address}")
            return f"{address}:{tag}"
        builder = self._builder()
        self._tell(f"building {image.directory} by {builder.tool}: the first time takes minutes")
        await builder.build(image.directory, f"{address}:{tag}", platform=image.platform)
        self._tell(f"pushing {address}:{tag}")
        try:
            await builder.push(f"{address}:{tag}", await self._login(address))
        except BackendError:
            if await self._find(tag) is None:
                raise
        pushed = await self._find(tag)
        if pushed is None:
            raise BackendError(f"{address}:{tag}: it was pushed, and ECR does not have it: look at the repository")
        return f"{address}@{pushed}"

    async def _address(self) -> str:
        """Without a tag: `123456789012.dkr.ecr.eu-central-1.amazonaws.com/shop`."""
        name = self._named["repositoryName"]
        asked = {"registryId": self._named["registryId"], "repositoryNames": [name]}
        answer = await call(f"repository {name}", self._client.describe_repositories, **asked)
        address: str = answer["repositories"][0]["repositoryUri"]
        return address

    async def _find(self, tag: str) -> str | None:
        """The digest of the image of that tag."""
        try:
            answer = await call(
                f"image {tag}", self._client.describe_images, imageIds=[{"imageTag": tag}], **self._named
            )
        except CallFailed as error:
            if error.code == _ABSENT:
                return None
            raise
        digest: str = answer["imageDetails"][0]["imageDigest"]
        return digest

    async def _login(self, address: str) -> Login:
        answer = await call("a login to ECR", self._client.get_authorization_token)
        return Login(
            host=address.split("/", maxsplit=1)[0], secret=answer["authorizationData"][0]["authorizationToken"]
        )
