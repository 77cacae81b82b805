"""Measure how far a setting of `fki train` travels from the command to the trainer.

    python -m benchmarks.setting_walk [PACKAGE] [--order "core < data, metrics < training"]

The script reads a package's sources and runs nothing; it takes some seconds. Its terms:

Settings value: a value of a settings class. Settings classes are the config class, each class from
which a function on the walk makes one (a parameter or `self` of a function whose annotated result
is a settings class), and each class whose fields of the package's classes are settings classes. A
parameter, variable or attribute that receives or is made of a settings value is one too. A single
setting read from the config, such as `config.seed`, is not.

Walk: the calls from the command on, in source order; each function is entered once, at its first
call, until the trainer's loop starts. A call is followed if imports and annotations identify its
target. In the command itself, an `if` that ends in `return` or `raise` is skipped.

Stop: the module of a function that receives, reads or passes a settings value; counted once for as
long as the walk stays in it.

Rooms: the different modules of the stops, and the packages of these modules.

Climbs: how often a stop is in a higher layer than the stop before. A return to the caller counts if
the caller continues with a settings value. Finer layers can only show more climbs; to compare
versions with different layers, use `--order coarse`.

Names: the different names of parameters, variables and attributes that hold settings values.
"""

import argparse
import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from benchmarks.source_index import (
    Function,
    SourceClass,
    SourceFunction,
    SourceIndex,
    Target,
    decorator_names,
)

ORDERS = {  # from the lowest layer to the highest; layers of the same height have commas
    "0.1": "core < methods, data, metrics < engine < report < commands < cli, __main__, testing",
    "current": "core < config < net < data < metrics < modeling < methods < runs < evaluation "
    "< training < comparison < exporting < report < inference < results < api < sources "
    "< commands < cli, __main__, testing",
    "coarse": "core, config < net, data, metrics, sources, methods < engine, modeling, runs, "
    "evaluation, training, comparison, exporting < report < inference, results, api, commands "
    "< cli, __main__, testing",
}
SCALARS = {"str", "int", "bool", "float", "None", "Path", "bytes"}
COPIES = {"dict", "list", "tuple", "set", "sorted", "frozenset"}  # calls that copy a value
MAPPINGS = {"dict", "Mapping"}


class FunctionScope:
    """The variables of a function: their classes, and whether they hold settings values."""

    def __init__(
        self, walk: "SettingWalk", routine: SourceFunction, above: "FunctionScope | None" = None
    ) -> None:
        self.walk, self.routine, self.package = walk, routine, walk.package
        self.types: dict[str, set[SourceClass]] = dict(above.types) if above else {}
        self.held: set[str] = set(above.held) if above else set()
        if routine.owner:
            self.types["self"] = self.types["cls"] = {routine.owner}
        for one in routine.parameters:
            self.types[one.arg] = self.package.kinds(one.annotation, routine.module)

    def type_of(self, node: ast.expr | None) -> set[SourceClass]:
        """The package's classes that an expression may be an instance or a container of."""
        match node:
            case ast.Name(id=name):
                return self.types.get(name, set())
            case ast.Attribute(value=owner, attr=name):
                found: set[SourceClass] = set()
                for kind in self.type_of(owner):
                    member = self.package.member(kind, name)
                    if isinstance(member, ast.expr):
                        found |= self.package.kinds(member, kind.module)
                return found
            case ast.Call():
                target = self.target(node)
                if isinstance(target, SourceClass):
                    return {target}
                return self.package.kinds(target.node.returns, target.module) if target else set()
            case ast.Subscript(value=inner) | ast.Await(value=inner) | ast.Starred(value=inner):
                return self.type_of(inner)
            case ast.NamedExpr(value=inner):
                return self.type_of(inner)
            case ast.IfExp(body=left, orelse=right) | ast.BinOp(left=left, right=right):
                return self.type_of(left) | self.type_of(right)
            case ast.BoolOp(values=values) | ast.List(elts=values) | ast.Tuple(elts=values):
                return {kind for value in values for kind in self.type_of(value)}
        return set()

    def target(self, call: ast.Call) -> Target | None:
        """The function or class that is called; None if it is unknown."""
        found = self.package.lookup(call.func, self.routine.module)
        if isinstance(call.func, ast.Name):
            found = self.walk.local(self.routine, call.func.id) or found
            if call.func.id == "cls" and self.routine.owner:
                found = self.routine.owner
        if isinstance(call.func, ast.Attribute) and found is None:
            is_class = self.package.lookup(call.func.value, self.routine.module)
            kinds = (
                [is_class] if isinstance(is_class, SourceClass) else self.type_of(call.func.value)
            )
            members = [self.package.member(kind, call.func.attr) for kind in kinds]
            found = next((one for one in members if isinstance(one, SourceFunction)), None)
        return None if isinstance(found, str) else found

    def holds(self, node: ast.expr | None) -> bool:
        """Whether an expression is a settings value."""
        if node is None:
            return False
        if self.type_of(node) & self.walk.settings:
            return True
        match node:
            case ast.Name(id=name):
                return name in self.held
            case ast.Attribute(value=owner, attr=name):
                return self.holds(owner) and self._is_part(owner, name)
            case ast.Call(func=ast.Name(id=name)) if name in COPIES:
                return any(map(self.holds, node.args))
            case ast.Call():
                target = self.target(node)
                annotations = target.node.returns if isinstance(target, SourceFunction) else None
                is_mapping = annotations is not None and bool(_words(annotations) & MAPPINGS)
                return is_mapping and any(self.holds(value) for value in _arguments(node))
            case ast.BinOp(left=left, right=right, op=ast.BitOr()):
                return self.holds(left) or self.holds(right)
            case ast.IfExp(body=left, orelse=right):
                return self.holds(left) or self.holds(right)
            case ast.BoolOp(values=values) | ast.Tuple(elts=values) | ast.List(elts=values):
                return any(map(self.holds, values))
            case ast.Starred(value=inner) | ast.NamedExpr(value=inner):
                return self.holds(inner)
            case ast.Dict(values=values):
                return any(map(self.holds, values))
        return False

    def _is_part(self, owner: ast.expr, name: str) -> bool:
        """Whether an attribute of a settings value is one too; a single setting is not."""
        kinds = self.type_of(owner)
        if any(kind.name == self.walk.config for kind in kinds):
            return False
        annotations = [self.package.member(kind, name) for kind in kinds]
        return any(isinstance(one, ast.expr) and not _words(one) <= SCALARS for one in annotations)


def _words(annotation: ast.expr) -> set[str]:
    """The last names in an annotation."""
    found = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
    found |= {node.attr for node in ast.walk(annotation) if isinstance(node, ast.Attribute)}
    return found | {str(n.value) for n in ast.walk(annotation) if isinstance(n, ast.Constant)}


def _variables(node: ast.AST) -> set[str]:
    """The names of the variables in an expression."""
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _arguments(call: ast.Call) -> Iterator[ast.expr]:
    """The arguments of a call."""
    yield from call.args
    yield from (keyword.value for keyword in call.keywords)


@dataclass
class SettingWalk:
    """Follows the settings from the command to the trainer's loop."""

    package: SourceIndex
    config: str
    end: str
    settings: set[SourceClass] = field(default_factory=set)
    stops: list[str] = field(default_factory=list)  # modules, in order
    names: set[str] = field(default_factory=set)
    seen: set[SourceFunction] = field(default_factory=set)
    inner: dict[tuple[SourceFunction, str], Target] = field(default_factory=dict)
    start: SourceFunction | None = None
    is_over: bool = False

    def local(self, routine: SourceFunction, name: str) -> Target | None:
        """A function that is defined in this one or around it, or passed to it."""
        at: SourceFunction | None = routine
        while at:
            if found := self.inner.get((at, name)):
                return found
            at = at.outer
        return None

    def run(self, start: SourceFunction) -> None:
        """Walk repeatedly until the set of settings classes is stable; keep the last walk."""
        every = {kind for table in self.package.names.values() for kind in table.values()}
        self.settings = {k for k in every if isinstance(k, SourceClass) and k.name == self.config}
        self.start = start
        before = -1
        while before != len(self.settings):
            before = len(self.settings)
            self.stops, self.names, self.seen, self.is_over = [], set(), set(), False
            self._start_at(start)
            self._widen(k for k in every if isinstance(k, SourceClass))

    def _start_at(self, start: SourceFunction) -> None:
        """Enter the package's decorators of the command, then the command."""
        for decorator in start.node.decorator_list:
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            found = self.package.lookup(called, start.module)
            if isinstance(found, SourceFunction):
                self.inner[found, found.parameters[0].arg] = start
                for node in found.node.body:
                    if isinstance(node, Function):
                        self.enter(SourceFunction(found.module, node, outer=found), set(), None)
        self.enter(start, set(), None)

    def _widen(self, kinds: Iterable[SourceClass]) -> None:
        """Add the classes that settings are made of, and the classes that wrap them."""
        for routine in self.seen:
            if self.makes(routine):
                given = [
                    self.package.kinds(a.annotation, routine.module) for a in routine.parameters
                ]
                own = (
                    {routine.owner} if routine.owner and routine.node.name != "__init__" else set()
                )
                is_outer = "classmethod" in decorator_names(routine.node)
                self.settings |= {k for some in given for k in some} | (set() if is_outer else own)
        for kind in kinds:
            held = [self.package.kinds(one, kind.module) for one in kind.fields.values()]
            flat = {k for some in held for k in some}
            if flat & self.settings and flat <= self.settings:
                self.settings.add(kind)

    def makes(self, routine: SourceFunction) -> bool:
        """Whether a function returns a settings value."""
        return bool(self.package.kinds(routine.node.returns, routine.module) & self.settings)

    def enter(
        self, routine: SourceFunction, received: set[str], above: FunctionScope | None
    ) -> None:
        """Walk through a function once; `received` are its parameters that hold settings."""
        if routine in self.seen or self.is_over:
            return
        self.seen.add(routine)
        scope = FunctionScope(self, routine, above)
        given = {one.arg for one in routine.parameters}
        made_of = given if self.makes(routine) else self._made_of(routine, scope)
        scope.held |= (made_of | received) & given
        held = {name for name in given if scope.holds(ast.Name(name))}
        if held:
            self.stop(routine.module, held)
        if routine.name == self.end:
            self._statements(routine.node.body, scope, until_loop=True)
            self.is_over = True
            return
        body = routine.node.body
        self._statements(
            [n for n in body if routine is not self.start or not _leaves_early(n)], scope
        )

    def _made_of(self, routine: SourceFunction, scope: FunctionScope) -> set[str]:
        """The variables of a function that are arguments of a settings class."""
        nodes = [*ast.walk(routine.node)]
        calls = [node for node in nodes if isinstance(node, ast.Call)]
        found = {
            n for call in calls if scope.target(call) in self.settings for n in _variables(call)
        }
        before = -1
        while before != len(found):
            before = len(found)
            for node in nodes:
                if isinstance(node, ast.Assign) and found & {
                    n for t in node.targets for n in _variables(t)
                }:
                    found |= _variables(node.value)
        return found

    def stop(self, module: str, names: Iterable[str]) -> None:
        """Record a module, once for as long as the walk stays in it."""
        self.names |= {name for name in names if name not in ("self", "cls")}
        if self.stops[-1:] != [module]:
            self.stops.append(module)

    def _statements(
        self, body: Iterable[ast.AST], scope: FunctionScope, *, until_loop: bool = False
    ) -> None:
        for node in body:
            if self.is_over or (until_loop and isinstance(node, ast.While | ast.For)):
                return
            self._node(node, scope)

    def _node(self, node: ast.AST, scope: FunctionScope) -> None:
        """Walk through a part of a function, in the order of execution."""
        if isinstance(node, Function):
            inner = SourceFunction(scope.routine.module, node, outer=scope.routine)
            self.inner[scope.routine, node.name] = inner
            return
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr | ast.AugAssign):
            if node.value is not None:
                self._node(node.value, scope)
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    self._bind(target, node.value, scope)
            return
        if isinstance(node, ast.For | ast.comprehension):
            self._node(node.iter, scope)
            self._bind(node.target, node.iter, scope)
            rest = [*node.body, *node.orelse] if isinstance(node, ast.For) else node.ifs
            self._statements(rest, scope)
            return
        if isinstance(node, ast.withitem):
            self._node(node.context_expr, scope)
            if node.optional_vars is not None:
                self._bind(node.optional_vars, node.context_expr, scope)
            return
        comprehensions = getattr(node, "generators", [])
        parts = [
            *comprehensions,
            *(n for n in ast.iter_child_nodes(node) if n not in comprehensions),
        ]
        self._statements(parts, scope)
        if isinstance(node, ast.Call) and not self.is_over:
            self._call(node, scope)
        elif isinstance(node, ast.Attribute):
            self._read(node, scope)

    def _bind(self, target: ast.expr, value: ast.expr, scope: FunctionScope) -> None:
        """Record the class of a variable's value."""
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple | ast.List):
            values = value.elts if isinstance(value, ast.Tuple) else [value] * len(target.elts)
            pairs = [*zip(target.elts, values, strict=False)]
        for left, right in pairs:
            is_held = scope.holds(right)
            if isinstance(left, ast.Name):
                scope.types[left.id] = scope.type_of(right) or scope.types.get(left.id, set())
                if is_held:
                    scope.held.add(left.id)
                    self.stop(scope.routine.module, [left.id])
            elif is_held and isinstance(left, ast.Attribute):
                self.stop(scope.routine.module, [left.attr])

    def _read(self, node: ast.Attribute, scope: FunctionScope) -> None:
        """Stop if a settings value, or a setting of it, is read."""
        if scope.holds(node):
            self.stop(scope.routine.module, [node.attr])
        elif scope.holds(node.value):
            self.stop(scope.routine.module, [])

    def _call(self, call: ast.Call, scope: FunctionScope) -> None:
        """Pass settings to the called function, and walk through it."""
        target = scope.target(call)
        handed = [value for value in _arguments(call) if scope.holds(value)]
        if handed:
            names = [v.id for v in handed if isinstance(v, ast.Name)]
            self.stop(scope.routine.module, names)
        if isinstance(target, SourceClass):
            received = _receiving_parameters(call, [*target.fields], scope)
            if received and target in self.settings:
                self.stop(target.module, received)
            target = target.methods.get("__init__") or target.methods.get("__post_init__")
        if isinstance(target, SourceFunction):
            parameters = [one.arg for one in target.parameters]
            above = scope if target.outer is scope.routine else None
            self.enter(target, _receiving_parameters(call, parameters, scope), above)
        if scope.holds(call):
            self.stop(scope.routine.module, [])


def _leaves_early(node: ast.stmt) -> bool:
    """Whether a statement leaves the function under a condition."""
    return isinstance(node, ast.If) and isinstance(node.body[-1], ast.Return | ast.Raise)


def _receiving_parameters(call: ast.Call, parameters: list[str], scope: FunctionScope) -> set[str]:
    """The parameters that receive settings from a call."""
    pairs = [*zip(parameters, call.args, strict=False)]
    pairs += [(k.arg, k.value) for k in call.keywords if k.arg]
    return {name for name, value in pairs if scope.holds(value)}


def layer_heights(order: str) -> dict[str, int]:
    """The height of each layer of an order such as "core < data, metrics < training"."""
    levels = [level.split(",") for level in order.split("<")]
    return {name.strip(): height for height, level in enumerate(levels) for name in level}


def package_of(module: str) -> str:
    """The package of a module, below the root."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def best_order(package: SourceIndex) -> str:
    """The order that contains most of the package's layers."""
    rooms = {package_of(module) for module in package.names if "." in module}
    return max(ORDERS, key=lambda name: len(rooms & layer_heights(ORDERS[name]).keys()))


def find_command(package: SourceIndex, name: str) -> SourceFunction:
    """Find the command's function. Raises SystemExit if it does not exist."""
    for routine in package.routines:
        if f"{routine.module}:{routine.name}" == f"{package.name}.{name}":
            return routine
    raise SystemExit(f"{name} not found in {package.name}.")


def main() -> None:
    """Print the walk and its counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    here = Path(__file__).resolve().parents[1] / "fki"
    parser.add_argument("package", type=Path, nargs="?", default=here, help="folder of the package")
    parser.add_argument("--order", help="layers from low to high, or: 0.1, current, coarse")
    parser.add_argument("--start", default="commands.train:train", help="module:function")
    parser.add_argument("--end", default="Trainer.learn", help="class.method with the loop")
    parser.add_argument("--config", default="Config", help="name of the config class")
    options = parser.parse_args()
    package = SourceIndex(options.package.resolve())
    order = options.order or best_order(package)
    heights = layer_heights(ORDERS.get(order, order))
    walk = SettingWalk(package, options.config, options.end)
    walk.run(find_command(package, options.start))
    if not walk.is_over:
        raise SystemExit(f"The walk does not reach {options.end}.")
    rooms = [package_of(module) for module in walk.stops]
    unknown = sorted({room for room in rooms if room not in heights})
    if unknown:
        raise SystemExit(f"The order lacks {', '.join(unknown)}.")
    climbs = [pair for pair in pairwise(rooms) if heights[pair[1]] > heights[pair[0]]]
    print(f"settings classes: {', '.join(sorted(kind.name for kind in walk.settings))}")
    print(f"stops: {' > '.join(module.partition('.')[2] for module in walk.stops)}")
    print(f"names: {', '.join(sorted(walk.names))}")
    print(f"\nrooms (modules): {len(set(walk.stops))}")
    print(f"rooms (packages): {len(set(rooms))}")
    print(f"stops: {len(walk.stops)}")
    print(f"climbs: {len(climbs)}")
    print(f"names: {len(walk.names)}")


if __name__ == "__main__":
    main()
