"""An index of a package's sources: its functions, classes, imports and annotations, by `ast`."""

import ast
from dataclasses import dataclass, field
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(eq=False)
class SourceFunction:
    """A function or method of the package."""

    module: str
    node: Function
    owner: "SourceClass | None" = None  # of a method
    outer: "SourceFunction | None" = None  # the enclosing function

    @property
    def name(self) -> str:
        """The name, with the class first."""
        return f"{self.owner.name}.{self.node.name}" if self.owner else self.node.name

    @property
    def parameters(self) -> list[ast.arg]:
        """All parameters, in order, without `self`."""
        given = self.node.args
        found = [*given.posonlyargs, *given.args]
        is_bound = self.owner is not None and "staticmethod" not in decorator_names(self.node)
        return [*(found[1:] if is_bound else found), *given.kwonlyargs]


@dataclass(eq=False)
class SourceClass:
    """A class of the package."""

    module: str
    name: str
    node: ast.ClassDef
    fields: dict[str, ast.expr] = field(default_factory=dict)  # annotations, in order
    methods: dict[str, SourceFunction] = field(default_factory=dict)


Target = SourceFunction | SourceClass


def decorator_names(node: Function) -> set[str]:
    """The last names of a function's decorators."""
    return {ast.unparse(one).rpartition(".")[2] for one in node.decorator_list}


class SourceIndex:
    """The sources of a package: the definitions and imports of each module."""

    def __init__(self, root: Path) -> None:
        self.root, self.name = root, root.name
        self.names: dict[str, dict[str, Target | str]] = {}  # a str is a module
        self.imports: dict[str, list[tuple[str, str, str]]] = {}
        self.routines: list[SourceFunction] = []
        for file in sorted(root.rglob("*.py")):
            parts = file.relative_to(root.parent).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            self._read(module, ast.parse(file.read_text(encoding="utf-8")))
        before = -1
        while before != (
            before := sum(map(len, self.names.values()))
        ):  # until all re-exports are bound
            for module, found in self.imports.items():
                for source, original, name in found:
                    self._bind(module, source, original, name)

    def _read(self, module: str, tree: ast.Module) -> None:
        self.names[module], self.imports[module] = {}, []
        for node in tree.body:
            if isinstance(node, Function):
                self.names[module][node.name] = self._routine(SourceFunction(module, node))
            elif isinstance(node, ast.ClassDef):
                self.names[module][node.name] = self._kind(SourceClass(module, node.name, node))
        for inner in ast.walk(tree):
            if isinstance(inner, ast.ImportFrom) and inner.module:
                found = [(inner.module, one.name, one.asname or one.name) for one in inner.names]
                self.imports[module] += found
            elif isinstance(inner, ast.Import):
                pairs = [(one.name, one.asname) for one in inner.names if one.asname]
                self.imports[module] += [(name, "", str(alias)) for name, alias in pairs]

    def _bind(self, module: str, source: str, original: str, name: str) -> None:
        whole = f"{source}.{original}" if original else source
        if whole in self.names:
            self.names[module].setdefault(name, whole)
        elif source in self.names and original in self.names[source]:
            self.names[module].setdefault(name, self.names[source][original])

    def _routine(self, routine: SourceFunction) -> SourceFunction:
        self.routines.append(routine)
        return routine

    def _kind(self, kind: SourceClass) -> SourceClass:
        for node in kind.node.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                kind.fields[node.target.id] = node.annotation
            elif isinstance(node, Function):
                routine = self._routine(SourceFunction(kind.module, node, kind))
                kind.methods[node.name] = routine
                if decorator_names(node) & {"property", "cached_property"} and node.returns:
                    kind.fields.setdefault(node.name, node.returns)
        if start := kind.methods.get("__init__"):
            kind.fields |= {**_init_attributes(start.node), **kind.fields}
        return kind

    def kinds(self, annotation: ast.AST | None, module: str) -> set[SourceClass]:
        """The package's classes in an annotation, including those in containers."""
        if annotation is None:
            return set()
        found: set[SourceClass] = set()
        for node in ast.walk(annotation):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                try:
                    found |= self.kinds(ast.parse(node.value, mode="eval"), module)
                except SyntaxError:
                    continue
            elif isinstance(node, ast.Name | ast.Attribute):
                known = self.lookup(node, module)
                found |= {known} if isinstance(known, SourceClass) else set()
        return found

    def lookup(self, node: ast.expr, module: str) -> Target | str | None:
        """The definition of a name or a dotted name; None if it is not of the package."""
        if isinstance(node, ast.Name):
            return self.names[module].get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.lookup(node.value, module)
            if isinstance(owner, str):
                found = self.names[owner].get(node.attr)
                inner = f"{owner}.{node.attr}"
                return found or (inner if inner in self.names else None)
        return None

    def member(self, kind: SourceClass, name: str) -> SourceFunction | ast.expr | None:
        """A method, or the annotation of a field, of the class or its bases."""
        if name in kind.fields:
            return kind.fields[name]
        if name in kind.methods:
            return kind.methods[name]
        for base in kind.node.bases:
            for below in self.kinds(base, kind.module) - {kind}:
                if (found := self.member(below, name)) is not None:
                    return found
        return None


def _init_attributes(start: Function) -> dict[str, ast.expr]:
    """The annotations of attributes that `__init__` sets to one of its parameters."""
    given = {a.arg: a.annotation for a in [*start.args.args, *start.args.kwonlyargs]}
    found: dict[str, ast.expr] = {}
    for node in ast.walk(start):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = [*zip(target.elts, node.value.elts, strict=False)]
            for left, right in pairs:
                annotation = given.get(right.id) if isinstance(right, ast.Name) else None
                called = right.func if isinstance(right, ast.Call) else None
                if (
                    isinstance(left, ast.Attribute)
                    and (annotation_or_class := annotation or called) is not None
                ):
                    found.setdefault(left.attr, annotation_or_class)
    return found
