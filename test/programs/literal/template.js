const x = { toString: () => "T" }; print(`${x}`, `a${1}b${`n${2}`}c`, ``, `${""}`, `line
${"é"}`); try { `${Symbol()}`; } catch (e) { print(e.name); }
