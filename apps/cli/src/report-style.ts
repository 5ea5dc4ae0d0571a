/**
 * How a report looks: on a light screen, on a dark one, on paper.
 * It must name no resource outside of the page: no font, no image, no import.
 */
const LIGHT = `
  --paper:#fff; --panel:#f5f7f9; --ink:#17212b; --muted:#566472; --line:#d5dde4; --soft:#e9eef2;
  --good:#1a7f53; --low:#b26b00; --shut:#9aa5b0; --bad:#c4262e; --bad-soft:#c4262e14; --bar:#2867a8; --bar-soft:#2867a833;`;
const DARK = `
  --paper:#0e141a; --panel:#151d25; --ink:#e4ebf1; --muted:#98a7b5; --line:#2b3844; --soft:#1d2731;
  --good:#4cc38a; --low:#e5a93d; --shut:#66737f; --bad:#ff7b72; --bad-soft:#ff7b7218; --bar:#62a8f0; --bar-soft:#62a8f033;`;

export const STYLE = `
:root{color-scheme:light dark;${LIGHT}
  --l5:#2a8f5b;--l4:#7a9a1f;--l3:#c08a00;--l2:#d4661a;--l1:#b9302f}
@media (prefers-color-scheme:dark){:root{${DARK}}}
@media print{:root{color-scheme:light;${LIGHT}} body{font-size:9.5pt} main{max-width:none;padding:0}
  section,.tile,figure,tr{break-inside:avoid} h2{break-after:avoid} section{margin-top:1.2rem} .panel{padding:.6rem .8rem}
  *{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
@page{margin:14mm}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:64rem;margin:0 auto;padding:2.2rem 1.4rem 3rem}
header{display:flex;flex-wrap:wrap;gap:.4rem 1.2rem;align-items:baseline;border-bottom:2px solid var(--ink);padding-bottom:.8rem}
h1{font-size:1.55rem;line-height:1.2;margin:0;letter-spacing:-.01em}
h2{font-size:1.08rem;margin:0 0 .2rem} h3{font-size:.95rem;margin:1rem 0 .2rem}
header p{margin:0;color:var(--muted);flex-basis:100%}
.verdict{font-weight:700;letter-spacing:.04em;padding:.1rem .6rem;border-radius:.25rem;border:2px solid;font-size:.95rem}
.good{color:var(--good)} .bad{color:var(--bad)}
section{margin-top:2.1rem}
.lead{margin:0 0 .7rem;color:var(--muted);max-width:48rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(11.5rem,1fr));gap:.7rem;margin-top:1.2rem}
.tile{background:var(--panel);border:1px solid var(--line);border-radius:.4rem;padding:.6rem .8rem}
.tile b{display:block;font-size:1.4rem;line-height:1.25;font-variant-numeric:tabular-nums}
.tile span{color:var(--muted);font-size:.86rem}
.panel{background:var(--panel);border:1px solid var(--line);border-radius:.4rem;padding:.9rem 1rem;margin:0 0 .8rem}
figure{margin:0 0 .8rem} figcaption{font-weight:600;margin-bottom:.3rem}
figcaption small{font-weight:400;color:var(--muted)}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--ink)}
svg .m{fill:var(--muted)} svg .s{font-size:11px} svg .e{text-anchor:end} svg .c{text-anchor:middle} svg .w{fill:#fff;font-weight:700}
svg .b{fill:var(--bad);font-weight:600} svg .g{stroke:var(--line);stroke-width:1} svg .limit{stroke:var(--bad);stroke-width:1.5;stroke-dasharray:5 3}
svg .over{fill:var(--bad-soft)} svg .bar{fill:var(--bar)} svg .late{fill:var(--bad)} svg .who{fill:var(--paper);stroke:var(--ink);stroke-width:1.2}
svg .offer{fill:var(--soft);stroke:var(--line)} svg .pass{fill:var(--good)} svg .deprioritise{fill:var(--low)} svg .drop{fill:var(--shut)} svg .leak{fill:var(--bad)}
svg .cut{fill:var(--low)} svg .back{fill:var(--good)}
svg .l5{fill:var(--l5)} svg .l4{fill:var(--l4)} svg .l3{fill:var(--l3)} svg .l2{fill:var(--l2)} svg .l1{fill:var(--l1)}
svg .course{fill:none;stroke:var(--ink);stroke-width:1.6}
.absent{color:var(--muted);border-left:3px solid var(--line);padding:.15rem .7rem;margin:.3rem 0}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;font-size:.86rem;color:var(--muted);margin:.2rem 0 .6rem;padding:0;list-style:none}
.key i{display:inline-block;width:.8rem;height:.8rem;border-radius:.15rem;margin-right:.35rem;vertical-align:-.08rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.28rem .6rem .28rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--muted);font-weight:600;white-space:nowrap} td.n,th.n{text-align:right}
td{overflow-wrap:break-word;max-width:34rem} tr.bad td{color:var(--bad)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.2rem;margin:0;font-size:.9rem}
dt{color:var(--muted)} dd{margin:0;overflow-wrap:anywhere}
footer{margin-top:2.4rem;border-top:1px solid var(--line);padding-top:.7rem;color:var(--muted);font-size:.85rem}
`;
