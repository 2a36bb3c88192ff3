/** What the page shows, and its words, each in one sentence. */
import { For, onMount } from "solid-js";
import { Commands } from "../components/Command";
import { PageHead } from "../components/Frame";
import { strings } from "../strings";
import { WORDS } from "../words";

const said = strings.help;

export default function Help() {
  // The link that was followed named a word; in a task of its own, after a new page has the focus at its heading.
  onMount(() => setTimeout(() => location.hash && document.getElementById(location.hash.slice(1))?.focus()));
  return (
    <>
      <PageHead title={strings.pages["/help"]} intro={said.intro} />
      <div class="stack help">
        <section class="card">
          <h2>{said.pages}</h2>
          <dl>
            <For each={said.ofPages}>
              {([path, name, text]) => (
                <div>
                  <dt>
                    <a href={path}>{name}</a>
                  </dt>
                  <dd>{text}</dd>
                </div>
              )}
            </For>
          </dl>
        </section>
        <section class="card">
          <h2>{said.words}</h2>
          <dl>
            <For each={Object.entries(WORDS).sort(([, a], [, b]) => a.name.localeCompare(b.name))}>
              {([id, word]) => (
                <div id={id} tabindex="-1">
                  <dt>{word.name}</dt>
                  <dd>{word.says}</dd>
                </div>
              )}
            </For>
          </dl>
        </section>
        <section class="card">
          <h2>{said.commands}</h2>
          <Commands />
        </section>
      </div>
    </>
  );
}
