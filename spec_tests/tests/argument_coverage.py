"""What is asked of every argument of a layer, loss, optimizer and scheduler, beside torch's own.

    python spec_tests/tests/argument_coverage.py

prints a line for each argument: whether a call with another value than the default is compared with
torch in values, in gradients and in second derivatives.
"""

import json
from dataclasses import dataclass

from spec_tests.judge.tables import read
from spec_tests.oracle import optimized
from spec_tests.oracle.modules import cases as module_cases
from spec_tests.oracle.modules import stored
from spec_tests.oracle.stored import folder
from spec_tests.support.losses import cases as loss_cases
from spec_tests.support.losses import references

# Arguments of torch's that the specification leaves out, and why.
LEFT_OUT = {
    "device": "an implementation has one",
    "inplace": "operations return new Tensors",
    "sparse": "gradients are dense",
    "_weight": "torch's own use",
    "_freeze": "torch's own use",
    "size_average": "deprecated: reduction",
    "reduce": "deprecated: reduction",
    "foreach": "how it is computed",
    "fused": "how it is computed",
    "capturable": "how it is computed",
    "differentiable": "optimizers record nothing",
    "args": "passed over",
    "kwargs": "passed over",
}
# Arguments that other tests than those of the stored results ask for.
ELSEWHERE = {
    "dtype": "every test, in both dtypes",
    "nn.Dropout.p": "nn-08, nn-13",
    "nn.Dropout.input": "nn-08, nn-13",
    "nn.ConvTranspose1d.padding_mode": "nn-20: one value",
    "nn.ConvTranspose2d.padding_mode": "nn-20: one value",
    "nn.MultiheadAttention.dropout": "nn-32",
    "nn.Identity.args": "passed over",
    "nn.Identity.kwargs": "passed over",
    "optim.AdamW.maximize": "optim-13",
    "last_epoch": "optim-24",
    "max_norm": "optim-26",
    "norm_type": "optim-26",
    "error_if_nonfinite": "optim-26",
    "clip_value": "optim-27",
}


@dataclass(frozen=True)
class Line:
    """One argument: how it is asked for in values, gradients and second derivatives."""

    name: str
    argument: str
    values: str
    gradients: str
    second: str

    @property
    def blank(self):
        """Whether something is not asked for."""
        return not (self.values and self.gradients and self.second)


def used(signature, arguments, options):
    """Return the names of the arguments with another value than the default."""
    bound = signature.bind(*arguments, **options)
    return {
        name
        for name, value in bound.arguments.items()
        if not same(value, signature.parameters[name].default)
    }


def same(value, default):
    """Whether a value is the default."""
    plain = isinstance(value, int | float | str | bool | None)
    return plain and type(value) is type(default) and value == default


def lines():
    """Return a line for every argument of every row."""
    for row in read().values():
        if row.chapter == "nn":
            yield from of_module(row)
        elif row.chapter == "loss":
            yield from of_loss(row)
        elif row.chapter == "optim":
            yield from of_optimizer(row)


def line(row, name, argument, values, gradients, second):
    """Return a line; what is asked elsewhere names where."""
    own = ELSEWHERE.get(f"{row.chapter}.{name}.{argument}") or ELSEWHERE.get(argument, "")
    marks = ["yes" if there else own for there in (values, gradients, second)]
    return Line(f"{row.chapter}.{name}", argument, *marks)


def of_module(row):
    """Return the lines of a layer, of its constructor and its call."""
    asked = {"values": set(), "gradient to": set(), "second gradient to": set()}
    for case in module_cases(row):
        known = stored().get(case.key, {})
        names = used(row.signature, case.constructor.arguments, case.constructor.options)
        names |= used(row.call, case.call.arguments, case.call.options)
        for kind, found in asked.items():
            if known and (kind == "values" or any(key.startswith(kind) for key in known)):
                found |= names
    for argument in (*row.signature.parameters, *row.call.parameters):
        yield line(row, row.name, argument, *(argument in found for found in asked.values()))


def of_loss(row):
    """Return the lines of a loss."""
    values, gradients, second = set(), set(), set()
    for case, known in zip(loss_cases(row, "float64"), references(row), strict=True):
        names = used(row.signature, case.call.arguments, case.call.options) | {"reduction"}
        values |= names
        gradients |= names if known.first else set()
        second |= names if known.second else set()
    for argument in row.signature.parameters:
        yield line(row, row.module, argument, *(argument in s for s in (values, gradients, second)))


def of_optimizer(row):
    """Return the lines of an optimizer, a scheduler or a function: nothing is differentiated."""
    found = {"params", "optimizer", "parameters", "schedulers", "milestones"}
    for name, options in optimized.ROWS.items():
        found |= set(options) if name.partition("_")[0] == row.name else set()
    if row.name == "LBFGS":
        found |= {option for _, options, _ in optimized.DESCENTS.values() for option in options}
    if row.name == "ReduceLROnPlateau":
        found |= {option for options in optimized.PLATEAUS.values() for option in options}
    for chain in optimized.SCHEDULES.values():
        found |= {option for name, own in chain if name == row.name for option in own}
    for argument in row.signature.parameters:
        there = line(row, row.name, argument, argument in found, False, False).values
        yield Line(f"optim.{row.name}", argument, there, "no derivative", "no derivative")


def missing():
    """Return the arguments of torch's that neither the tables nor `LEFT_OUT` have."""
    theirs = json.loads((folder / "signatures.json").read_text(encoding="utf-8"))
    absent = []
    for row in read().values():
        name = f"{row.chapter}.{row.module or row.name}"
        if name in theirs:
            ours = set(row.signature.parameters)
            ours |= set(row.call.parameters) if row.call else set()
            ours |= set(row.module_signature.parameters) if row.module else set()
            taken = [*theirs[name]["constructor"], *theirs[name].get("call", ())]
            renamed = {"x": "input"}
            absent += [
                f"{name}: {argument}"
                for argument in taken
                if renamed.get(argument, argument) not in ours and argument not in LEFT_OUT
            ]
    return absent


def table():
    """Return the lines as text."""
    head = Line("name", "argument", "values", "gradients", "second")
    return "\n".join(
        f"{own.name:28} {own.argument:24} {own.values:28} {own.gradients:16} {own.second}"
        for own in (head, *lines())
    )


if __name__ == "__main__":
    print(table())
