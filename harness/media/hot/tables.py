"""Bundles of tables that cost compiled code one argument each.

`@bundle` is put on a NamedTuple of arrays, numbers and other bundles. Interpreted, it stays what it is. Compiled, its
instances become handles: numba would flatten a tuple of thirty arrays into two hundred arguments of every function,
which costs minutes of compiling and microseconds of running. A handle is the address of a directory, in which each
field has its address and sizes; `media.calls[i]` reads the directory and then the table.

A handle keeps its arrays alive; compiled code must not outlive it.
"""

import hashlib
from typing import Any, TypeVar

import numpy as np

from harness.media.hot.jit import INTERPRETED

_Class = TypeVar("_Class", bound=type)

if INTERPRETED:

    def bundle(cls: _Class) -> _Class:
        """Leave the NamedTuple as it is."""
        return cls

else:
    from llvmlite import ir
    from numba import typeof
    from numba.core import cgutils, types
    from numba.core.imputils import impl_ret_borrowed
    from numba.core.typing.templates import AttributeTemplate
    from numba.extending import NativeValue, infer_getattr, lower_getattr_generic, models, register_model, unbox
    from numba.np.arrayobj import populate_array

    _WORD = ir.IntType(64)

    class BundleType(types.Type):
        """Numba's type of a handle: the fields' names and types in the order of the directory."""

        def __init__(self, name: str, fields: tuple[tuple[str, Any], ...]) -> None:
            self.fields = fields
            # The name goes into every symbol of every function: a digest of the fields keeps it short.
            digest = hashlib.blake2s(repr(fields).encode(), digest_size=6).hexdigest()
            super().__init__(f"{name}_{digest}")

        def place(self, name: str) -> tuple[int, Any] | None:
            """Return the first word and the type of a field, None when there is no such field."""
            word = 0
            for field, kind in self.fields:
                if field == name:
                    return word, kind
                word += _words(kind)
            return None

    def _words(kind: Any) -> int:
        """Return how many words of the directory a field takes: address and shape, or itself."""
        return 1 + kind.ndim if isinstance(kind, types.Array) else 1

    class _Handle:
        """One instance: the NamedTuple, for Python, and its directory, for compiled code."""

        def __init__(self, fields: Any) -> None:
            self.address: int
            self._fields = fields
            words: list[int] = []
            kinds: list[tuple[str, Any]] = []
            for name, value in zip(fields._fields, fields, strict=True):
                kind = typeof(value)
                kinds.append((name, kind))
                if isinstance(kind, types.Array):
                    words += [int(value.ctypes.data), *value.shape]
                else:
                    words.append(value.address if isinstance(value, _Handle) else int(value))
            self._directory = np.array(words, np.int64)
            self.address = int(self._directory.ctypes.data)
            self._numba_type_ = BundleType(type(fields).__name__, tuple(kinds))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._fields, name)

    def bundle(cls: _Class) -> _Class:
        """Have the constructor of this NamedTuple return handles."""

        def construct(*args: Any, **kwargs: Any) -> Any:
            return _Handle(cls(*args, **kwargs))

        construct.__name__, construct.__doc__ = cls.__name__, cls.__doc__
        return construct  # type: ignore[return-value]

    @register_model(BundleType)
    class _BundleModel(models.PrimitiveModel):
        def __init__(self, dmm: Any, kind: Any) -> None:
            super().__init__(dmm, kind, _WORD)

    @unbox(BundleType)
    def _unbox(_kind: Any, value: Any, context: Any) -> Any:
        address = context.pyapi.object_getattr_string(value, "address")
        native = context.pyapi.long_as_longlong(address)
        context.pyapi.decref(address)
        return NativeValue(native)

    @infer_getattr
    class _BundleAttributes(AttributeTemplate):
        key = BundleType

        def generic_resolve(self, kind: Any, name: str) -> Any:
            """Return the type of a field."""
            found = kind.place(name)
            return None if found is None else found[1]

    @lower_getattr_generic(BundleType)
    def _field(context: Any, builder: Any, kind: Any, value: Any, name: str) -> Any:
        word, field = kind.place(name)
        directory = builder.inttoptr(value, _WORD.as_pointer())

        def load(offset: int) -> Any:
            return _constant_load(builder, cgutils.gep(builder, directory, word + offset))

        if not isinstance(field, types.Array):
            return load(0)
        shape = [load(1 + axis) for axis in range(field.ndim)]
        array = context.make_array(field)(context, builder)
        item = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(field.dtype)))
        strides = [item]
        for length in reversed(shape[1:]):
            strides.insert(0, builder.mul(strides[0], length))
        data = builder.inttoptr(load(0), array.data.type)
        populate_array(array, data=data, shape=shape, strides=strides, itemsize=item, meminfo=None)
        return impl_ret_borrowed(context, builder, field, array._getvalue())  # noqa: SLF001 - numba's own way

    def _constant_load(builder: Any, pointer: Any) -> Any:
        """Load a word that never changes, so that LLVM may keep it in a register across calls."""
        loaded = builder.load(pointer)
        loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
        return loaded
