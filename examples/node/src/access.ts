/**
 * Credentials of a client: TLS from files, and a token that follows its file.
 *
 * The variables are those of the `dejavu` commands: DEJAVU_TLS, DEJAVU_CA, DEJAVU_CERT, DEJAVU_KEY, DEJAVU_TOKEN,
 * DEJAVU_TOKEN_FILE, DEJAVU_ALLOW_PLAINTEXT_TOKEN.
 */

import { readFileSync, statSync } from "node:fs";

import { credentials, Metadata, type ChannelCredentials } from "@grpc/grpc-js";

/** A bearer token, or a function that returns the newest one, which is called for each call. */
export type Token = string | (() => string);

/** Returns credentials for TLS, or for plain text if no variable asks for TLS. */
export function credentialsFromEnvironment(): ChannelCredentials {
  const [ca, cert, key] = ["DEJAVU_CA", "DEJAVU_CERT", "DEJAVU_KEY"].map((name) => process.env[name]);
  if (!isSet("DEJAVU_TLS") && !ca && !cert && !key) {
    return credentials.createInsecure();
  }
  if (!cert !== !key) {
    throw new TypeError("DEJAVU_CERT and DEJAVU_KEY belong together: set both, or neither");
  }
  const [roots, privateKey, chain] = [ca, key, cert].map((path) => (path ? readFileSync(path) : null));
  return credentials.createSsl(roots, privateKey, chain);
}

/** Returns the token that the environment names; undefined if it names none. */
export function tokenFromEnvironment(): Token | undefined {
  const file = process.env["DEJAVU_TOKEN_FILE"];
  return file ? tokenFile(file) : process.env["DEJAVU_TOKEN"] || undefined;
}

/** Returns a function that returns the token in a file, and reads it again when the file changes. */
export function tokenFile(path: string): () => string {
  let version = "";
  let token = "";
  const read = (): void => {
    const { ino, mtimeMs, size } = statSync(path);
    if (`${ino} ${mtimeMs} ${size}` !== version) {
      token = checked(readFileSync(path, "utf8").trim().split("\n", 1)[0] ?? "", path);
      version = `${ino} ${mtimeMs} ${size}`;
    }
  };
  read(); // fails now if there is no token
  return () => {
    try {
      read();
    } catch {
      // While the file is being replaced: use the last token.
    }
    return token;
  };
}

/** Returns a function that returns the metadata of a call. Refuses to send a token in plain text to another machine. */
export function metadataSource(address: string, token: Token | undefined, encrypted: boolean): () => Metadata {
  if (token === undefined) {
    return () => new Metadata();
  }
  if (!encrypted && !isLoopback(address) && !isSet("DEJAVU_ALLOW_PLAINTEXT_TOKEN")) {
    throw new TypeError(`the token would be sent to ${address} in plain text: set DEJAVU_TLS=1 or DEJAVU_CA`);
  }
  const newest = typeof token === "function" ? token : () => token;
  newest();
  return () => {
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${checked(newest(), "the token")}`);
    return metadata;
  };
}

function checked(token: string, what: string): string {
  if (!/^[!-~]+$/.test(token)) {
    throw new TypeError(`${what} is not a token: expected printable ASCII without spaces`); // never shows the token
  }
  return token;
}

function isSet(name: string): boolean {
  return ["1", "true", "yes", "on"].includes((process.env[name] ?? "").toLowerCase());
}

function isLoopback(addresses: string): boolean {
  const local = /^(unix:.*|localhost(:\d+)?|127(\.\d+){3}(:\d+)?|\[::1\](:\d+)?)$/i;
  return addresses.split(",").every((address) => local.test(address));
}
