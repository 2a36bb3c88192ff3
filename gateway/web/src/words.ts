/** The words of the page that a person may not know, each in one sentence: the help page, to which every place links where one stands. */

export interface Word {
  name: string;
  /** Forms in which it stands in texts, as a regular expression without regard to case; without them its name, of one or of several. */
  forms?: string;
  says: string;
}

/** By id, which is the anchor on the help page. Earlier forms take precedence where several begin at one place. */
export const WORDS: Readonly<Record<string, Word>> = {
  interval: { name: "Interval", says: "A range that is meant to hold the result: of a hundred 95 % intervals about 95 should." },
  fan: { name: "Fan", forms: "fan chart|\\bfan\\b", says: "The chart of the lead: left of now what was played, right of it the intervals of 50, 80 and 95 %, which widen with the time that is left." },
  similar: { name: "Déjà vu, similar games", forms: "déjà vu|similar games|like this one", says: "Past games whose course up to this minute was most like this one's; how they went on is one part of the forecast." },
  mirrored: { name: "Mirrored", forms: "mirror image|mirrored", says: "A past game with its two teams exchanged, as a road team's run says as much as a home team's." },
  lstm: { name: "LSTM", says: "A small neural network that reads the course of the lead minute by minute; its forecast is one part of the one that is shown." },
  linear: { name: "Linear model", says: "The plain forecast from the lead, the time that is left and the strength of both teams, on which the others build." },
  rating: { name: "Rating, team strength", forms: "\\bratings?\\b|team strength", says: "By how many points a team is better than an average one, learned from the results of its games." },
  closing: { name: "Closing line", forms: "closing[- ]line( value)?", says: "The market's last line before tip-off. A recorded bet's closing-line value is by how much it beat the market's next price: the earliest sign of a good one." },
  line: { name: "Line before tip-off", forms: "\\bline of the market|\\blines?(?= before tip-off)|expected before tip-off", says: "The lead at the end that a betting market expects before the game: BOS by 5.5; without one, the ratings' own." },
  kelly: { name: "Stake", forms: "\\bstakes?\\b", says: "The share of the bankroll that the model's difference from the price is worth, kept small by caps; no advice to bet." },
  drawdown: { name: "Drawdown", says: "The deepest fall of the bankroll from an earlier high." },
  persistence: { name: "Persistence", forms: "persistence|repeating the lead", says: "The simplest forecast, that the lead stays as it is: any other has to beat it, over many games." },
  leader: { name: "If the leader wins", says: "The simplest tip, that the team that is ahead wins for certain." },
  error: { name: "Mean error", says: "By how many points the forecasts of the lead were off, on average." },
  crps: { name: "CRPS", says: "The error of a whole forecast in points, its width as well as its middle: lower is better; without any doubt it is the plain error." },
  brier: { name: "Brier score", forms: "\\bBrier( scores?)?", says: "The mean squared error of a probability: 0 is perfect, always saying 50 % has 0.25, and lower is better." },
  calibration: { name: "Calibration", forms: "\\bcalibration( error)?\\b|\\bcalibrated\\b", says: "What is said with 70 % should happen 7 times of 10: the calibration error is the mean distance from that." },
  coverage: { name: "Coverage, held", forms: "\\bcoverage\\b|\\bheld\\b", says: "How many of the intervals held the result; of few games the share says little." },
  evalue: { name: "E-value", says: "Evidence as the winnings of a fair bet against a claim: if the claim is true, 20 is reached at most once in 20 tries, however often one looks." },
  champion: { name: "Champion, challenger, shadow", forms: "\\bchampion\\b|\\bchallengers?\\b|\\bshadow( models?)?", says: "The champion answers; a challenger makes the same forecasts unseen, until the evidence says which is better." },
  ledger: { name: "Ledger, signed head", forms: "\\bledger\\b|signed head", says: "The list of all forecasts, each with a fingerprint of the one before: who keeps its signed head can prove that nothing was changed." },
  doubtful: { name: "Doubtful", says: "A game whose forecasts and outcome contradict each other in teams, dates, times or lines: it counts, and should be looked at." },
  late: { name: "Late", says: "A forecast that was recorded after its time, perhaps with hindsight: it is kept, and does not count." },
  replay: { name: "Replay", forms: "\\breplay(s|ed)?\\b", says: "A game of the past that is played again from its recorded plays, to try everything out; the record leaves it out unless asked." },
  whatIf: { name: "What-if", says: "A forecast of a course that somebody drew: it is answered and not recorded." },
  poller: { name: "Poller and feed", forms: "\\bpoller\\b|\\bthe feed\\b", says: "The feed is where the league's scores and plays come from; the poller is the program that reads it and asks for the forecasts." },
};

const ANY = new RegExp(
  Object.entries(WORDS).map(([id, word]) => `(?<${id}>${word.forms ?? `\\b${word.name}s?\\b`})`).join("|"),
  "giu",
);

/** Parts of a text, of which some are a word; each word is told once. */
export function partsOf(text: string): { text: string; id: string | undefined }[] {
  const parts: { text: string; id: string | undefined }[] = [];
  const told = new Set<string>();
  let end = 0;
  for (const match of text.matchAll(ANY)) {
    const id = Object.entries(match.groups ?? {}).find(([, found]) => found !== undefined)?.[0];
    if (id === undefined || told.has(id)) continue;
    told.add(id);
    if (match.index > end) parts.push({ text: text.slice(end, match.index), id: undefined });
    parts.push({ text: match[0], id });
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push({ text: text.slice(end), id: undefined });
  return parts;
}
