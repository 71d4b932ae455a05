"""The style sheet of the page; it stands in the page itself."""

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
@media print {
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
