"""How loud and how long a delivered stem shall be, as a preset says it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

__all__ = ["LevelPolicy", "TailPolicy"]


class LevelPolicy(BaseModel):
    """Say how loud the delivered stem shall be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["match", "keep", "peak", "lufs"] = Field(
        default="match",
        description="match: as loud as the input. keep: as the chain leaves it, peaks too. "
        "peak: true peak at the ceiling. lufs: integrated loudness at target_lufs.",
    )
    target_lufs: float = Field(default=-18.0, ge=-70.0, le=0.0, description="Used by mode lufs.")
    ceiling_dbtp: float = Field(default=-1.0, ge=-40.0, le=20.0, description="Highest true peak delivered.")
    max_gain_db: float = Field(default=12.0, ge=0.0, le=60.0, description="Most gain or loss for the level.")
    common_trim: bool = Field(
        default=False, description="One trim for all stems, so that they still add up to their mix."
    )
    limiter: bool = Field(
        default=False,
        description="Turn down only the peaks that exceed the ceiling, instead of trimming the whole stem.",
    )
    allow_loss: bool = Field(
        default=False,
        description="Let the chain take away more than 6 dB without a warning, and fall silent where sound "
        "goes in without failing the stem.",
    )

    @model_serializer(mode="wrap")
    def _without_what_is_not_said(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Keys of renders from before this key was known stay what they were.
        data: dict[str, Any] = dump(self)
        if not self.allow_loss:
            del data["allow_loss"]
        return data

    @model_validator(mode="after")
    def _check_sum(self) -> LevelPolicy:
        if self.limiter and self.common_trim:
            raise ValueError(
                "limiter and common_trim exclude each other: stems limited one by one no longer add up"
            )
        return self


class TailPolicy(BaseModel):
    """Say how long a stem sounds on after its input has ended."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["none", "auto", "fixed", "to_bar"] = Field(
        default="none",
        description="none: as long as the input. auto: until it has died away. fixed: some seconds more. "
        "to_bar: up to the next bar line.",
    )
    seconds: float = Field(default=2.0, ge=0.0, le=600.0, description="Used by mode fixed.")
    max_s: float = Field(default=10.0, gt=0.0, le=600.0, description="Longest tail for mode auto.")
    threshold_dbfs: float = Field(
        default=-90.0, ge=-160.0, le=-20.0, description="Below this a sound has died away, for mode auto."
    )
    fade_s: float = Field(
        default=0.02,
        ge=0.0,
        le=60.0,
        description="Fade at the end of the tail; never reaches into the input.",
    )
