"""The Locust user: one slot that makes one call after another. It only waits; the engine does the calling."""

from typing import ClassVar

from locust import User, task
from locust.exception import StopUser

from harness.load.session import Session


class VoiceUser(User):
    """Takes the next call of the plan, waits until it is due, places it and awaits its end."""

    # The run now going on, None between runs.
    session: ClassVar[Session | None] = None

    @task
    def call(self) -> None:
        """Make one call; a user for whom there is none leaves."""
        session = VoiceUser.session
        if session is None or not session.make_call():
            raise StopUser
