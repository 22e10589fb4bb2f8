print("before"); await fail("out");
