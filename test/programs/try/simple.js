let r; try { r = await fail("x"); } catch { r = await act("handled"); } print(r);
