/** Errors of calls: the status code and the server's error details. */

import { status, type Metadata, type ServiceError } from "@grpc/grpc-js";

import { BadRequest, ErrorInfo, RetryInfo, Status } from "./contract.js";

/** A field that the server rejected: its name (`pattern[3]`), the received and the expected value. */
export interface FieldViolation {
  field: string;
  description: string;
}

/** A failed call. */
export class DejavuError extends Error {
  override readonly name = "DejavuError";

  /**
   * @param code the status code.
   * @param message description of the error, for people.
   * @param reason stable reason code for programs, for example INVALID_PATTERN; empty if the server sent none.
   * @param fieldViolations the rejected fields.
   * @param requestId the server's id of the call, as in its log; empty if the call never reached the server.
   * @param retryAfterMs milliseconds to wait before the same request is sent again; undefined if the server gave none.
   */
  constructor(
    readonly code: status,
    message: string,
    readonly reason: string = "",
    readonly fieldViolations: readonly FieldViolation[] = [],
    readonly requestId: string = "",
    readonly retryAfterMs: number | undefined = undefined,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** Returns code, reason and message on one line, for people. */
  override toString(): string {
    return [status[this.code], this.reason, this.message].filter(Boolean).join(": ");
  }
}

/** Converts the error of a call to a DejavuError; returns other errors unchanged. */
export function fromCall(error: unknown): unknown {
  if (!isServiceError(error)) {
    return error;
  }
  const { reason, fieldViolations, retryAfterMs } = details(error.metadata);
  const requestId = String(error.metadata.get("x-request-id")[0] ?? "");
  return new DejavuError(error.code, error.details, reason, fieldViolations, requestId, retryAfterMs, { cause: error });
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "details" in error && "metadata" in error;
}

interface Details {
  reason: string;
  fieldViolations: FieldViolation[];
  retryAfterMs?: number;
}

/** Extracts reason, field violations and the pause before a retry from the google.rpc details in the trailing metadata. */
function details(metadata: Metadata): Details {
  const result: Details = { reason: "", fieldViolations: [] };
  const [packed] = metadata.get("grpc-status-details-bin");
  if (!Buffer.isBuffer(packed)) {
    return result;
  }
  try {
    for (const detail of Status.deserialize(packed).details) {
      const value = Buffer.from(detail.value);
      if (detail.type_url.endsWith("/google.rpc.ErrorInfo")) {
        result.reason = ErrorInfo.deserialize(value).reason;
      } else if (detail.type_url.endsWith("/google.rpc.BadRequest")) {
        result.fieldViolations.push(...BadRequest.deserialize(value).fieldViolations);
      } else if (detail.type_url.endsWith("/google.rpc.RetryInfo")) {
        const { seconds = "0", nanos = 0 } = RetryInfo.deserialize(value).retryDelay ?? {};
        result.retryAfterMs = 1000 * Number(seconds) + nanos / 1e6;
      }
    }
  } catch {
    // Invalid details, for example from a proxy: use only the status.
  }
  return result;
}
