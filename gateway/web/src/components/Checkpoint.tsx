/** The signed head of the ledger, and the commands with which anybody can verify the ledger later. */
import { For, Show } from "solid-js";
import { api } from "../api/client";
import { time } from "../api/convert";
import type { CheckpointJson } from "../gen/dejavu/v1/record_pb";
import { exact } from "../model/format";
import { createLoaded } from "../state/load";
import { strings } from "../strings";
import { Command } from "./Command";
import { Facts } from "./Stat";
import { Words } from "./Words";

const said = strings.record;

/** Bytes, which JSON carries in base64, as hexadecimal digits. */
function hex(base64: string | undefined): string {
  return [...atob(base64 ?? "")].map((byte) => byte.charCodeAt(0).toString(16).padStart(2, "0")).join("");
}

export function Checkpoint() {
  const answer = createLoaded(() => true, () => api.checkpoint());
  const facts = (one: CheckpointJson) =>
    [[said.ledgerId, one.ledgerId], [said.hash, hex(one.hash)], [said.key, hex(one.publicKey)]].map(([name = "", value]) => ({ name, text: <code>{value}</code> }));
  const head = () => answer.value()?.checkpoint;
  return (
    <section class="card">
      <h2>{said.checkpoint}</h2>
      <p class="intro">
        <Words text={said.checkpointText} />
      </p>
      <For each={said.commands}>{(command) => <Command command={command} />}</For>
      <Show when={head()}>
        {(checkpoint) => (
          <>
            <p class="sub caption">{said.checkpointEntry(`${checkpoint().sequence}`, exact(time(checkpoint().signedTime)))}</p>
            <Facts facts={facts(checkpoint())} />
          </>
        )}
      </Show>
    </section>
  );
}
