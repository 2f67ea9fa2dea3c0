"""The looks of the report: light and dark on a screen, light in print."""

STYLE = """
:root { color-scheme: light dark; --back: #f6f7f9; --card: #fff; --line: #dfe3e8; --text: #1b2430;
  --faint: #5c6877; --blue: #2f6fde; --green: #1c7a45; --amber: #b06f00; --red: #c0322b;
  --violet: #7a4fc4; --teal: #0f7f86; --grey: #9aa5b1; --pause: #e9ecf0; }
@media screen and (prefers-color-scheme: dark) {
  :root { --back: #12161c; --card: #1b2129; --line: #323b47; --text: #e6eaf0; --faint: #98a4b3;
    --blue: #6a9df5; --green: #5ec48b; --amber: #e0a94a; --red: #ff7d74; --violet: #b294f0;
    --teal: #56c3ca; --grey: #6d7885; --pause: #262e38; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 1rem; background: var(--back);
  color: var(--text); font: 15px/1.45 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.3rem; overflow-wrap: anywhere; }
h2 { margin: 0 0 .5rem; font-size: 1rem; }
h2 small, .faint { color: var(--faint); font-weight: normal; }
p { margin: .2rem 0; }
.badge { display: inline-block; padding: 0 .5rem; border-radius: 1rem; font-size: .85rem;
  vertical-align: .15em; border: 1px solid currentcolor; }
.verdict { font-size: 1.1rem; margin: .5rem 0 .2rem; }
.good { color: var(--green); } .odd { color: var(--amber); } .bad { color: var(--red); }
code { font: .9em/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.next code { background: var(--pause); padding: .1rem .4rem; border-radius: 4px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .6rem 0 1rem; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
section, .tiles > div { border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem;
  background: var(--card); }
section { margin-top: 1rem; min-width: 0; }
.tiles { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); }
.tiles b { display: block; font-size: 1.6rem; line-height: 1.3;
  font-variant-numeric: tabular-nums; }
.two { display: grid; gap: 0 1rem; grid-template-columns: repeat(2, minmax(0, 1fr)); }
.wide { overflow-x: auto; }
.two.top { align-items: start; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--faint); font-size: .85rem; }
th, td { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: baseline; }
tbody tr:last-child td, tbody tr:last-child th { border-bottom: 0; }
th:last-child, td:last-child { padding-right: 0; }
tfoot td { border-top: 2px solid var(--line); border-bottom: 0; font-weight: 600; }
.n { text-align: right; white-space: nowrap; }
.part td:first-child { padding-left: 1.2rem; color: var(--faint); }
.id, .any { overflow-wrap: anywhere; } .nb { white-space: nowrap; }
.message { min-width: 14rem; } .where { min-width: 9rem; }
td code { white-space: nowrap; }
.bar { width: 40%; min-width: 4rem; } .bar i { display: block; height: .7rem; border-radius: 2px;
  min-width: 1px; }
.stack { display: flex; height: .9rem; border-radius: 4px; overflow: hidden; margin: .2rem 0 .8rem;
  background: var(--pause); }
.stack i { display: block; min-width: 1px; }
.plot { position: relative; height: 9rem; margin: .6rem 0 1.5rem 3.6rem; }
.plot.strip { height: 1.6rem; }
.plot svg { display: block; width: 100%; height: 100%; overflow: visible; }
.plot span { position: absolute; color: var(--faint); font-size: .8rem; line-height: 1;
  white-space: nowrap; font-variant-numeric: tabular-nums; }
.plot .y { right: 100%; margin-right: .4rem; transform: translateY(50%); }
.plot .x { top: 100%; margin-top: .35rem; transform: translateX(-50%); }
.plot .x.first { transform: none; } .plot .x.last { transform: translateX(-100%); }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; color: var(--faint); font-size: .85rem; }
.legend i, td > i.key { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px;
  margin-right: .35rem; vertical-align: -.08em; }
.grid { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke; }
.pause { fill: var(--pause); }
.line { fill: none; stroke-width: 1.75; vector-effect: non-scaling-stroke; }
.hover { fill: transparent; } .hover:hover { fill: var(--faint); fill-opacity: .18; }
.area { fill-opacity: .35; }
.blue { fill: var(--blue); background: var(--blue); stroke: var(--blue); }
.green { fill: var(--green); background: var(--green); stroke: var(--green); }
.amber { fill: var(--amber); background: var(--amber); stroke: var(--amber); }
.red { fill: var(--red); background: var(--red); stroke: var(--red); }
.violet { fill: var(--violet); background: var(--violet); stroke: var(--violet); }
.teal { fill: var(--teal); background: var(--teal); stroke: var(--teal); }
.grey { fill: var(--grey); background: var(--grey); stroke: var(--grey); }
.line { fill: none; } .area, rect { stroke: none; }
.light { opacity: .55; }
details > summary { cursor: pointer; color: var(--faint); }
footer { margin: 1rem 0; color: var(--faint); font-size: .85rem; }
@media screen and (max-width: 50rem) {
  body { padding: .6rem; }
  .two { grid-template-columns: minmax(0, 1fr); }
  .tiles { grid-template-columns: repeat(2, 1fr); gap: .6rem; }
  .tiles > div { padding: .5rem .7rem; }
  .tiles b { font-size: 1.3rem; }
  section { padding: .7rem; margin-top: .6rem; }
  .bar { width: 20%; min-width: 2.5rem; }
  th, td { padding-right: .6rem; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .3rem; }
}
@media print {
  :root { --back: #fff; font-size: 10px; }
  body { max-width: none; padding: 0; font-size: 1rem; }
  .tiles { grid-template-columns: repeat(6, 1fr); gap: .6rem; }
  .tiles > div { padding: .5rem .7rem; }
  .tiles b { font-size: 1.3rem; }
  section, .tiles > div, tr { break-inside: avoid; }
  section.long { break-inside: auto; }
  .wide { overflow: visible; }
  i, rect, path, .stack, .badge { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
