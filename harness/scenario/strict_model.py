"""What every part of a scenario file has in common: unknown keys, wrong types and infinite numbers are refused."""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """Base of the schema's models."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
