try { await Promise.all([act(1), fail("boom"), act(3)]); } catch (e) { print("caught", e.message); } print(await act("after"));
