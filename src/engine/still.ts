// A store under a virtual clock: time stands still while a call is on its way. Without this a clock that skips would
// jump over a night's sleep in the middle of a commit.

import type { VirtualClock } from "../base/clock.ts";
import type { Store } from "../store/store.ts";

export function stillStore(store: Store, clock: VirtualClock): Store {
  return new Proxy(store, {
    get(target, key) {
      const member: unknown = Reflect.get(target, key, target);
      if (typeof member !== "function") return member;
      return (...args: unknown[]) => {
        const release = clock.hold();
        const answer: unknown = member.apply(target, args);
        if (!(answer instanceof Promise)) {
          release();
          return answer;
        }
        return answer.finally(release);
      };
    },
  });
}
