const step1 = await act("start"); const step2 = await act(`step1(${step1})`); const step3 = await act(`step2(${step2})`); print(await act(`step4(step3(${step3}))`));
