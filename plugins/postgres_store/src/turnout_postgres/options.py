"""`[backends.postgres]` of `turnout.toml`, checked."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

__all__ = ["PostgresOptions"]


class PostgresOptions(BaseModel):
    """What can be set. `url` may be a reference (`env:DATABASE_URL`) and may hold a password: it is in no message."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, populate_by_name=True
    )

    url: str = Field(min_length=1, description="Where the database is, or a reference: `env:DATABASE_URL`.")
    namespace: str = Field(
        default="turnout",
        alias="schema",
        pattern=r"^[a-z_][a-z0-9_]{0,62}$",
        description="The schema that holds Turnout's tables.",
    )
    pool_min: int = Field(default=1, ge=0, le=1000, description="Connections that a process keeps open.")
    pool_max: int = Field(
        default=10, ge=1, le=1000, validate_default=True, description="Connections that a process opens at most."
    )
    timeout: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        strict=False,
        description="Seconds for which an outage delays what is asked, before it fails.",
    )
    migrate: bool = Field(
        default=False,
        description="Bring the tables up to date at start: for development; elsewhere it is done by hand.",
    )

    @field_validator("pool_max")
    @classmethod
    def _holds_the_least(cls, most: int, others: ValidationInfo) -> int:
        if most < others.data.get("pool_min", 0):
            raise ValueError(f"it is {most}, below pool_min, {others.data['pool_min']}")
        return most
