import { expect, test } from "vitest";
import table from "../../dejavu_gateway/teams.json";
import { TEAMS, teamColors, teamName, teamStyle } from "../src/model/teams";

test("names and colors of the thirty teams", () => {
  expect(TEAMS).toHaveLength(30);
  expect([teamName("BOS"), teamName("XXX")]).toEqual(["Celtics", "XXX"]);
});

test("the away team has the color that its place names", () => {
  for (const theme of ["light", "dark"] as const)
    for (const [home, places] of Object.entries(table.away[theme]))
      TEAMS.forEach((away, index) => {
        const colors = teamColors(home, away, theme);
        if (home === away) return expect(colors).toBeUndefined();
        const of: Record<string, string> = table.colors[theme];
        const candidates = [...of[away]!.split(" "), ...table.neutral[theme].split(" ")];
        expect(colors).toEqual([of[home]!.split(" ")[0], candidates[Number(places[index])]]);
      });
});

test("a game of unknown teams has the page's own colors", () => {
  for (const [home, away] of [["BOS", ""], ["home", "away"], ["BOS", "BOS"]] as const)
    expect(Object.values(teamStyle(home, away)).filter(Boolean)).toEqual([]);
  expect(teamStyle("BOS", "LAL")["--home-light"]).toMatch(/^#[0-9a-f]{6}$/);
});
