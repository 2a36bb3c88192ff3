/** Whether forecasts reach the page: from the server to the gateway, and from there to the browser. */

export type Connection = "connecting" | "open" | "lost";

/** As a connection; "live" only if the server behind the gateway is well, "broken" if it is not. */
export type Link = "connecting" | "live" | "broken" | "lost";

export function link(connection: Connection, reason: string | undefined): Link {
  if (connection !== "open") return connection;
  if (reason === undefined) return "connecting";
  return reason === "OK" ? "live" : "broken";
}
