/** The pages that the board does not need, with the charts: one file, loaded when the first of them is opened. */
export { default as Board } from "./Board";
export { default as Embed } from "./Embed";
export { default as Game } from "./Game";
export { default as Help } from "./Help";
export { default as Models } from "./Models";
export { default as NotFound } from "./NotFound";
export { default as OnAir } from "./OnAir";
export { default as Overlay } from "./Overlay";
export { default as Record } from "./Record";
export { default as System } from "./System";
export { default as WhatIf } from "./WhatIf";
