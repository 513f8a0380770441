"""A call that never came up, and whose doing it was."""

from harness.model.errors import TargetError
from harness.model.records import Cause


class SetupFailure(TargetError):  # noqa: N818 - the field's word; "error" is what the peer sent
    """The call could not be set up; `cause` is what the record says."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail
