import { expect, test } from "vitest";
import { strings } from "../src/strings";
import { partsOf, WORDS } from "../src/words";

const found = (text: string) => partsOf(text).flatMap((part) => part.id ?? []);

test("a word links where it stands, once a text, and nothing of the text is lost", () => {
  const text = "CRPS and Brier score of late forecasts later: the intervals of an operating model; CRPS again";
  expect(found(text)).toEqual(["crps", "brier", "late", "interval"]);
  expect(partsOf(text).map((part) => part.text).join("")).toBe(text);
  expect(found(strings.bets.closingLine)).toEqual(["closing"]);
  expect(found(strings.game.contribution.lstm ?? "")).toEqual(["lstm"]);
  expect(found("plain")).toEqual([]);
});

test.each(Object.entries(WORDS))("the help has a sentence for %s, which is found by its name", (id, word) => {
  expect(found(word.name)).toContain(id);
  expect(word.says).toMatch(/^[A-Z0-9].*\.$/);
});
