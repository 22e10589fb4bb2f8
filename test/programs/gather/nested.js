const combine = async (rs) => act(rs.filter((r) => r.status === "fulfilled").map((r) => r.value)); print(await combine(await Promise.allSettled([act(1), fail("q")])));
