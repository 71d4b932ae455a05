"""The style sheets of the pages; they stand in the pages themselves."""

STYLE = """
:root {
  --paper: #ffffff; --ink: #1c2230; --faint: #5d6678; --line: #dfe3ea; --tint: #f4f6f9; --link: #0b63a8;
  --warn-paper: #fff4d6; --warn-ink: #6b4700; --warn-line: #e8c565;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171c; --ink: #e6e9ef; --faint: #9aa3b2; --line: #2d333d; --tint: #1c2027; --link: #7cb8ee;
    --warn-paper: #33290f; --warn-ink: #f3d78a; --warn-line: #6d5720;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body {
  margin: 0 auto; max-width: 72rem; padding: 0 1.5rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
.banner {
  margin: 1.25rem 0 0; padding: .6rem 1rem; border: 1px solid var(--warn-line); border-radius: .5rem;
  background: var(--warn-paper); color: var(--warn-ink); font-weight: 600;
}
header { margin: 2rem 0 1.5rem; }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; letter-spacing: -.01em; }
h2 {
  margin: 2.75rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line);
  font-size: 1.35rem;
}
h3 { margin: 2rem 0 .5rem; font-size: 1.08rem; }
p { max-width: 46rem; }
.banner { max-width: none; }
.subtitle { margin: .4rem 0 0; color: var(--faint); }
a { color: var(--link); }
nav { margin: 1.5rem 0; padding: .75rem 1.25rem; border-radius: .5rem; background: var(--tint); }
nav ul { margin: 0; padding: 0; list-style: none; columns: 16rem auto; }
nav li { padding: .1rem 0; break-inside: avoid; }
nav .level-3 { padding-left: 1.1rem; font-size: .93rem; }
nav a { text-decoration: none; }
nav a:hover, nav a:focus { text-decoration: underline; }
.scroll { margin: 1rem 0 1.5rem; overflow-x: auto; }
table { border-collapse: collapse; font-size: .94rem; }
caption { padding: 0 0 .5rem; color: var(--faint); text-align: left; }
th, td {
  padding: .38rem 1.4rem .38rem 0; border-bottom: 1px solid var(--line);
  text-align: left; vertical-align: top;
}
th { border-bottom-width: 2px; font-weight: 600; }
.number {
  padding: .38rem 0 .38rem 1.4rem; text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap;
}
.number + td, .number + th { padding-left: 1.4rem; }
tbody tr:hover { background: var(--tint); }
figure { margin: 1.25rem 0 1.75rem; }
img { display: block; max-width: 100%; height: auto; border: 1px solid var(--line); border-radius: .5rem; }
figcaption { margin-top: .5rem; color: var(--faint); font-size: .93rem; }
pre { overflow-x: auto; padding: .8rem 1rem; border-radius: .5rem; background: var(--tint); }
code { font: .9rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.drawing svg { display: block; max-width: 100%; height: auto; }
.drawing text { font-family: inherit !important; }
.panel { display: flex; flex-wrap: wrap; gap: 1.5rem 2rem; align-items: flex-start; }
.stage {
  position: relative; flex: 1 1 22rem; max-width: 34rem; overflow: hidden;
  background: #000; border-radius: .5rem;
}
.stage img, .stage canvas, .stage svg {
  position: absolute; inset: 0; width: 100%; height: 100%; border: 0; border-radius: 0;
}
.stage rect { fill: none; stroke: #5ff0c8; stroke-width: 2; vector-effect: non-scaling-stroke; }
.controls { flex: 1 1 17rem; max-width: 30rem; }
fieldset { margin: 0 0 1.25rem; padding: 0; border: 0; }
legend { padding: 0 0 .4rem; color: var(--faint); font-size: .93rem; }
.phrase { display: flex; gap: .6rem; padding: .45rem .6rem; border-radius: .4rem; cursor: pointer; }
.phrase:hover { background: var(--tint); }
.phrase:has(:checked) { background: var(--tint); box-shadow: inset 3px 0 var(--link); }
.phrase input { flex: none; margin: .35rem 0 0; accent-color: var(--link); }
.phrase small { display: block; color: var(--faint); font-size: .87rem; }
.slider {
  display: grid; grid-template-columns: 8.5rem 1fr 3.2rem; gap: .75rem; align-items: center; margin: .55rem 0;
}
.slider input { width: 100%; margin: 0; accent-color: var(--link); }
.slider output { text-align: right; font-variant-numeric: tabular-nums; color: var(--faint); }
.scale {
  display: grid; grid-template-columns: auto 1fr auto; gap: .25rem .6rem; align-items: center;
  margin-top: 1.1rem; color: var(--faint); font-size: .87rem; font-variant-numeric: tabular-nums;
}
.scale .colours { height: .6rem; border-radius: .3rem; print-color-adjust: exact; }
.scale small { grid-column: 1 / -1; text-align: center; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
@media print {
  .slider { display: none; }
  .stage { print-color-adjust: exact; flex: none; width: 9cm; }
  :root {
    --paper: #fff; --ink: #000; --faint: #444; --line: #bbb; --tint: #fff; --link: #000;
    --warn-paper: #fff; --warn-ink: #000; --warn-line: #000;
  }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  nav { display: none; }
  h2, h3 { break-after: avoid; }
  figure, tr, pre { break-inside: avoid; }
  pre { border: 1px solid var(--line); white-space: pre-wrap; }
  .scroll { overflow: visible; }
}
"""

# Of drawings: the colours of up to seven runs, told apart by colour-blind eyes too.
DRAWING_STYLE = """
:root {
  --c0: #0072b2; --c1: #c04e00; --c2: #007f5f; --c3: #a8447f; --c4: #8a6100; --c5: #2c7fb0; --c6: #6a6a6a;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --c0: #5fb4e8; --c1: #f08a4b; --c2: #3cc79f; --c3: #e29cc6; --c4: #e6b23c; --c5: #9ad2f2; --c6: #b4b4b4;
  }
}
"""
