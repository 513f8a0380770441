"""Ask for memory before it is needed: with a thousand calls, each call's rows are out of the cache when its turn comes.

One packet touches some twenty cache lines, each of which takes up to 0.1 µs to come; asked for a few packets ahead,
they come together, and while other packets are worked on. Interpreted, nothing is asked for.
"""

from typing import Any

from harness.media.hot.jit import INTERPRETED, LINE_BYTES, compiled

# How many calls ahead, of those that are served one behind the other.
AHEAD = 6

if INTERPRETED:

    def fetch_row(table: Any, row_bytes: int, index: int, first: int, lines: int) -> None:
        """Do nothing: rows are objects somewhere."""

else:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic
    def _prefetch(_context: Any, address: Any) -> Any:
        """Have the processor fetch the cache line at an address."""

        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
            flag = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [pointer.type, flag, flag, flag])
            function = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
            # To be written, kept in every level, data.
            builder.call(function, [pointer, flag(1), flag(3), flag(1)])
            return context.get_dummy_value()

        return types.void(address), generate

    @compiled
    def fetch_row(table: Any, row_bytes: int, index: int, first: int, lines: int) -> None:
        """Ask for `lines` cache lines of a table's row, from its line `first` on."""
        address = table.ctypes.data + row_bytes * index + LINE_BYTES * first
        for line in range(lines):
            _prefetch(address + LINE_BYTES * line)  # type: ignore[call-arg]
