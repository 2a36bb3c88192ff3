/** What a call can end with other than an answer: the status code, and what the server's details say about it. */

import { status, type Metadata, type ServiceError } from "@grpc/grpc-js";

import { BadRequest, ErrorInfo, Status } from "./contract.js";

/** A field that the server refused: its name (`pattern[3]`), what was found and what was expected. */
export interface FieldViolation {
  field: string;
  description: string;
}

/** A call that got no answer. */
export class DejavuError extends Error {
  override readonly name = "DejavuError";

  /**
   * @param code the status code.
   * @param message what is wrong, for people.
   * @param reason a stable name for programs, for instance INVALID_PATTERN; empty if the server gave none.
   * @param fieldViolations the fields that were refused.
   * @param requestId the server's name for the call, to be found in its log; empty if the call never reached it.
   */
  constructor(
    readonly code: status,
    message: string,
    readonly reason: string = "",
    readonly fieldViolations: readonly FieldViolation[] = [],
    readonly requestId: string = "",
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** For people: code, reason and message in one line. */
  override toString(): string {
    return [status[this.code], this.reason, this.message].filter(Boolean).join(": ");
  }
}

/** The error of a call as a DejavuError; what is no gRPC error stays as it is. */
export function fromCall(error: unknown): unknown {
  if (!isServiceError(error)) {
    return error;
  }
  const { reason, fieldViolations } = details(error.metadata);
  const requestId = String(error.metadata.get("x-request-id")[0] ?? "");
  return new DejavuError(error.code, error.details, reason, fieldViolations, requestId, { cause: error });
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "details" in error && "metadata" in error;
}

/** Reason and field violations out of the google.rpc details that travel as trailing metadata. */
function details(metadata: Metadata): { reason: string; fieldViolations: FieldViolation[] } {
  const found = { reason: "", fieldViolations: [] as FieldViolation[] };
  const [packed] = metadata.get("grpc-status-details-bin");
  if (!Buffer.isBuffer(packed)) {
    return found;
  }
  try {
    for (const detail of Status.deserialize(packed).details) {
      const value = Buffer.from(detail.value);
      if (detail.type_url.endsWith("/google.rpc.ErrorInfo")) {
        found.reason = ErrorInfo.deserialize(value).reason;
      } else if (detail.type_url.endsWith("/google.rpc.BadRequest")) {
        found.fieldViolations.push(...BadRequest.deserialize(value).fieldViolations);
      }
    }
  } catch {
    // Details that are none, for instance a proxy's: the status alone has to do.
  }
  return found;
}
