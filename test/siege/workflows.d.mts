import type { Workflow } from "waymark";

export declare const batch: Workflow<[name: string, width: number], { sent: number; distinct: number }>;
