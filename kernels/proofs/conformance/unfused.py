"""The program of plain ops that a fused op's case equals, bit for bit."""

from __future__ import annotations

from octavo_kernels.generated.ops import OPS

from .case import Case, Prepared, ProgramWriter
from .generate import outputs_of


def unfused(case: Case) -> Prepared:
    """The chain of `OPS[case.op].fuses` over the same inputs; results have the names of the fused op's operands."""
    writer = ProgramWriter(case.places)
    values = writer.inputs(case)
    if case.op == "rope_append":
        return _rope_append(case, writer, values)
    outputs = writer.outputs(case)
    fuses = OPS[case.op].fuses
    for op in fuses:
        names = list(OPS[op].inputs)
        operands = {name: values[name] for name in names if name in values}
        if "y" in values:
            operands[names[0]] = values.pop("y")
        attributes, shapes = _own(case, op), {name: writer.shape_of(value) for name, value in operands.items()}
        if "columns" in OPS[op].attributes:
            attributes["columns"] = shapes["x"][1]
        # add_norm_quantize shows its sum as `y`; other intermediates are nobody's.
        shown = outputs if op == fuses[-1] or op == "add" else {}
        made = {
            name: shown[name] if name in shown else writer.output(dtype, "plain", shape)
            for name, (dtype, shape) in outputs_of(op, shapes, attributes).items()
        }
        writer.operation(op, operands, made, attributes)
        values.update(made)
    return writer.finish(outputs)


def _rope_append(case: Case, writer: ProgramWriter, values: dict[str, int]) -> Prepared:
    tables = {name: values[name] for name in ("positions", "cos", "sin")}
    outputs = writer.outputs(case)
    turned = writer.output("float32", "plain", writer.shape_of(values["k"]))
    writer.operation("rope", {"x": values["k"], **tables}, {"y": turned}, _own(case, "rope"))
    writer.operation("rope", {"x": values["q"], **tables}, {"y": outputs["y"]}, _own(case, "rope"))
    pages = {name: values[name] for name in ("v", "slots", "keys", "values", "steps")}
    writer.operation("append", {"k": turned, **pages}, {}, _own(case, "append"))
    return writer.finish({**outputs, **{name: values[name] for name in ("keys", "values", "steps")}})


def _own(case: Case, op: str) -> dict:
    return {name: value for name, value in case.attributes.items() if name in OPS[op].attributes}
