"""The consent store off the event loop: one thread owns it, calls await their answers in the order they were asked."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from target_stack.compliance.store import ConsentStore
from target_stack.gate import Gate

T = TypeVar("T")


class Ledger:
    """`open` first; `ask` from the loop; `aclose` at the end."""

    def __init__(self, new_store: Callable[[], ConsentStore]) -> None:
        # Before each question; whoever wants to refuse it stands there.
        self.gate = Gate()
        self._new_store = new_store
        self._store: ConsentStore | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compliance")

    async def open(self) -> None:
        """Connect. Raises StoreError."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    def _open(self) -> None:
        self._store = self._new_store()

    async def ask(self, question: Callable[[ConsentStore], T]) -> T:
        """Return what `question` makes of the store. Raises what it raises.

        A caller that is cancelled has asked nevertheless: what was begun is written.
        """
        asked = asyncio.get_running_loop().run_in_executor(self._thread, self._asked, question)
        return await asyncio.shield(asked)

    def _asked(self, question: Callable[[ConsentStore], T]) -> T:
        if self._store is None:
            raise RuntimeError("the ledger is not open")
        self.gate.pass_through()
        return question(self._store)

    async def aclose(self) -> None:
        """Finish what was asked, then close the store."""
        if self._store is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._store.close)
            self._store = None
        self._thread.shutdown(wait=False)
