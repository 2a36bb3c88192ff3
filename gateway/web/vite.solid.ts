/** Removes from Solid what only transitions, schedulers, external sources and pages made by a server need: this page has none. */
import { trimmed } from "./vite.trimmed";

export const trimmedSolid = [
  trimmed("solid-without-unused", /solid-js\/dist\/solid\.js$/, [
    [/\b(Transition|Scheduler) && /g, "false && "],
    [/if \(Transition\)/g, "if (false)"],
    [/ && Transition\)/g, " && false)"],
    [/\b(runningTransition|TransitionRunning)\b(?! =)/g, "false"],
    [/if \(ExternalSourceConfig\b/g, "if (false"],
    [/!ExternalSourceConfig && /g, ""],
    [/sharedConfig\.context\b(?! =)/g, "undefined"],
    [/if \(sharedConfig\.effects && /, "if (false && "],
  ]),
  trimmed("solid-web-without-unused", /solid-js\/web\/dist\/web\.js$/, [
    [/(?<!function )\bisHydrating\(\w*\)/g, "false"],
    [/sharedConfig\.registry && /g, "false && "],
  ]),
];
