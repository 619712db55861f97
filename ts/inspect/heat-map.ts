/** Outliers as an SVG: one panel per projection, a row per layer, a column per dimension, darker for more tokens. Pure. */
import type { Observation } from "./outliers.ts";

/** Least share of tokens of each colour; above 0 is the first. */
const LEVELS = [
  { from: 0, color: "#fde0c5", text: "some" },
  { from: 0.001, color: "#f8b58b", text: "0.1 %" },
  { from: 0.01, color: "#f2855d", text: "1 %" },
  { from: 0.06, color: "#d1495b", text: "6 % (the paper's)" },
  { from: 0.25, color: "#7a1c4b", text: "25 %" },
  { from: 0.75, color: "#2d0b2e", text: "75 %" },
] as const;

/** Pixels. A column of the picture is several dimensions where there are more of them than this. */
const COLUMNS = 1152;
const LEFT = 48;
const GAP = 46;
const TOP = 64;

export function heatMap(title: string, observations: readonly Observation[], tokens: number): string {
  const projections = [...new Set(observations.map(({ projection }) => projection))];
  const layers = Math.max(...observations.map(({ layer }) => layer)) + 1;
  const rowHeight = Math.max(2, Math.min(8, Math.floor(320 / layers)));
  const panelHeight = layers * rowHeight;
  const height = TOP + projections.length * (panelHeight + GAP);
  const panels = projections.map((projection, index) => {
    const of = observations.filter((observation) => observation.projection === projection);
    return panel(projection, of, tokens, TOP + 16 + index * (panelHeight + GAP), rowHeight);
  });
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${LEFT + COLUMNS + 24}" height="${height}" font-family="sans-serif" font-size="11">`,
    '<rect width="100%" height="100%" fill="#ffffff"/>',
    `<text x="${LEFT}" y="20" font-size="14">${escapeXml(title)}</text>`,
    ...legend(),
    ...panels.flat(),
    "</svg>",
  ].join("\n")}\n`;
}

function legend(): string[] {
  const items = LEVELS.map(({ color, text }, index) => {
    const x = LEFT + 190 + index * 120;
    return `<rect x="${x}" y="33" width="12" height="12" fill="${color}"/><text x="${x + 17}" y="43">${escapeXml(text)}</text>`;
  });
  return [`<text x="${LEFT}" y="43">share of tokens, at least:</text>`, ...items];
}

function panel(
  projection: string,
  of: readonly Observation[],
  tokens: number,
  top: number,
  rowHeight: number,
): string[] {
  const width = of[0]!.counts.length;
  const merged = Math.ceil(width / COLUMNS);
  const columns = Math.ceil(width / merged);
  const columnWidth = Math.floor(COLUMNS / columns);
  const height = (Math.max(...of.map(({ layer }) => layer)) + 1) * rowHeight;
  const right = LEFT + columns * columnWidth;
  const paths = LEVELS.map(({ color }, level) => {
    const runs = of.flatMap(({ layer, counts }) => {
      const levels = levelsOf(counts, merged, columns, tokens);
      return runsOf(levels, level).map(([from, length]) => {
        const at = `M${LEFT + from * columnWidth} ${top + layer * rowHeight}`;
        return `${at}h${length * columnWidth}v${rowHeight}h-${length * columnWidth}z`;
      });
    });
    return runs.length === 0 ? [] : [`<path fill="${color}" d="${runs.join("")}"/>`];
  });
  const each = merged === 1 ? "" : `, ${merged} to a column`;
  return [
    `<text x="${LEFT}" y="${top - 5}">${escapeXml(projection)}: ${width} dimensions${each}</text>`,
    `<rect x="${LEFT}" y="${top}" width="${columns * columnWidth}" height="${height}" fill="#f7f7f7" stroke="#bbbbbb"/>`,
    ...paths.flat(),
    `<text x="${LEFT - 6}" y="${top + 9}" text-anchor="end">0</text>`,
    `<text x="${LEFT - 6}" y="${top + height}" text-anchor="end">${height / rowHeight - 1}</text>`,
    `<text x="${LEFT}" y="${top + height + 12}">0</text>`,
    `<text x="${right}" y="${top + height + 12}" text-anchor="end">${width - 1}</text>`,
  ];
}

/** Of each column of the picture: the index of its level, -1 for no outlier. */
function levelsOf(counts: Int32Array, merged: number, columns: number, tokens: number): number[] {
  return Array.from({ length: columns }, (_, column) => {
    const most = Math.max(...counts.subarray(column * merged, (column + 1) * merged));
    return most === 0 ? -1 : LEVELS.findLastIndex(({ from }) => most / tokens >= from);
  });
}

/** Stretches [first, length] of columns of this level. */
function runsOf(levels: readonly number[], level: number): (readonly [number, number])[] {
  const runs: [number, number][] = [];
  for (const [column, found] of levels.entries()) {
    if (found !== level) continue;
    const last = runs.at(-1);
    if (last && last[0] + last[1] === column) last[1]++;
    else runs.push([column, 1]);
  }
  return runs;
}

function escapeXml(text: string): string {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
