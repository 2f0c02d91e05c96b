"""Writes the node tests of the ONNX standard as networks of one input, for the test target `parity`.

    python3 -m venv venv && venv/bin/pip install onnx
    venv/bin/python tests/parity/node_cases.py target/onnx-nodes

A node test feeds every operand; a network here has one input. Two forms of each test are written:
`first` feeds the first float operand and makes the others constants; `packed`, where there are more,
feeds all float operands as one row that the network cuts into slices, so that each of them changes
with the input. What a test expects stands beside its network in `cases.json` and in raw
little-endian floats.
"""

import json
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for case in collect_testcases(None):
        if case.model is None or not case.data_sets:
            continue
        for form in write_forms(case, folder):
            cases.append(form)
    (folder / "cases.json").write_text(json.dumps(cases, indent=1))
    print(f"{len(cases)} networks in {folder}")


def write_forms(case, folder):
    graph = case.model.graph
    inputs, outputs = case.data_sets[0]
    arrays = {}
    for declared, value in zip(graph.input, inputs):
        if not isinstance(value, (np.ndarray, np.generic)):
            return  # sequences and optionals
        arrays[declared.name] = np.asarray(value)
    if not all(isinstance(value, (np.ndarray, np.generic)) for value in outputs):
        return
    if not any(opset.domain in ("", "ai.onnx") for opset in case.model.opset_import):
        return  # operators of another domain
    floats = [name for name, value in arrays.items() if value.dtype == np.float32 and value.size]
    if not floats:
        return
    yield write_case(case, folder, "first", arrays, floats[:1], outputs)
    if len(floats) > 1:
        yield write_case(case, folder, "packed", arrays, floats, outputs)


def write_case(case, folder, form, arrays, fed, outputs):
    model = type(case.model)()
    model.CopyFrom(case.model)
    graph = model.graph
    del graph.input[:]
    for name, value in arrays.items():
        if name not in fed:
            graph.initializer.append(numpy_helper.from_array(value, name))
    if form == "first":
        data = arrays[fed[0]]
        graph.input.append(helper.make_tensor_value_info(fed[0], TensorProto.FLOAT, data.shape))
    else:
        data = np.concatenate([arrays[name].reshape(1, -1) for name in fed], axis=1)
        graph.input.append(helper.make_tensor_value_info("packed", TensorProto.FLOAT, data.shape))
        unpack(graph, arrays, fed, model.opset_import)
    name = f"{case.name}.{form}"
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    data.astype("<f4").tofile(folder / f"{name}.input")
    wanted = []
    for at, value in enumerate(outputs):
        value = np.asarray(value)
        numeric = value.dtype.kind in "fiub"
        wanted.append({"type": str(value.dtype), "shape": list(value.shape)})
        (value.astype("<f4") if numeric else np.zeros(0, "<f4")).tofile(folder / f"{name}.output{at}")
    ops = [node.op_type for node in case.model.graph.node]
    return {
        "name": name, "op": ops[0] if len(ops) == 1 else "(expanded)", "input": list(data.shape),
        "outputs": wanted, "rtol": case.rtol, "atol": case.atol,
    }


def unpack(graph, arrays, fed, opsets):
    version = next(opset.version for opset in opsets if opset.domain in ("", "ai.onnx"))
    nodes, start = [], 0
    for name in fed:
        end = start + arrays[name].size
        if version >= 10:
            for part, value in (("starts", [start]), ("ends", [end]), ("axes", [1])):
                graph.initializer.append(
                    numpy_helper.from_array(np.array(value, np.int64), f"{name}/{part}"))
            operands = ["packed", *(f"{name}/{part}" for part in ("starts", "ends", "axes"))]
            nodes.append(helper.make_node("Slice", operands, [f"{name}/row"]))
        else:
            nodes.append(helper.make_node(
                "Slice", ["packed"], [f"{name}/row"], starts=[start], ends=[end], axes=[1]))
        shape = np.array(arrays[name].shape, np.int64)
        graph.initializer.append(numpy_helper.from_array(shape, f"{name}/shape"))
        nodes.append(helper.make_node("Reshape", [f"{name}/row", f"{name}/shape"], [name]))
        start = end
    kept = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *kept])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
