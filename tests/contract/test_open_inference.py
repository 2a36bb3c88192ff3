"""The messages of the Open Inference Protocol have the names and numbers of its specification."""

from __future__ import annotations

import subprocess
import sys

from google.protobuf.descriptor import Descriptor

from dejavu.inference import open_inference_pb2 as pb

TENSOR = {"name": 1, "datatype": 2, "shape": 3}
MODEL = {"name": 1, "version": 2}

SPECIFICATION = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": 1},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": 1},
    "ModelReadyRequest": MODEL,
    "ModelReadyResponse": {"ready": 1},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {**MODEL, "extensions": 3},
    "ModelMetadataRequest": MODEL,
    "ModelMetadataResponse": {"name": 1, "versions": 2, "platform": 3, "inputs": 4, "outputs": 5, "properties": 6},
    "ModelMetadataResponse.TensorMetadata": TENSOR,
    "ModelInferRequest": {
        "model_name": 1, "model_version": 2, "id": 3, "parameters": 4, "inputs": 5, "outputs": 6,
        "raw_input_contents": 7,
    },
    "ModelInferRequest.InferInputTensor": {**TENSOR, "parameters": 4, "contents": 5},
    "ModelInferRequest.InferRequestedOutputTensor": {"name": 1, "parameters": 2},
    "ModelInferResponse": {
        "model_name": 1, "model_version": 2, "id": 3, "parameters": 4, "outputs": 5, "raw_output_contents": 6,
    },
    "ModelInferResponse.InferOutputTensor": {**TENSOR, "parameters": 4, "contents": 5},
    "InferParameter": {
        "bool_param": 1, "int64_param": 2, "string_param": 3, "double_param": 4, "uint64_param": 5,
    },
    "InferTensorContents": {
        "bool_contents": 1, "int_contents": 2, "int64_contents": 3, "uint_contents": 4, "uint64_contents": 5,
        "fp32_contents": 6, "fp64_contents": 7, "bytes_contents": 8,
    },
}  # fmt: skip
"""Numbers by message and field, from open_inference_grpc.proto of kserve/open-inference-protocol."""

METHODS = ["ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"]


def messages(descriptors: list[Descriptor]) -> dict[str, Descriptor]:
    """Return messages and those nested in them by name, without the entries of maps."""
    found: dict[str, Descriptor] = {}
    for each in descriptors:
        if not each.GetOptions().map_entry:
            found[each.full_name.removeprefix("inference.")] = each
            found |= messages(list(each.nested_types))
    return found


def test_every_field_has_its_name_and_number_and_every_method_is_there() -> None:
    found = messages(list(pb.DESCRIPTOR.message_types_by_name.values()))
    assert {name: {field.name: field.number for field in each.fields} for name, each in found.items()} == SPECIFICATION
    service = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert service.full_name == "inference.GRPCInferenceService"
    assert [method.name for method in service.methods] == METHODS


def test_the_client_leaves_the_protocol_to_clients_that_speak_it() -> None:
    """A process can use our client beside tritonclient, although protobuf refuses two copies of the protocol."""
    modules = "dejavu_client, dejavu_cli.main, dejavu_poller"
    program = f"import sys, {modules}; print([name for name in sys.modules if name.startswith('dejavu.inference')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
