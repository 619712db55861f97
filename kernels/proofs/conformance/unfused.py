"""The program of plain ops that a fused op's case equals, bit for bit."""

from __future__ import annotations

from octavo_kernels.generated.ops import OPS

from .case import Case, Prepared, ProgramWriter


def unfused(case: Case) -> Prepared:
    """The chain of `OPS[case.op].fuses` over the same inputs; results have the names of the fused op's operands."""
    writer = ProgramWriter(case.places)
    values = writer.inputs(case)
    if case.op == "rope_append":
        return _rope_append(case, writer, values)
    outputs = writer.outputs(case)
    x: int | None = None
    for op in OPS[case.op].fuses:
        names = list(OPS[op].inputs)
        operands = {name: values[name] for name in names if name in values}
        if x is not None:
            operands[names[0]] = x
        activations = operands[names[0]]
        if op == "quantize":
            made = {name: outputs[name] for name in OPS[op].outputs}
        else:
            # add_norm_quantize shows its sum as `y`; other intermediates are nobody's.
            shape = writer.shape_of(activations)
            shown = op == "add" and "y" in outputs
            made = {"y": outputs["y"] if shown else writer.output("float32", "plain", shape)}
        writer.operation(op, operands, made, _own(case, op))
        x = made.get("y")
    return writer.finish(outputs)


def _rope_append(case: Case, writer: ProgramWriter, values: dict[str, int]) -> Prepared:
    tables = {name: values[name] for name in ("positions", "cos", "sin")}
    outputs = writer.outputs(case)
    turned = writer.output("float32", "plain", writer.shape_of(values["k"]))
    writer.operation("rope", {"x": values["k"], **tables}, {"y": turned}, _own(case, "rope"))
    writer.operation("rope", {"x": values["q"], **tables}, {"y": outputs["y"]}, _own(case, "rope"))
    pages = {name: values[name] for name in ("v", "slots", "keys", "values")}
    writer.operation("append", {"k": turned, **pages}, {}, _own(case, "append"))
    return writer.finish({**outputs, "keys": values["keys"], "values": values["values"]})


def _own(case: Case, op: str) -> dict:
    return {name: value for name, value in case.attributes.items() if name in OPS[op].attributes}
