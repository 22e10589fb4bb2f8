print(await act(1)); await sleep("1s"); print(await act(2));
