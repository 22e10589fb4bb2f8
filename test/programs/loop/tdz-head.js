try { for (const x of [x]) print(x); } catch (e) { print(e.name); }
