"""A place where the agent asks something outside of itself, a disk or a database, and may be refused."""

from collections.abc import Callable

# Raises what the disk or the database would have raised.
Obstacle = Callable[[], None]


class Gate:
    """`pass_through` before each request; open but for what faults put into it. For any thread."""

    def __init__(self) -> None:
        self._obstacles: tuple[Obstacle, ...] = ()

    def put(self, obstacle: Obstacle) -> None:
        """Put something into the way."""
        self._obstacles = (*self._obstacles, obstacle)

    def take_out(self, obstacle: Obstacle) -> None:
        """Take it out; one that is not there is no error."""
        self._obstacles = tuple(one for one in self._obstacles if one != obstacle)

    def pass_through(self) -> None:
        """Go through, or raise what stands in the way raises."""
        for obstacle in self._obstacles:
            obstacle()
