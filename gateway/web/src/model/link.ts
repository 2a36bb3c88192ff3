/** Whether forecasts reach the page: from the server to the gateway, and from there to the browser. */

export type Connection = "connecting" | "open" | "lost";

/** State of a connection; an open one is "live" if the server behind the gateway works, "broken" if not, and "connecting" until that is known. */
export type Link = "connecting" | "live" | "broken" | "lost";

export function link(connection: Connection, reason: string | undefined): Link {
  if (connection !== "open") return connection;
  if (reason === undefined) return "connecting";
  return reason === "OK" ? "live" : "broken";
}
