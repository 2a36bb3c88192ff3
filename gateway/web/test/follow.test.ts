import { expect, test } from "vitest";
import { follow, keepPlaces, type Followed } from "../src/model/follow";

const game = (id: string, open: number, minute = 20) => ({ id, open, minute });
const S = 1000;

test("the most undecided game is followed, of equal ones the one nearest its end", () => {
  expect(follow(undefined, [game("a", 0.5), game("b", 0.9), game("c", 0.92, 40)], 0)?.id).toBe("c");
  expect(follow(undefined, [], 0)).toBeUndefined();
});

test("it changes calmly: for a clearly more undecided game, after a while, and a little after its end", () => {
  const a: Followed = { id: "a", since: 0, seen: 0 };
  expect(follow(a, [game("a", 0.6), game("b", 0.95)], 20 * S)?.id).toBe("a");
  expect(follow(a, [game("a", 0.8), game("b", 0.95)], 120 * S)?.id).toBe("a");
  expect(follow(a, [game("a", 0.6), game("b", 0.95)], 60 * S)).toEqual({ id: "b", since: 60 * S, seen: 60 * S });
  const played = follow(a, [game("a", 0.1)], 90 * S);
  expect(follow(played, [game("b", 0.95)], 100 * S)?.id).toBe("a");
  expect(follow(played, [game("b", 0.95)], 120 * S)?.id).toBe("b");
  expect(follow(played, [], 999 * S)?.id).toBe("a");
});

test("games keep their places on a board, and a new one takes that of a game that left", () => {
  expect(keepPlaces(["a", "b", "c"], ["c", "d", "a"])).toEqual(["a", "d", "c"]);
  expect(keepPlaces(["a", "b"], ["a"])).toEqual(["a"]);
  expect(keepPlaces([], ["a", "b"])).toEqual(["a", "b"]);
});
