/** Names and colors of the thirty teams by their NBA codes, from the table of which shared images have theirs too. */
import table from "../../../dejavu_gateway/teams.json";

const NAMES: Record<string, string> = table.names;

export const TEAMS = Object.keys(NAMES);

/** The name of a team; its code where it has none here. */
export function teamName(code: string): string {
  return NAMES[code] ?? code;
}

type Theme = keyof typeof table.colors;

/** Colors of the home and the away team of a game, distinguishable with every kind of color vision; undefined unless both are known. */
export function teamColors(home: string, away: string, theme: Theme): readonly [string, string] | undefined {
  const colors: Record<string, string> = table.colors[theme];
  const places: Record<string, string> = table.away[theme];
  const [of, other, place] = [colors[home], colors[away], places[home]?.[TEAMS.indexOf(away)]];
  if (!of || !other || !place || home === away) return undefined;
  return [of.split(" ")[0] as string, `${other} ${table.neutral[theme]}`.split(" ")[Number(place)] as string];
}

/** Style of an element of class "teams", within which the sides have the colors of their teams. */
export function teamStyle(home: string, away: string): Record<string, string | undefined> {
  const [light, dark] = [teamColors(home, away, "light"), teamColors(home, away, "dark")];
  return { "--home-light": light?.[0], "--away-light": light?.[1], "--home-dark": dark?.[0], "--away-dark": dark?.[1] };
}
