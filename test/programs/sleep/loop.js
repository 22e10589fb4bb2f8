for (let i = 0; i < 3; i++) { await sleep(1000); print(i); }
