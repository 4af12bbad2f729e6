"""Comparison of two traced programs by value: same, different, or unknown.

    form(program)  ->  nested tuples of names, numbers and hashes of arrays
    compare(a, b)  ->  "same" | "different", where | "unknown", what

Parameters of equations are often new objects in each trace. Arrays are compared by their bytes,
functions of the host by code, defaults and closure, and other objects by their class and
attributes. What cannot be compared in this way equals nothing, so that it is computed anew.

>>> import jax, jax.numpy as jnp
>>> def program(scale): return form(jax.make_jaxpr(lambda w: jnp.sum(scale * w))(jnp.ones(2)))
>>> compare(program(2.0).tree, program(2.0).tree).status
'same'
>>> compare(program(2.0).tree, program(3.0).tree).status
'different'
"""

import functools
import hashlib
import sys
import traceback
import types
import weakref
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import AbstractValue, Tracer
from jax.tree_util import PyTreeDef

from gdjax.base.errors import LIBRARIES, SITES, is_of_user
from gdjax.base.internals import (
    HIDDEN,
    NAMES,
    RULE_PARAMETERS,
    RULES,
    ClosedJaxpr,
    Jaxpr,
    Literal,
    Primitive,
)

MAX_DEPTH = 24  # levels of objects within a parameter of an equation
MAX_VALUES = 20_000  # objects of one parameter
# Packages whose versions belong to the identity of a sweep, so that their code is known.
PACKAGES = (
    "jax", "jaxlib", "optax", "numpy", "scipy", "equinox", "diffrax", "lineax", "optimistix"
)  # fmt: skip
# Types of JAX and NumPy without attributes of a user, compared by `==`.
PLAIN = (
    str, bytes, int, type(None), type(Ellipsis), np.dtype, Primitive,
    AbstractValue, jax.sharding.Sharding, jax.sharding.Mesh, jax.sharding.AbstractMesh,
    jax.sharding.PartitionSpec, jax.Device,
)  # fmt: skip


class Unknown:
    """A value that cannot be compared, and equals no other."""

    def __init__(self, description: str):
        self.description = description


class Equation(NamedTuple):
    """An equation of a program; `place` names it in messages and equals every other place."""

    primitive: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    parameters: tuple[Any, ...]
    place: "Place"


class Place:
    """The name and the place of an equation, which all comparisons ignore."""

    def __init__(self, equation: Any):
        self.name, self.frames = equation.primitive.name, equation.source_info.traceback

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place)

    def __hash__(self) -> int:
        return 0

    def __str__(self) -> str:
        stack = self.frames and self.frames.as_python_traceback()
        lines = [line for line in traceback.extract_tb(stack) if is_of_user(line.filename)]
        where = f" ({Path(lines[-1].filename).name}, line {lines[-1].lineno})" if lines else ""
        return f"{self.name}{where}"


class Held:
    """An object that a function of the host reads when it runs: the same one, or of equal value.

    Functions of packages may hold values that differ between traces without any effect on results,
    such as the text of a traceback. If these differ, the functions cannot be compared.
    """

    def __init__(self, value: Any, form: Any, owner: str):
        self.value, self.form, self.owner = value, form, owner

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Held):
            return False
        return self.value is other.value or self.form == other.form

    def __hash__(self) -> int:
        return 1


class Comparison(NamedTuple):
    """Whether two programs are "same", "different" or "unknown", and where or what."""

    status: str
    detail: str = ""


class Form(NamedTuple):
    """A program in a form that can be compared.

    Args:
        tree: nested tuples.
        rules: sources of the derivative rules that remain in the program.
        traits: kinds of primitives that the text of the lowered program does not show: derivative
            rules, and functions of the host, except those of known packages that hold no numbers.
        constants: hashes of the arrays that the program contains.
        unknown: what cannot be compared.
    """

    tree: tuple[Any, ...]
    rules: frozenset[str]
    traits: frozenset[str]
    constants: tuple[str, ...]
    unknown: tuple[str, ...]


def form(program: ClosedJaxpr) -> Form:
    """Return a program in a form that can be compared."""
    reader = _Reader()
    tree = reader.closed(program)
    parts = map(frozenset, (reader.rules, reader.traits))
    return Form(tree, *parts, tuple(reader.constants), tuple(dict.fromkeys(reader.unknown)))


def compare(one: Any, other: Any, place: str = "") -> Comparison:
    """Compare two programs in the form of `form`, or parts of them."""
    for part in (one, other):
        if isinstance(part, Unknown):
            return Comparison("unknown", f"{part.description}{place}")
    if isinstance(one, Held) and isinstance(other, Held):
        if one == other:
            return Comparison("same")
        if not is_of_user(one.owner):
            return Comparison("unknown", f"a function of {one.owner}{place}")
        return compare(one.form, other.form, place)
    if isinstance(one, Equation) and isinstance(other, Equation):
        place = f" in {one.place}"
    are_tuples = isinstance(one, tuple) and isinstance(other, tuple)
    if not are_tuples or len(one) != len(other) or one[:1] == ("array",):
        if type(one) is type(other) and one == other:
            return Comparison("same")
        return Comparison("different", f"{_short(one)} and {_short(other)}{place}")
    result = Comparison("same")
    for a, b in zip(one, other, strict=True):
        compared = compare(a, b, place)
        if compared.status == "different":
            return compared
        if compared.status == "unknown" and result.status == "same":
            result = compared
    return result


def _short(part):
    if isinstance(part, tuple) and all(isinstance(e, Equation) for e in part):
        return f"{len(part)} equations"
    if isinstance(part, tuple) and part and part[0] == "array":
        _, dtype, shape, data = part
        array = f"an array {dtype}{list(shape)} (hash {data.hex()[:8]})"
        return array if shape else str(np.frombuffer(data, dtype)[0])
    return f"{part!s:.80}"


class _Reader:
    """Reader of the values of one program."""

    def __init__(self):
        self.rules: set[str] = set()
        self.traits: set[str] = set()
        self.constants: list[str] = []
        self.unknown: list[str] = []
        self.sentinels: list[object] = []
        self.count = 0
        self.is_host = False  # whether the present equation calls a function of the host
        self.is_unverified = False  # whether it holds numbers, or code of no known package

    def closed(self, program):
        return self.jaxpr(program.jaxpr), tuple(map(self.value, program.consts))

    def jaxpr(self, program):
        """Return the equations of a program as nested tuples, with variables as numbers."""
        number: dict[Any, int] = {}

        def name(variable):
            if isinstance(variable, Literal):
                return self.value(variable.val), variable.aval
            return number.setdefault(variable, len(number)), variable.aval

        def declared(variables):
            return tuple(map(name, variables))

        inputs = declared((*program.constvars, *program.invars))
        equations = tuple(
            Equation(
                self.value(equation.primitive),
                declared(equation.invars),
                declared(equation.outvars),
                self.parameters(equation),
                Place(equation),
            )
            for equation in program.eqns
        )
        return inputs, equations, declared(program.outvars)

    def parameters(self, equation):
        kind, parameters = equation.primitive.name, dict(equation.params)
        enclosing = self.is_host, self.is_unverified
        self.is_host, self.is_unverified = kind.endswith("callback"), False
        self.traits |= {name for name in HIDDEN if kind.startswith(name)}
        if kind.startswith(RULES):
            self.rules.add(_source_of_rule(parameters))
            parameters = {n: v for n, v in parameters.items() if isinstance(v, ClosedJaxpr | Jaxpr)}
        self.count = 0
        names = [name for name in sorted(parameters) if name not in NAMES]
        result = tuple((name, self.value(parameters[name])) for name in names)
        if self.is_host and self.is_unverified:
            self.traits.add("callback")
        self.is_host, self.is_unverified = enclosing
        return result

    def value(self, value, depth=0, within=()):
        """Return a parameter or constant of a program in a form that can be compared."""
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_VALUES:
            return self.opaque(f"an object with more than {MAX_VALUES} parts or {MAX_DEPTH} levels")
        if any(value is outer for outer in within):
            return "cycle", next(n for n, outer in enumerate(within) if outer is value)

        def inner(part):
            return self.value(part, depth + 1, (*within, value))

        def each(parts: Iterable[Any]):
            return tuple(map(inner, parts))

        def held(part, owner="<user>"):
            return Held(part, inner(part), owner) if self.is_host else inner(part)

        kind = type(value)
        self.is_unverified |= isinstance(value, int | float | complex) and kind is not bool
        if isinstance(value, ClosedJaxpr):
            return self.closed(value)
        if isinstance(value, Jaxpr):
            return self.jaxpr(value)
        if isinstance(value, Tracer):
            jnp.copy(value)  # raises JAX's error if its function has ended
            return self.opaque("a traced value of another function")
        if isinstance(value, jax.Array | np.ndarray | np.generic) or hasattr(kind, "__array__"):
            return self.array(value)
        if isinstance(value, float | complex):
            return _name(kind), value.real.hex(), value.imag.hex()
        if isinstance(value, Enum):
            return _name(kind), value.name
        if isinstance(value, PyTreeDef):
            return "pytree", inner(value.node_data()), each(value.children())
        if isinstance(value, PLAIN):
            return kind, value
        if isinstance(value, tuple | list):
            return _name(kind), each(value)
        if isinstance(value, Mapping):
            return _name(kind), each(value.items())
        if isinstance(value, set | frozenset):
            return _name(kind), frozenset(each(value))
        if isinstance(value, functools.partial):
            self.is_unverified |= bool(value.args or value.keywords)
            parts = (value.func, *value.args, *value.keywords.values())
            return "partial", tuple(value.keywords), tuple(map(held, parts))
        if isinstance(value, types.MethodType):
            return "method", inner(value.__func__), held(value.__self__)
        if isinstance(value, types.FunctionType):
            self.is_unverified |= not _is_known(value.__code__.co_filename)
            code, closure = value.__code__, map(_content, value.__closure__ or ())
            cells = tuple(held(part, code.co_filename) for part in closure)
            defaults = each((value.__defaults__, value.__kwdefaults__))
            return "function", value.__module__, code, defaults, cells
        if isinstance(value, types.BuiltinMethodType) and not _is_by_name(value):
            self.is_unverified = True
            return "method", value.__name__, held(value.__self__)
        if isinstance(value, types.ModuleType):
            return "module", value.__name__
        if isinstance(value, weakref.ref):
            return "weakref", inner(value())
        if isinstance(value, type):
            return self.type(value, each)
        if kind is object:
            if not any(value is known for known in self.sentinels):
                self.sentinels.append(value)
            return "object", next(n for n, known in enumerate(self.sentinels) if known is value)
        if _is_by_name(value):
            package = value.__module__.partition(".")[0]
            self.is_unverified |= package not in (*PACKAGES, *sys.stdlib_module_names)
            return "global", value.__module__, value.__qualname__
        if (wrapped := getattr(value, "__wrapped__", None)) is not None:
            return _name(kind), inner(wrapped)
        attributes = _attributes(value)
        if attributes is None:
            return self.opaque(f"an object of type {_name(kind)}")
        return inner(kind), each(attributes.items())

    def type(self, value, each):
        """Return the name of a class, and the methods of one that a user defines."""
        module = sys.modules.get(value.__module__)
        file = getattr(module, "__file__", None) or "<user>"
        is_builtin = value.__module__ in sys.builtin_module_names
        self.is_unverified |= not (is_builtin or _is_known(file))
        if is_builtin or not is_of_user(file):
            return _name(value)
        functions = {n: f for n, f in vars(value).items() if isinstance(f, types.FunctionType)}
        return _name(value), each(functions.items())

    def array(self, value):
        """Return type, shape and the hash of the bytes of an array."""
        if isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
            return str(value.dtype), self.array(jax.random.key_data(value))
        array = np.asarray(value)
        if array.dtype == object:
            return self.opaque("an array of objects")
        self.is_unverified = True
        raw = array.tobytes()
        digest = raw if len(raw) < 64 else hashlib.sha256(raw).digest()
        self.constants.append(f"{array.dtype}{list(array.shape)}{digest.hex()}")
        return "array", str(array.dtype), array.shape, digest

    def opaque(self, description):
        self.is_unverified = True
        self.unknown.append(description)
        return Unknown(description)


def _is_known(file):
    """Return whether a file of Python code belongs to the standard library or a known package."""
    folder = next((f for f in reversed(LIBRARIES) if f in file), None)
    package = Path(file.partition(folder)[2]).parts[0] if folder else ""
    return folder is not None and (folder not in SITES or package in PACKAGES)


def _source_of_rule(parameters):
    """Return the name and place of a derivative rule, as "name at file:line"."""
    rule = next((parameters[name] for name in RULE_PARAMETERS if name in parameters), None)
    information = getattr(rule, "debug_info", None)
    return getattr(information, "func_src_info", None) or "a rule of unknown source"


def _name(kind):
    return f"{kind.__module__}.{kind.__qualname__}"


def _content(cell):
    try:
        return cell.cell_contents
    except ValueError:  # a variable that has no value
        return None


def _is_by_name(value):
    """Return whether an object, such as a function of NumPy, is reached by its name."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not (isinstance(module, str) and isinstance(name, str)) or isinstance(value, type):
        return False
    return getattr(sys.modules.get(module), name, None) is value


def _attributes(value):
    """Return the attributes of an object; None if it also has fields that Python cannot see."""
    kind, pointer = type(value), tuple.__itemsize__
    slots = [name for base in kind.__mro__ for name in _slots(base)]
    visible = len(slots) + (kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0)
    if kind.__basicsize__ > object.__basicsize__ + visible * pointer or kind.__itemsize__:
        return None
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return {n: v for n, v in {**held, **getattr(value, "__dict__", {})}.items() if n not in NAMES}


def _slots(base):
    slots = vars(base).get("__slots__", ())
    slots = (slots,) if isinstance(slots, str) else tuple(slots)
    return [name for name in slots if name not in ("__dict__", "__weakref__")]
