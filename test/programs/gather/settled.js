const rs = await Promise.allSettled([act(1), fail("x"), 3]); print(rs.map((r) => r.status), rs[1].reason.message, rs[2].value);
