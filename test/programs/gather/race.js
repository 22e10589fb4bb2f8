print(await Promise.race([act("first"), act("second")])); print(await Promise.race([fail("z").catch((e) => e.message), act(2)]));
