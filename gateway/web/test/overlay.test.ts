import { expect, test } from "vitest";
import { boardOf, boxOf, delayOf, frameOf, margins, shownOf, sizeOf } from "../src/model/overlay";

test("a frame has the asked size, and full HD without a sensible one", () => {
  expect(frameOf("1280x720")).toEqual({ width: 1280, height: 720 });
  for (const text of [undefined, "", "1280", "99999x720", "-1x-1", "1280x720px"]) expect(frameOf(text)).toEqual({ width: 1920, height: 1080 });
});

test.each([
  [undefined, "third", ["chance", "end", "dejavu"]],
  ["third", "third", ["chance", "end", "dejavu"]],
  ["bug", "bug", ["chance"]],
  ["bug,score", "bug", []],
  ["bug,end,chance", "bug", ["chance", "end"]],
  ["dejavu", "third", ["dejavu"]],
  ["fan", "fan", []],
  ["other", "third", ["chance", "end", "dejavu"]],
])("%s shows a form and its parts", (text, form, parts) => {
  expect(shownOf(text)).toEqual({ form, parts });
});

test("it stands where it is asked to, within the frame, else at its usual place", () => {
  const frame = frameOf("1280x720");
  expect(boxOf("third", frame, {})).toEqual({ left: "64px", bottom: "36px", width: "717px" });
  expect(boxOf("third", frame, { size: "200" })).toMatchObject({ width: "1152px" });
  expect(boxOf("bug", frame, { place: "top-right" })).toEqual({ right: "64px", top: "36px", width: "fit-content" });
  expect(boxOf("bug", frame, { place: "bottom" })).toMatchObject({ left: "0", right: "0", bottom: "36px", "margin-inline": "auto" });
  expect(boxOf("fan", frame, { x: "10", y: "20", width: "600" })).toEqual({ left: "10px", top: "20px", width: "600px" });
  expect(boxOf("win", frame, { x: "9999", y: "-5", width: "1e3" })).toEqual({ left: "1280px", top: "36px", width: "486px" });
});

test("it is as late and as large as it is asked to be, within bounds", () => {
  expect(["30", "0", "999", undefined, "", "-5", "1e3", "soon"].map(delayOf)).toEqual([30_000, 0, 600_000, 0, 0, 0, 0, 0]);
  expect(["150", "9", "9999", undefined, "big"].map(sizeOf)).toEqual([150, 50, 200, 100, 100]);
});

test("a board has the games of its address, else four to eight", () => {
  expect(boardOf("0022300001,0022300002,x").ids).toEqual(["0022300001", "0022300002"]);
  expect([undefined, "6", "1", "20"].map(boardOf)).toEqual([8, 6, 4, 8].map((count) => ({ ids: undefined, count })));
});

test.each([
  [2.6, 21.4, "BOS by 3 to 21"],
  [-4, 21, "up to BOS by 21 or LAL by 4"],
  [-21, 4, "up to LAL by 21 or BOS by 4"],
  [-20.2, -2.5, "LAL by 3 to 20"],
  [-0.6, 9.9, "BOS by 1 to 9"],
  [-9.9, 0.4, "LAL by 1 to 9"],
  [2.2, 2.9, "BOS by 3"],
  [2.6, 3.2, "BOS by 3"],
  [-0.4, 0.3, undefined],
])("the margins of %d to %d are those that it holds", (lower, upper, words) => {
  expect(margins({ lower, upper }, "BOS", "LAL")?.replaceAll("\u00a0", " ")).toBe(words);
});
