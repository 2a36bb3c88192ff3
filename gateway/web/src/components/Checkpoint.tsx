/** The signed head of the ledger, and the commands with which anybody can verify the ledger later. */
import { For, Show } from "solid-js";
import { api } from "../api/client";
import { time } from "../api/convert";
import { exact } from "../model/format";
import { createLoaded } from "../state/load";
import { strings } from "../strings";
import { Command } from "./Command";
import { Words } from "./Words";

const said = strings.record;

/** Bytes, which JSON carries in base64, as hexadecimal digits. */
function hex(base64: string | undefined): string {
  return [...atob(base64 ?? "")].map((byte) => byte.charCodeAt(0).toString(16).padStart(2, "0")).join("");
}

export function Checkpoint() {
  const answer = createLoaded(() => true, () => api.checkpoint());
  const head = () => answer.value()?.checkpoint;
  return (
    <section class="card">
      <h2>{said.checkpoint}</h2>
      <p class="intro">
        <Words text={said.checkpointText} />
      </p>
      <For each={said.commands}>
        {(command) => <Command command={command} />}
      </For>
      <Show when={head()}>
        {(checkpoint) => (
          <>
            <p class="caption">{said.checkpointEntry(`${checkpoint().sequence}`, exact(time(checkpoint().signedTime)))}</p>
            <dl class="checks">
              <div>
                <dt>{said.ledgerId}</dt>
                <dd class="plain-value">
                  <code>{checkpoint().ledgerId}</code>
                </dd>
              </div>
              <div>
                <dt>{said.hash}</dt>
                <dd class="plain-value">
                  <code>{hex(checkpoint().hash)}</code>
                </dd>
              </div>
              <div>
                <dt>{said.key}</dt>
                <dd class="plain-value">
                  <code>{hex(checkpoint().publicKey)}</code>
                </dd>
              </div>
            </dl>
          </>
        )}
      </Show>
    </section>
  );
}
