/** Loads services and messages from the .proto files, with the generated types. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { loadPackageDefinition } from "@grpc/grpc-js";
import { loadSync, type Options } from "@grpc/proto-loader";

import type { ProtoGrpcType as ErrorModelTypes } from "./gen/error_model.js";
import type { ProtoGrpcType as ModelTypes } from "./gen/model_service.js";
import type { ProtoGrpcType as PredictionTypes } from "./gen/prediction_service.js";

// In your own project: copy protos/dejavu, error_model.proto and service_config*.json, and set their paths here.
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const DEJAVU_PROTOS = here("../../../protos");
const OWN_PROTOS = here("../protos");
const SERVICE_CONFIG = here("../../../client/dejavu_client/service_config.json");
const SERVERS_CONFIG = here("../../../client/dejavu_client/service_config_servers.json");

// Must match the script "types" of package.json, which generates the types. 64-bit integers such as `sequence` do not
// fit into a JavaScript number and are strings.
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
export const { Status, ErrorInfo, BadRequest, RetryInfo } = loaded.google.rpc;

/** The documented retry policy: which calls, which codes, how many attempts. */
export const serviceConfig: string = readFileSync(SERVICE_CONFIG, "utf8");

/** The same for several servers of one ledger: calls rotate over the connected ones. */
export const serversConfig: string = readFileSync(SERVERS_CONFIG, "utf8");
