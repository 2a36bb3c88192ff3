import { expect, test } from "vitest";
import { boxOf, delayOf, frameOf, kindOf } from "../src/model/overlay";

test("a frame has the asked size, and full HD without a sensible one", () => {
  expect(frameOf("1280x720")).toEqual({ width: 1280, height: 720 });
  for (const text of [undefined, "", "1280", "99999x720", "-1x-1", "1280x720px"]) expect(frameOf(text)).toEqual({ width: 1920, height: 1080 });
  expect(["fan", "win", "third", "other", undefined].map(kindOf)).toEqual(["fan", "win", "third", "third", "third"]);
});

test("it stands where it is asked to, within the frame, else at its usual place", () => {
  const frame = frameOf("1280x720");
  expect(boxOf("third", frame, {})).toEqual({ left: 64, top: 554, width: 717 });
  expect(boxOf("fan", frame, { x: "10", y: "20", width: "600" })).toEqual({ left: 10, top: 20, width: 600 });
  expect(boxOf("win", frame, { x: "9999", y: "-5", width: "1e3" })).toEqual({ left: 1280, top: 50, width: 486 });
});

test("it is as late as it is asked to be, at most ten minutes", () => {
  expect(["30", "0", "999", undefined, "", "-5", "1e3", "soon"].map(delayOf)).toEqual([30_000, 0, 600_000, 0, 0, 0, 0, 0]);
});
