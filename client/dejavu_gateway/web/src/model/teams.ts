/** Names of the thirty teams by their NBA codes, which requests name. */
const NAMES: Record<string, string> = {
  ATL: "Hawks", BKN: "Nets", BOS: "Celtics", CHA: "Hornets", CHI: "Bulls", CLE: "Cavaliers", DAL: "Mavericks", DEN: "Nuggets",
  DET: "Pistons", GSW: "Warriors", HOU: "Rockets", IND: "Pacers", LAC: "Clippers", LAL: "Lakers", MEM: "Grizzlies", MIA: "Heat",
  MIL: "Bucks", MIN: "Timberwolves", NOP: "Pelicans", NYK: "Knicks", OKC: "Thunder", ORL: "Magic", PHI: "76ers", PHX: "Suns",
  POR: "Trail Blazers", SAC: "Kings", SAS: "Spurs", TOR: "Raptors", UTA: "Jazz", WAS: "Wizards",
};

export const TEAMS = Object.keys(NAMES);

/** The name of a team; its code where it has none here. */
export function teamName(code: string): string {
  return NAMES[code] ?? code;
}
