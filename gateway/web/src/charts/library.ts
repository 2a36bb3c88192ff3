/** uPlot, in a file of its own. */
export { default } from "uplot";
