"""Look of the page on a screen, on a projector and on paper."""
# SPDX-License-Identifier: GPL-3.0-or-later

STYLE = """
:root { --ink:#1f2933; --soft:#5b6773; --line:#dfe4e8; --pale:#f5f7f9; --accent:#0072b2;
  font-size:clamp(15px, 0.45vw + 10.5px, 20px); }
* { box-sizing:border-box; }
body { margin:0; color:var(--ink); background:#fff; line-height:1.5;
  font-family:system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width:80rem; margin:0 auto; padding:2rem 2.5rem 4rem; }
header { border-bottom:3px solid var(--accent); padding-bottom:1.4rem; }
.brand { margin:0 0 1.6rem; font-weight:600; display:flex; align-items:center; gap:.6rem; }
.brand img { height:2.2rem; }
.brand span { color:var(--soft); font-weight:400; }
h1 { font-size:2.3rem; line-height:1.22; margin:0; font-weight:650; letter-spacing:-.01em;
  max-width:66rem; text-wrap:balance; }
.more { font-size:1.3rem; margin:.7rem 0 0; color:var(--soft); max-width:62rem; }
.facts { list-style:none; margin:1.5rem 0 0; padding:0; display:flex; flex-wrap:wrap;
  gap:.4rem 2.4rem; color:var(--soft); }
.facts b { color:var(--ink); font-size:1.15rem; }
section { margin-top:2.8rem; }
h2 { font-size:1.55rem; margin:0 0 .8rem; font-weight:650; }
h3 { font-size:1.1rem; margin:0 0 .5rem; font-weight:650; }
.lead { font-size:1.12rem; margin:0 0 1.1rem; max-width:62rem; }
.note { color:var(--soft); margin:.5rem 0 0; font-size:.92rem; }
.cards { display:grid; grid-template-columns:repeat(auto-fit, minmax(20rem, 1fr)); gap:1.2rem; }
.card { background:var(--pale); border-radius:.5rem; padding:1.1rem 1.3rem; }
dl { margin:0; }
dt { color:var(--soft); font-size:.92rem; margin-top:.55rem; }
dd { margin:0; font-weight:600; }
details { margin-top:1rem; }
summary { cursor:pointer; color:var(--accent); }
pre { background:var(--pale); padding:1rem; border-radius:.5rem; overflow:auto; font-size:.88rem;
  white-space:pre-wrap; overflow-wrap:anywhere; }
code { font-size:.9em; overflow-wrap:anywhere; }
.figures { display:flex; flex-wrap:wrap; gap:2.4rem 2.2rem; align-items:flex-start; }
figure { margin:0; max-width:100%; }
figure img { display:block; width:100%; height:auto; }
figcaption { color:var(--soft); margin-top:.5rem; font-size:.95rem; }
table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums; }
th { text-align:left; font-weight:600; color:var(--soft); border-bottom:2px solid var(--line);
  padding:.35rem 1rem .35rem 0; }
td { border-bottom:1px solid var(--line); padding:.38rem 1rem .38rem 0; vertical-align:top; }
.dot { display:inline-block; width:.85rem; height:.85rem; border-radius:50%; margin-right:.55rem;
  vertical-align:-.08rem; }
.tiles { list-style:none; padding:0; margin:0; display:grid; gap:1.2rem;
  grid-template-columns:repeat(auto-fit, minmax(14rem, 1fr)); }
.tiles li { background:var(--pale); border-radius:.5rem; padding:1.1rem 1.3rem; display:flex;
  flex-direction:column; }
.tiles b { font-size:1.9rem; line-height:1.2; }
.tiles span { font-weight:600; }
.tiles small { color:var(--soft); font-size:.92rem; }
.columns { display:grid; grid-template-columns:3fr 2fr; gap:3rem; }
.columns table { margin-bottom:1.4rem; }
.record { font-size:.95rem; }
.steps td:last-child { width:45%; }
.bar { display:block; height:.7rem; margin-top:.35rem; background:var(--accent);
  border-radius:.2rem; min-width:2px; print-color-adjust:exact; }
@media screen and (max-width:60rem) { .columns { grid-template-columns:1fr; }
  main { padding:1.2rem; } h1 { font-size:1.7rem; } }
@media print {
  :root { font-size:10.5px; }
  @page { margin:14mm; }
  main { max-width:none; padding:0; }
  section { margin-top:1.8rem; }
  h2, h3, figcaption { break-inside:avoid; }
  h2, h3, .lead { break-after:avoid; }
  figure:not(.wide) { width:47% !important; }
  .cards { grid-template-columns:repeat(3, 1fr); }
  .tiles { grid-template-columns:repeat(4, 1fr); }
  figure, .card, .tiles li, tr { break-inside:avoid; }
  .card, .tiles li, pre { border:1px solid var(--line); background:#fff; }
  .dot { print-color-adjust:exact; -webkit-print-color-adjust:exact; }
  details { display:none; }
}
"""
