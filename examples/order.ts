// An order that undoes what it did when a later step fails: a saga is try/catch, a list, and a loop.
import { action, NonRetryableError, workflow } from "waymark";

export interface Order {
  id: string;
  sku: string;
  amount: number;
}

export class CardDeclined extends NonRetryableError {
  override name = "CardDeclined";
}

export const reserve = action("reserve", async (sku: string) => `reservation-of-${sku}`);

export const release = action("release", { retry: {} }, async (reservation: string) => `${reservation} released`);

export const charge = action(
  "charge",
  { retry: { attempts: 3 }, backoff: { baseDelay: "1s" } },
  async (order: Order) => {
    if (order.amount > 1000) throw new CardDeclined(`${order.amount} is over the limit`);
    return `charge-of-${order.id}`;
  },
);

export const ship = action("ship", async (order: Order, charged: string) => `${order.id} shipped, ${charged}`);

export const placeOrder = workflow("placeOrder", async (order: Order) => {
  const undo: (() => Promise<string>)[] = [];
  try {
    const reservation = await reserve(order.sku);
    undo.push(() => release(reservation));
    const charged = await charge(order);
    return { shipped: await ship(order, charged) };
  } catch (error) {
    for (const step of undo.reverse()) await step();
    return { cancelled: error instanceof CardDeclined ? `declined: ${error.message}` : "something else" };
  }
});
