/** A chart with its title, its caption and, behind a toggle, the same figures as a table. */
import { createSignal, createUniqueId, For, Show, type JSX } from "solid-js";
import { strings } from "../strings";
import { Words } from "./Words";

export interface TableData {
  columns: readonly string[];
  rows: readonly (readonly string[])[];
}

/** What a chart says of the place that a row of its table is about: the cells with their columns. */
export function readRow({ columns, rows }: TableData, place: number): string[] {
  return (rows[place] ?? []).map((cell, index) => `${columns[index]}: ${cell}`);
}

export function Table(props: { data: TableData; caption: string }) {
  return (
    <div class="table-scroll" tabindex="0" role="region" aria-label={props.caption}>
      <table>
        <caption class="visually-hidden">{props.caption}</caption>
        <thead>
          <tr>
            <For each={props.data.columns}>
              {(column) => (
                <th scope="col">
                  <Words text={column} />
                </th>
              )}
            </For>
          </tr>
        </thead>
        <tbody>
          <For each={props.data.rows}>
            {(row) => (
              <tr>
                <For each={row}>{(cell, column) => <td>{column() ? cell : <Words text={cell} />}</td>}</For>
              </tr>
            )}
          </For>
        </tbody>
      </table>
    </div>
  );
}

/** A table that no chart stands above. */
export function TableCard(props: { title: string; caption?: string; data: TableData }) {
  return (
    <section class="card">
      <h2>{props.title}</h2>
      <Table data={props.data} caption={props.title} />
      <Show when={props.caption}>{(caption) => <p class="sub caption">{caption()}</p>}</Show>
    </section>
  );
}

export function Figure(props: { title: string; caption: string; table: () => TableData; children: JSX.Element; aside?: JSX.Element }) {
  const [open, setOpen] = createSignal(false);
  const id = createUniqueId();
  return (
    <section class="card figure">
      <div class="row apart">
        <h2>{props.title}</h2>
        <div class="row">
          {props.aside}
          <button type="button" class="quiet" aria-expanded={open()} aria-controls={id} onClick={() => setOpen(!open())}>
            {open() ? strings.table.hide : strings.table.show}
          </button>
        </div>
      </div>
      {props.children}
      <p class="sub caption">
        <Words text={props.caption} />
      </p>
      <div id={id}>
        <Show when={open()}>
          <Table data={props.table()} caption={props.title} />
        </Show>
      </div>
    </section>
  );
}

/** The lines and marks of a chart: the kind of each, and what it is. */
export function Legend(props: { entries: readonly (readonly [string, string])[] }) {
  return (
    <ul class="row sub">
      <For each={props.entries}>
        {([kind, text]) => (
          <li>
            <i class="key" data-kind={kind} aria-hidden="true" />
            {text}
          </li>
        )}
      </For>
    </ul>
  );
}
