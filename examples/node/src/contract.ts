/** The contract as the client needs it: services and messages out of the .proto files, typed by what was generated. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync, type Options } from "@grpc/proto-loader";

import type { ProtoGrpcType as ErrorModelTypes } from "./gen/error_model.js";
import type { ProtoGrpcType as ModelTypes } from "./gen/model_service.js";
import type { ProtoGrpcType as PredictionTypes } from "./gen/prediction_service.js";

// In a project of your own: copy protos/dejavu, error_model.proto and service_config.json into it, and name them here.
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const DEJAVU_PROTOS = here("../../../protos");
const OWN_PROTOS = here("../protos");
const SERVICE_CONFIG = here("../../../client/dejavu_client/service_config.json");

// As in the script "types" of package.json, by which the types were generated. A number of 64 bits, as `sequence` is,
// does not fit into a number of JavaScript: it is a string.
const options: Options = {
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
  includeDirs: [DEJAVU_PROTOS, OWN_PROTOS],
};

const definition = loadSync(
  ["dejavu/v1/prediction_service.proto", "dejavu/v1/model_service.proto", "error_model.proto"],
  options,
);

type Contract = PredictionTypes & ModelTypes & ErrorModelTypes;

const loaded = loadPackageDefinition(definition) as unknown as Contract;

export const { PredictionService, ModelService } = loaded.dejavu.v1;
export const { Status, ErrorInfo, BadRequest } = loaded.google.rpc;

/** The documented retries: which calls, on which codes, how often. */
export const serviceConfig: string = readFileSync(SERVICE_CONFIG, "utf8");
