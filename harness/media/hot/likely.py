"""Say that a branch is seldom taken: what it calls is then kept out of its caller, which runs for every packet.

Measured on send_tick: digits and holds took 7 ns of each packet without them, and 4 ns said to be unlikely.
"""

from typing import Any

from harness.media.hot.jit import INTERPRETED

if INTERPRETED:

    def unlikely(condition: bool) -> bool:
        """Return the condition."""
        return condition

else:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    @intrinsic
    def unlikely(_context: Any, condition: Any) -> Any:
        """Return the condition."""

        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            flag = ir.IntType(1)
            kind = ir.FunctionType(flag, [flag, flag])
            expect = builder.module.declare_intrinsic("llvm.expect", [flag], kind)
            return builder.call(expect, [arguments[0], flag(0)])

        return types.boolean(condition), generate
