const slow = act("slow"); const winner = await Promise.race([sleep(100).then(() => "timeout"), slow]); print(winner, await slow);
